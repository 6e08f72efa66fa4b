"""Jobs in worker processes: errors come back as they were, and no worker outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.core import parallel, processes
from harness.core.attempts import Failure
from harness.core.errors import DataError, UsageError


def double(job: int) -> int:
    return 2 * job


def refuse(job: int) -> int:
    raise UsageError(f"no {job}, thank you")


def die(job: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return job


def threads(job: str) -> str | None:
    return os.environ.get(job)


def fail_to_start(why: str) -> None:
    raise DataError(why)


def test_results_come_with_their_jobs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert dict(parallel.run(double, [3, 1, 2], 2)) == {1: 2, 2: 4, 3: 6}
    assert dict(parallel.run(threads, list(processes.THREADS), 1)) == dict.fromkeys(
        processes.THREADS, "1"
    )
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert list(parallel.run(double, [], 2)) == []


class Adder:
    def __init__(self, first: int) -> None:
        self.sum = first

    def add(self, job: int) -> int:
        self.sum += job
        return self.sum


def test_what_start_returned_serves_all_jobs_of_a_worker():
    assert sorted(dict(parallel.run(Adder.add, [1, 2], 1, Adder, (10,))).values()) == [11, 13]


def test_errors_are_raised_here():
    with pytest.raises(UsageError, match="no 1, thank you"):
        list(parallel.run(refuse, [1], 1))
    with pytest.raises(DataError, match="no model"):
        list(parallel.run(double, [1, 2], 1, fail_to_start, ("no model",)))
    with pytest.raises(DataError, match="its worker process died 3 times"):
        list(parallel.run(die, [1], 1))


def die_once(job: Path) -> int:
    """Kills its worker at the first call, and counts the calls in a file."""
    with job.open("a") as file:
        file.write(".")
    if job.stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job.stat().st_size


def sometimes(job: int) -> int:
    if job == 3:
        raise UsageError("not 3")
    if job == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_job_that_lost_its_worker_is_tried_again(tmp_path):
    assert list(parallel.run(die_once, [tmp_path / "calls"], 1)) == [(tmp_path / "calls", 2)]


def test_the_others_go_on(tmp_path):
    outcomes = dict(parallel.run(sometimes, range(6), 2, tolerant=True))
    failures = {job: o.reason for job, o in outcomes.items() if isinstance(o, Failure)}
    assert failures == {3: "not 3", 4: "its worker process died 3 times (out of memory, or killed)"}
    assert {job for job in outcomes if job not in failures} == {0, 1, 2, 5}
    assert "not 3" in outcomes[3].trace


def test_an_error_at_the_start_is_no_failure_of_one_job():
    with pytest.raises(DataError, match="no model"):
        list(parallel.run(double, [1, 2], 1, fail_to_start, ("no model",), tolerant=True))


def test_workers_that_can_do_nothing_end_the_command():
    with pytest.raises(DataError, match="worker processes die before they have done anything"):
        list(parallel.run(die, range(9), 1, tolerant=True))


def own_devices(job: str) -> str:
    return parallel.own_device(job)


def test_every_worker_has_its_card(monkeypatch):
    assert parallel.own_device("cuda") == "cuda"  # in no worker
    assert set(dict(parallel.run(own_devices, ["cuda"], 1)).values()) == {"cuda:0"}
    assert set(dict(parallel.run(own_devices, ["cpu", "cuda:3"], 1)).values()) == {"cpu", "cuda:3"}
    for name in parallel.LAUNCHED:
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert parallel.own_device("cuda") == "cuda:2"
    assert parallel.workers_for("cuda") == 4
    assert parallel.workers_for("cuda:1") == 1


PARENT = """
import signal
import time
from harness.core import parallel, processes

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell's `&` ignores

def work(job):
    print(job, flush=True)
    time.sleep(600)

if __name__ == "__main__":
    try:
        list(parallel.run(work, ["at work"], 1))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    run = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "at work\n"
    if how == signal.SIGINT:  # as a terminal sends it: to all of them
        os.killpg(run.pid, how)
    else:
        run.send_signal(how)
    said, complaints = run.communicate(timeout=30)  # ends when the last process has closed these
    if how == signal.SIGINT:
        assert (said, complaints) == ("interrupted\n", "")
    wait_for(lambda: not group(run.pid))


def group(leader: int) -> list[int]:
    """Processes of a process group that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_for(what: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_device_that_is_not_there():
    parallel.check_device("cpu")
    with pytest.raises(UsageError, match="device 'nonsense' cannot be used"):
        parallel.check_device("nonsense")


def test_workers_do_not_run_the_script_again(tmp_path):
    """One without `if __name__ == "__main__"`, as a notebook is."""
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom harness.core import parallel\nprint('once', flush=True)\n"
        "print(sorted(parallel.run(math.factorial, [3, 4], workers=2)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "once\n[(3, 6), (4, 24)]\n"), done.stderr


def test_a_job_that_holds_the_interpreter_ends_with_its_parent(tmp_path):
    """No thread of the worker can run meanwhile: the system ends it."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT.replace("time.sleep(600)", "sum(range(10**11))"))
    run = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "at work\n"
    run.kill()
    run.communicate(timeout=30)
    wait_for(lambda: not group(run.pid))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "MASTER_ADDR, MASTER_PORT not set"),
        ({"WORLD_SIZE": "-1"}, "expected a whole number from 1"),
        ({"WORLD_SIZE": "2", "RANK": "2"} | dict.fromkeys(parallel.LAUNCHED[1:], "0"), "less than"),
    ],
)
def test_a_size_of_the_world_that_cannot_be(monkeypatch, environment, message):
    for name in parallel.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        parallel.check_device("cpu")


def test_a_process_that_is_alone_has_the_number_0(monkeypatch):
    """A RANK without WORLD_SIZE is of something else; the one who writes results is number 0."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "3")
    assert (parallel.ranks(), parallel.rank(), parallel.is_first()) == (1, 0, True)
