"""Runs and blocks that fail cost only themselves: the others are done, and the end says which."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_workspace
import yaml

from harness.cli.main import main
from harness.core import parallel
from harness.core.attempts import Failure, Unfinished
from harness.core.digests import opened
from harness.core.errors import DataError
from harness.mini import weights
from harness.pipeline import runs, stages
from harness.pipeline.stages import image_scores
from harness.pool import score_blocks

SET = "cifar100-lt"
ROWS = ["CE", "CE(control=True)"]  # the second starts from the first
SEEDS = [str(n) for n in range(5)]


def here(
    function: Any, jobs: Any, workers: int, start: Any = None, arguments: Any = (), **_: Any
) -> Iterator[tuple[Any, Any]]:
    """Jobs in this process, those that fail with their Failure."""
    states = (start(*arguments),) if start and jobs else ()
    for job in jobs:
        try:
            yield job, function(*states, job)
        except Exception as error:  # as a worker process does
            yield job, Failure(error)


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", here)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def words(data: Path, tmp_path: Path) -> list[str]:
    """Ten runs: two rows, the second started from the first, with five seeds."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"smoke": {SET: small_workspace.SMALL}}))
    place = ["--profile", "smoke", "--dataset", SET, "--root", str(data), "--home", str(tmp_path)]
    return ["train", *place, "--rows", *ROWS, "--seeds", *SEEDS, "--imbalance", "100"]


def prepare(words: list[str]) -> None:
    for stage in ("index", "hard"):
        assert main([stage, *words[1:9]]) == 0


def fail(monkeypatch: pytest.MonkeyPatch, method: str, seed: int) -> list[tuple[str, int]]:
    """One run fails from now on; the methods and seeds of those that are tried."""
    fit, tried = runs._fit, []

    def failing(job: Any, machine: Any) -> None:
        tried.append((job.spec.method, job.spec.seed))
        if tried[-1] == (method, seed):
            raise RuntimeError("the loss is not a number")
        fit(job, machine)

    monkeypatch.setattr(runs, "_fit", failing)
    return tried


def test_nine_of_ten_finish(words, tmp_path, monkeypatch, capsys):
    prepare(words)
    with monkeypatch.context() as patch:
        tried = fail(patch, "CE(control=True)", 3)
        assert main(words) == 1
        assert len(tried) == 10
    err = capsys.readouterr().err
    assert "train: 9 of 10 runs are there, 1 failed, 0 wait for those" in err
    assert "failed: RuntimeError: the loss is not a number" in err
    assert "Traceback" not in err
    assert len(list((tmp_path / "runs").rglob("done.json"))) == 9
    assert len(list((tmp_path / "results").rglob("*.json"))) == 9
    (path,) = (tmp_path / "runs").rglob("failed.json")
    content, fault = opened(json.loads(path.read_text()))
    assert fault is None
    assert content["reason"] == "RuntimeError: the loss is not a number"
    assert 'raise RuntimeError("the loss is not a number")' in content["trace"]
    assert f"{path} has the traceback" in err
    assert main(words) == 0  # the same command tries it again
    assert "train: 1 of 10 runs trained" in capsys.readouterr().err
    assert not path.exists()


def test_what_needs_a_failed_run_is_skipped(words, tmp_path, monkeypatch, capsys):
    prepare(words)
    tried = fail(monkeypatch, "CE", 3)
    assert main(words) == 1
    assert ("CE(control=True)", 3) not in tried
    assert len(tried) == 9
    err = capsys.readouterr().err
    assert "train: 8 of 10 runs are there, 1 failed, 1 wait for those" in err
    (line,) = [line for line in err.splitlines() if "skipped: it needs" in line]
    assert "control" in line
    tried.clear()
    assert main(words) == 1
    assert tried == [("CE", 3)]


# ---------------------------------------------------------------- scores by blocks


@pytest.fixture(scope="module")
def generated(data: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    workspace = small_workspace.workspace(tmp_path_factory.mktemp("home"), data)
    stages.index(workspace)
    stages.hard(workspace)
    stages.generate(workspace)
    return workspace


def tables(workspace: Any) -> dict[str, bytes]:
    """The files with the scores, of the pool and of the workspace; scored from the beginning."""
    paths = [*workspace.pool.glob("scores-*"), workspace.work / "spectrum.parquet"]
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def forget(workspace: Any) -> None:
    for name in tables(workspace):
        (workspace.pool / name).unlink(missing_ok=True)
        (workspace.work / name).unlink(missing_ok=True)


def test_scores_go_on_from_blocks_to_the_same_bytes(generated, monkeypatch):
    images = small_workspace.HARD * small_workspace.SPECTRUM * 2
    assert stages.score(generated) == images
    whole = tables(generated)
    assert len(whole) == 2
    forget(generated)
    monkeypatch.setattr(score_blocks, "SOURCES", 3)  # of ten: four blocks
    pictures, sizes = image_scores.pictures, []

    def counted(workspace: Any, sources: Any) -> Any:
        sizes.append(len(sources))
        if len(sizes) == 3:
            raise DataError("this picture cannot be read")
        return pictures(workspace, sources)

    monkeypatch.setattr(image_scores, "pictures", counted)
    with pytest.raises(Unfinished, match="1 of 4 blocks of images failed") as error:
        stages.score(generated)
    assert "  this picture cannot be read" in str(error.value).splitlines()
    assert len(list((generated.pool / "scoring").rglob("part-*.parquet"))) == 3
    assert tables(generated) == {}
    assert stages.score(generated) == images * 3 // 10  # the third block alone
    assert tables(generated) == whole
    assert not (generated.pool / "scoring").exists()
    assert sizes == [3, 3, 3, 1, 3]  # sources in memory at once, however many there are
