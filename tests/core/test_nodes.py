"""Jobs on a Ray cluster of two nodes on this machine: the outcomes of worker processes here."""

import builtins
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import jobs_on_nodes
import pytest
import ray_nodes

from harness.cli.main import main
from harness.core import cluster as clusters
from harness.core.attempts import Failure
from harness.core.cluster import Cluster, connect
from harness.core.engine import Engine
from harness.core.errors import DataError, UsageError

try:
    import ray
except ImportError:
    ray = None  # type: ignore[assignment]

needs_ray = pytest.mark.skipif(ray is None, reason="Ray is not installed (extra `ray`)")


@pytest.fixture(scope="module")
def nodes() -> Iterator[ray_nodes.Nodes]:
    with ray_nodes.nodes(2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def cluster(nodes: ray_nodes.Nodes) -> Cluster:
    connect(nodes.address)
    return Cluster(nodes.address)


@needs_ray
@pytest.mark.long
def test_results_come_with_their_jobs(cluster, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", "/data")
    outcomes = dict(cluster.run(jobs_on_nodes.Adder.add, [1, 2, 3], "cpu", None,
                                jobs_on_nodes.Adder, (10,)))  # fmt: skip
    assert outcomes == {1: 11, 2: 12, 3: 13}
    names = ["OMP_NUM_THREADS", "HARNESS_DATA"]
    assert dict(cluster.run(jobs_on_nodes.environment, names, "cpu", 1)) == {
        "OMP_NUM_THREADS": "1",
        "HARNESS_DATA": "/data",
    }
    assert list(cluster.run(jobs_on_nodes.environment, [], "cpu", None)) == []


@needs_ray
@pytest.mark.long
def test_the_others_go_on(cluster):
    outcomes = dict(cluster.run(jobs_on_nodes.sometimes, range(6), "cpu", None))
    failures = {job: o.reason for job, o in outcomes.items() if isinstance(o, Failure)}
    died = "its worker process died 3 times (out of memory, or killed)"
    assert failures == {3: "not 3", 4: died, 5: "ValueError: not 5"}
    assert {job for job in outcomes if job not in failures} == {0, 1, 2}
    assert "not 3" in outcomes[3].trace


@needs_ray
@pytest.mark.long
def test_an_error_at_the_start_ends_all(cluster, caplog, monkeypatch):
    # the second worker has failed too before the first one's error is read
    monkeypatch.setattr("harness.core.cluster._Crew._tell_of_waiting", lambda crew: time.sleep(4))
    with pytest.raises(DataError, match="no model"):
        list(cluster.run(abs, [1, 2], "cpu", None, jobs_on_nodes.fail_to_start, ("no model",)))
    gc.collect()
    time.sleep(2)  # Ray would log it once nothing refers to it
    assert caplog.messages == []


@needs_ray
@pytest.mark.long
def test_nodes_with_other_sources_are_refused(cluster, monkeypatch):
    monkeypatch.setattr("harness.core.cluster.digest_of_sources", lambda: "0" * 64)
    with pytest.raises(DataError, match="has other sources of the harness"):
        list(cluster.run(abs, [1], "cpu", None))


@needs_ray
@pytest.mark.long
def test_a_lost_node_costs_its_job_a_try(nodes, cluster, tmp_path):
    jobs = [tmp_path / str(n) for n in range(12)]

    def kill() -> None:
        while not list(tmp_path.iterdir()):
            time.sleep(0.05)
        nodes.kill(0)

    killer = threading.Thread(target=kill)
    killer.start()
    done = dict(cluster.run(jobs_on_nodes.noted, jobs, "cpu", None))
    killer.join()
    nodes.replace()
    assert done == {job: job.name for job in jobs}
    assert sorted(len(job.read_text()) for job in jobs)[:-1] == [1] * 11  # at most one twice
    assert max(len(job.read_text()) for job in jobs) <= 2


@needs_ray
@pytest.mark.long
def test_no_room_is_told(cluster, monkeypatch, caplog):
    monkeypatch.setattr("harness.core.cluster.PATIENCE_S", 0)
    outcomes = Cluster(cluster.address, cpus=64).run(abs, [1], "cpu", None)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    try:
        threading.Timer(8, signal.raise_signal, (signal.SIGINT,)).start()
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
    finally:
        signal.signal(signal.SIGINT, before)
    told = "no node of the Ray cluster has room for a worker (num_cpus 64) yet"
    assert [r.getMessage() for r in caplog.records if r.name == clusters.log.name] == [told]


def test_what_a_worker_takes():
    assert Cluster().needs("cpu") == {"num_cpus": 1, "num_gpus": 0, "memory": 0}
    assert Cluster().needs("cuda")["num_gpus"] == 1
    shared = Cluster(gpus=0.5, memory_gib=2).needs("cuda")
    assert (shared["num_gpus"], shared["memory"]) == (0.5, 2 * 2**30)


def test_without_ray(monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **keywords):
        if name == "ray":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"pip install 'discl-harness\[ray\]'"):
        list(Engine(cluster=Cluster()).run(abs, [1]))


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer(monkeypatch, address):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(DataError, match=f"cannot connect to the Ray cluster at {address}: "):
        connect(address)


@pytest.mark.parametrize("where", ["file", "RAY_AUTH_TOKEN", None])
def test_a_token_is_shown_to_the_cluster(tmp_path, monkeypatch, where):
    """`ray start` asks for the one that an earlier cluster of this machine has left."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    if where == "file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    elif where is not None:
        monkeypatch.setenv(where, "0" * 64)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    connect(None)
    assert os.environ.get("RAY_AUTH_MODE") == (None if where is None else "token")


@needs_ray
@pytest.mark.parametrize("by_environment", [False, True])
@pytest.mark.parametrize("command", ["compare", "hard", "generate", "score", "train"])
def test_a_cluster_that_does_not_answer_is_refused_before_any_work(
    monkeypatch, tmp_path, capsys, command, by_environment
):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = [command, "--dataset", "cifar100-lt", "--home", str(tmp_path), "--engine", "ray"]
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    else:
        words += ["--address", "127.0.0.1:1"]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "cannot connect to the Ray cluster at 127.0.0.1:1: " in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_ray
def test_a_cluster_without_an_address_begins_with_the_work(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(clusters, "connect", lambda address: pytest.fail("connected"))
    Cluster().check()
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'discl-harness\[ray\]'"):
        Cluster().check()
