"""What was damaged or has changed is found, told, and made again with all that depends on it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_workspace

from harness.cli.main import main
from harness.core import parallel
from harness.core.digests import Damaged
from harness.core.specs import plain
from harness.models import torch_files
from harness.pipeline import run_files, runs, stages, verification
from harness.pipeline.jobs import Job, plan
from harness.pipeline.stages import index_table
from harness.pipeline.workspace import Workspace
from harness.pool import cache

ROWS = ["CE", "CE+DisCL", "CE+LDMLR"]  # the others start from the first one's weights


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "run", small_workspace.here)
        yield


def workspace_of(top: Path) -> Workspace:
    names = {"generator": f"{top / 'models/generator'}", "clip": f"local-dir:{top / 'models/clip'}"}
    changes: dict[str, Any] = {"levels": [0.5], "pool_seeds": [10], "imbalances": [50]}
    return small_workspace.workspace(
        top / "home", top / "data", **changes, **names, backbone="resnet10"
    )


def walk(workspace: Workspace) -> list[str]:
    """All stages; the methods that were trained."""
    index_table._load.cache_clear()
    stages.index(workspace)
    stages.hard(workspace)
    stages.generate(workspace)
    stages.score(workspace)
    jobs = jobs_of(workspace)
    before = {job.name: _written(job) for job in jobs}
    runs.run(jobs)
    return [job.spec.method for job in jobs if _written(job) != before[job.name]]


def _written(job: Job) -> Any:
    path = job.folder / run_files.WEIGHTS
    return path.stat().st_ino if path.is_file() else None


def jobs_of(workspace: Workspace) -> list[Job]:
    return plan(workspace, ROWS, [50], [0])


@pytest.fixture(scope="module")
def walked(models: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("top")
    shutil.copytree(models, top / "models")
    small_workspace.write_data(top / "data")
    assert walk(workspace_of(top)) == ROWS
    return top


@pytest.fixture
def workspace(walked: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(walked, tmp_path / "copy")
    return workspace_of(tmp_path / "copy")


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def problems(workspace: Workspace) -> list[str]:
    return [p.text for some in verification.verify(workspace).values() for p in some]


def test_nothing_is_wrong_and_nothing_is_done_again(workspace):
    assert problems(workspace) == []
    assert walk(workspace) == []


def test_damaged_weights_are_not_started_from(workspace, caplog):
    ce, _, onward = jobs_of(workspace)
    flip(ce.folder / run_files.WEIGHTS)
    (onward.folder / run_files.DONE).unlink()
    assert walk(workspace) == ["CE", "CE+LDMLR"]
    assert f"{ce.folder / run_files.WEIGHTS} is damaged" in caplog.text
    assert problems(workspace) == []


def test_damaged_weights_that_nobody_reads_are_found(workspace):
    ce = jobs_of(workspace)[0]
    flip(ce.folder / run_files.WEIGHTS)
    (text,) = problems(workspace)
    assert text.startswith(f"{ce.folder / run_files.WEIGHTS} is damaged: ")
    with pytest.raises(Damaged):
        runs._weights(ce)
    assert verification.repair(verification.verify(workspace)) == []
    assert walk(workspace) == ["CE"]  # its weights are the same bytes again
    assert problems(workspace) == []


def test_other_weights_make_the_runs_that_start_from_them_stale(workspace):
    ce = jobs_of(workspace)[0]
    flip(ce.folder / run_files.WEIGHTS)
    run_files.write(ce.folder, plain(ce.spec), ce.reads)  # as if it had been trained elsewhere
    assert [job.trained for job in jobs_of(workspace)] == [True, False, False]
    assert walk(workspace) == ["CE+DisCL", "CE+LDMLR"]


@pytest.mark.parametrize("name", ["hard", "pool"])
def test_other_tables_make_the_runs_that_read_them_stale(workspace, name):
    job = jobs_of(workspace)[1]
    assert name in job.reads
    run_files.write(job.folder, plain(job.spec), job.reads | {name: "0" * 64})
    assert walk(workspace) == ["CE+DisCL"]


def test_a_truncated_file_counts_as_missing(workspace):
    ce = jobs_of(workspace)[0]
    path = ce.folder / "predictions-last.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert walk(workspace) == ["CE"]


def test_damaged_predictions_are_not_scored(workspace, caplog):
    ce = jobs_of(workspace)[0]
    flip(ce.folder / "predictions-last.parquet", 100)
    ce.record.unlink()
    assert walk(workspace) == ["CE"]
    assert "predictions-last.parquet is damaged" in caplog.text


def test_runs_of_before_stay_and_get_their_digests(workspace):
    for job in jobs_of(workspace):
        (job.folder / run_files.DONE).write_text(json.dumps(plain(job.spec), sort_keys=True))
        record = json.loads(job.record.read_text())
        del record["digest"]
        job.record.write_text(json.dumps(record))
    assert walk(workspace) == []
    for job in jobs_of(workspace):
        done = run_files.read(job.folder)
        assert run_files.WEIGHTS in done.files
        assert done.read == job.reads
        assert "digest" in json.loads(job.record.read_text())


def test_a_damaged_record_is_written_again(workspace, caplog):
    path = jobs_of(workspace)[0].record
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"n_test": 1', b'"n_test": 2'))
    (text,) = problems(workspace)
    assert text.startswith(f"{path}: damaged record: n_test is 2")
    assert walk(workspace) == []
    assert path.read_bytes() == sound


def test_damaged_tables_and_images(workspace):
    paths = [workspace.work / f"{name}.parquet" for name in ("index", "hard", "spectrum")]
    paths += [*workspace.pool.glob("scores-*.parquet")]
    shard = workspace.pool / cache.read_index(workspace.pool)["shard"][0]
    for path in [*paths, shard]:
        flip(path, path.stat().st_size // 2)
    found = problems(workspace)
    assert len(found) == len(paths) + 1
    assert all(any(text.startswith(str(path)) for text in found) for path in [*paths, shard])
    assert verification.repair(verification.verify(workspace)) == []
    assert walk(workspace) == []
    assert problems(workspace) == []


def test_a_checkpoint_of_other_weights_is_begun_anew(workspace):
    onward = jobs_of(workspace)[2]
    (onward.folder / run_files.DONE).unlink()
    other = onward.folder / "checkpoint.pt"
    torch_files.write(other, {"version": 4, "run": "0" * 64})
    assert walk(workspace) == ["CE+LDMLR"]


def test_the_command(tmp_path, capsys):
    arguments = ["verify", "--dataset", "cifar100-lt", "--profile", "smoke"]
    arguments += ["--home", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / "work/smoke/cifar100-lt/hard.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1")
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert f"  {path} is damaged: " in printed.out
    assert printed.err == (
        "harness: 1 problem; `harness verify --repair` removes what is damaged\n"
    )
    assert main([*arguments, "--repair"]) == 0
    assert not path.exists()
    assert main(arguments) == 0


def test_a_home_that_is_not_there_is_not_called_sound(tmp_path, capsys):
    home = tmp_path / "nowhere"
    assert main(["verify", "--dataset", "cifar100-lt", "--home", str(home)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"harness: {home}: no such folder; ")
    assert not home.exists()
