"""A Ray cluster of several nodes on this machine leaves the files that the local engine leaves."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import children
import cluster_jobs
import polars as pl
import pytest
import small_workspace

from harness.core.cluster import Cluster
from harness.pipeline import runs, stages
from harness.pipeline.jobs import plan
from harness.pipeline.workspace import Workspace
from harness.pool.shards import open_shard, shard_paths

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.long

ROWS = ["CE", "BS+DisCL"]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
SHARDS = 3  # one for each level
IMAGES = 6 * SHARDS * 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


def prepared(home: Path, data: Path) -> Workspace:
    """Six hard images; everything up to the list of them is done."""
    workspace = small_workspace.workspace(
        home,
        data,
        imbalances=[100],
        levels=[0.0, 0.3, 0.5],
        pool_seeds=[10, 20],
        scratch={"epochs": 2},
    )
    stages.index(workspace)
    stages.hard(workspace)
    return workspace


def walk(workspace: Workspace, cluster: Cluster | None = None) -> tuple[int, int, int]:
    """Images made, images scored, runs trained."""
    images = stages.generate(workspace, None if cluster else 1, cluster=cluster)
    scored = stages.score(workspace, workers=None if cluster else 1, cluster=cluster)
    jobs = plan(workspace, ROWS, [100], [0])
    return images, scored, runs.run(jobs, None if cluster else 1, cluster=cluster)


@pytest.fixture(scope="module")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = prepared(tmp_path_factory.mktemp("local"), data)
    assert walk(workspace) == (IMAGES, IMAGES, 3)
    return workspace


class Nodes:
    """A cluster on this machine: a head without work, and nodes of one core each."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster as LocalCluster

        self.cluster: Any = LocalCluster(
            initialize_head=True,
            head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False},
        )
        self.nodes = [self.cluster.add_node(**NODE) for _ in range(count)]
        ray.init(self.cluster.address, log_to_driver=False)

    def kill(self, number: int) -> None:
        """As a machine that loses its power; another one takes its place."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=False)
        self.nodes[number] = self.cluster.add_node(**NODE)

    def close(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


@pytest.fixture
def nodes() -> Iterator[Callable[[int], Nodes]]:
    started: list[Nodes] = []

    def start(count: int) -> Nodes:
        started.append(Nodes(count))
        return started[0]

    yield start
    for some in started:
        some.close()


def contents(workspace: Workspace) -> dict[str, bytes]:
    found = children.contents(workspace.home)
    return {name: data for name, data in found.items() if not name.endswith(".u8")}


def check(workspace: Workspace, local: Workspace) -> None:
    """The files are those of the local engine, and no image was made twice."""
    assert contents(workspace) == contents(local)
    assert children.temporaries(workspace.home) == []
    keys = pl.concat([open_shard(path).rows for path in shard_paths(workspace.pool)])["key"]
    assert (len(keys), keys.n_unique()) == (IMAGES, IMAGES)


@pytest.mark.parametrize("count", [2, 4])
def test_several_nodes_leave_the_same_files(local, data, nodes, tmp_path, count):
    nodes(count)
    workspace = prepared(tmp_path, data)
    assert walk(workspace, Cluster("auto")) == (IMAGES, IMAGES, 3)
    check(workspace, local)


@pytest.mark.parametrize("seed", children.seeds(1))
def test_nodes_that_are_lost(local, data, nodes, tmp_path, seed):
    """One node after the other, at random moments: four of two."""
    some, draws, lost = nodes(2), random.Random(seed), 0
    workspace = prepared(tmp_path, data)
    with ThreadPoolExecutor(1) as thread:  # Ray starts nodes in the main thread only
        walked = thread.submit(walk, workspace, Cluster("auto"))
        while lost < 4 and not wait([walked], draws.uniform(1, 6)).done:
            some.kill(draws.randrange(2))
            lost += 1
        walked.result()
    print("nodes lost:", lost)
    assert lost
    check(workspace, local)


def test_a_failing_job_and_one_that_kills_its_worker(nodes, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(cluster_jobs.__file__).parent))
    nodes(2)
    outcomes = dict(Cluster().run(cluster_jobs.refuse, range(5), "cpu", None))
    assert outcomes[3].reason == "ValueError: not 3"
    assert {job for job, value in outcomes.items() if value == job} == {0, 1, 2, 4}
    (died,) = dict(Cluster().run(cluster_jobs.die, [7], "cpu", 1)).values()
    assert died.reason == "its worker process died 3 times (out of memory, or killed)"
