"""A run or a shard that fails costs only itself and what needs it."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_pools
import small_workspace

from harness.cli.main import main
from harness.core import parallel
from harness.core.attempts import Failure, Unfinished
from harness.core.errors import DataError
from harness.mini import weights
from harness.pipeline import run_files, runs, stages
from harness.pipeline.jobs import Job, plan
from harness.pipeline.workspace import Workspace
from harness.pool import cache

ROWS = ["CE", "CE(control=True)", "BS(control=True)"]  # the controls start from CE and BS
SEEDS = (0, 1)
WORKERS = parallel.run


def tolerant(*arguments: Any, **named: Any) -> Iterator[tuple[Any, Any]]:
    """Jobs in this process, each with its result or its failure."""
    function, jobs, workers, *rest = arguments
    for job in jobs:
        try:
            yield from small_workspace.here(function, [job], workers, *rest)
        except (OSError, ValueError, DataError) as error:
            yield job, Failure(error)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def quick(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MODELS", models)
    monkeypatch.setattr(parallel, "run", tolerant)


@pytest.fixture
def workspace(data: Path, tmp_path: Path) -> Workspace:
    """Everything up to the list of hard images is done."""
    workspace = small_workspace.workspace(tmp_path, data, imbalances=[100], scratch={"epochs": 1})
    stages.index(workspace)
    stages.hard(workspace)
    return workspace


def jobs_of(workspace: Workspace) -> list[Job]:
    return plan(workspace, ROWS, [100], SEEDS)


def obstructed(job: Job) -> Path:
    """Something in the folder of a run that no run can write over."""
    place = job.folder / "epochs.jsonl"
    place.mkdir(parents=True)
    return place


def test_the_other_runs_go_on(workspace):
    jobs = jobs_of(workspace)
    broken = next(job for job in jobs if job.spec.method == "CE")
    control = next(job for job in jobs if job.start == broken)
    place = obstructed(broken)
    with pytest.raises(Unfinished) as failing:
        runs.run(jobs)
    text = str(failing.value)
    first, second, third, fourth, last = text.splitlines()
    assert first == "train: 6 of 8 runs are there, 1 failed, 1 wait for those"
    assert second.startswith("  CE IR100 seed 0 failed: ")
    assert "epochs.jsonl" in second
    assert third == "  CE(control=True) IR100 seed 0 skipped: it needs CE IR100 seed 0"
    assert fourth == f"{broken.folder / 'failed.json'} has the traceback"
    assert last == "the same command tries again what failed, and does what waits for it"
    assert [job for job in jobs if not job.trained] == [broken, control]
    kept = json.loads((broken.folder / run_files.FAILED).read_text())
    assert kept["reason"] in second
    assert "Traceback" in kept["trace"]
    with pytest.raises(Unfinished):  # what is known to fail is not tried
        runs.run(jobs, failed=failing.value.reasons)
    place.rmdir()
    assert runs.run(jobs) == 2
    assert not (broken.folder / run_files.FAILED).exists()


@pytest.mark.long
def test_nine_of_ten_runs_finish_by_the_command(workspace, models, monkeypatch, capsys):
    """In worker processes, with the models that are built in."""
    monkeypatch.undo()
    values = {"imbalances": [100], "width": 4, "scratch": {"epochs": 1}, "run_seeds": [0]}
    (workspace.home / "params.yaml").write_text(json.dumps({"smoke": {"cifar100-lt": values}}))
    words = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", str(workspace.home)]
    words += ["--root", str(workspace.root), "--rows", "CE", "BS", "--seeds", *"01234"]
    fields = dict(values, imbalances=[100])
    own = Workspace(
        "cifar100-lt", "smoke", workspace.home, workspace.root, tuple(sorted(fields.items()))
    )
    jobs = plan(own, ["CE", "BS"], [100], range(5))
    obstructed(jobs[3])
    assert main(["train", *words]) == 1
    error = capsys.readouterr().err
    assert "harness: train: 9 of 10 runs are there, 1 failed, 0 wait for those" in error
    assert f"{jobs[3].name} failed: " in error
    assert [job for job in jobs if not job.trained] == [jobs[3]]


def test_a_full_disk_in_one_worker(workspace, monkeypatch):
    """The shard that it meets is missing, the other is whole, and nothing is half-written."""
    first = stages.pending(workspace, stages.requests(workspace))[0]
    write = os.fsync

    def full(handle: int) -> None:
        if first.path.rpartition("/")[2] in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unfinished, match="1 of 2 shards failed, the others are made") as error:
            stages.generate(workspace)
    assert "No space left on device" in str(error.value)
    assert list(error.value.reasons) == [first.path]
    images = len(first.rows)
    assert len(cache.read_index(workspace.pool)) == images
    assert not list(workspace.pool.rglob("*.tmp"))
    assert stages.generate(workspace) == images
    assert cache.verify(workspace.pool) == []


def test_scores_that_are_kept_are_not_made_again(workspace, monkeypatch):
    """A block that cannot be written fails alone; the next call makes it and the same table."""
    from harness.pool import score_blocks

    monkeypatch.setattr(score_blocks, "SOURCES", 2)
    count = stages.generate(workspace)
    write, calls = score_blocks.write, []

    def failing(block: score_blocks.Block, scores: Any) -> None:
        calls.append(block)
        if len(calls) == 2:
            raise DataError("no space left")
        write(block, scores)

    with monkeypatch.context() as patch:
        patch.setattr(score_blocks, "write", failing)
        with pytest.raises(Unfinished, match="1 of 3 blocks of images failed"):
            stages.score(workspace)
    assert len(list((workspace.pool / "scoring").rglob("*.parquet"))) == 2
    assert stages.score(workspace) == len(calls[1].rows) < count
    assert not (workspace.pool / "scoring").exists()
    table = small_pools.files(workspace.pool)
    path = next(workspace.pool.glob("scores-*.parquet"))
    path.unlink()
    monkeypatch.setattr(score_blocks, "SOURCES", 64)
    assert stages.score(workspace) == count
    assert small_pools.files(workspace.pool) == table
