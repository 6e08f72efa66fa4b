"""The whole pipeline on a data set of four classes: what is made, and what is not made again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_pools
import small_workspace
import yaml

from harness.cli.main import main
from harness.core import parallel
from harness.core.errors import DataError
from harness.mini import weights
from harness.pipeline import pool_statistics, runs, stages
from harness.pipeline.jobs import Job, plan, spectrum
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.results import leaderboard, predictions, published, records, tables

ROWS = ["CE", "CE(control=True)", "CE+DisCL", "BS+DisCL"]
RATIOS = (100, 50)
RUNS = 2 * (len(ROWS) + 1)  # BS, where BS+DisCL starts, is trained too
WITH_POOL = 2 * 2
IMAGES = small_workspace.HARD * small_workspace.SPECTRUM  # of one level


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield


def jobs(workspace: Workspace) -> list[Job]:
    return plan(workspace, ROWS, RATIOS, (0,))


def walk(workspace: Workspace) -> tuple[int, int, int]:
    """Images made, images scored, runs trained."""
    stages.index(workspace)
    stages.hard(workspace)
    made, scored = stages.generate(workspace), stages.score(workspace)
    return made, scored, runs.run(jobs(workspace))


@pytest.fixture(scope="module")
def walked(data: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A place where everything was done once, the training in two worker processes."""
    workspace = small_workspace.workspace(tmp_path_factory.mktemp("home"), data)
    with pytest.MonkeyPatch.context() as patch:
        stages.index(workspace)
        stages.hard(workspace)
        assert stages.generate(workspace) == 2 * IMAGES
        assert stages.score(workspace) == 2 * IMAGES
        patch.setattr(parallel, "run", WORKERS)
        assert runs.run(jobs(workspace), 2) == RUNS
    return workspace


WORKERS = parallel.run


@pytest.fixture
def again(walked: Workspace, tmp_path: Path) -> Any:
    """A function that gives a copy of that place, with other parameters."""

    def copied(**changes: Any) -> Workspace:
        if not (tmp_path / "copy").exists():
            shutil.copytree(walked.home, tmp_path / "copy")
        assert walked.root is not None
        return small_workspace.workspace(tmp_path / "copy", walked.root, **changes)

    return copied


def record_files(workspace: Workspace) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(workspace.records.rglob("*.json"))}


# ---------------------------------------------------------------- what the pipeline leaves behind


def test_tables(walked):
    index = pl.read_parquet(walked.work / "index.parquet")
    assert index.columns == ["imbalance", "id", "label", "classname", "count"]
    sizes = index.group_by("imbalance", "label", maintain_order=True).len()["len"].to_list()
    assert sizes == [120, 25, 5, 1, 120, 32, 8, 2]
    hard = pl.read_parquet(walked.work / "hard.parquet")
    assert hard["imbalance"].to_list() == [100] * 6 + [50] * 10
    assert hard["source"].n_unique() == small_workspace.HARD
    assert hard["count"].max() == 8
    assert set(hard["classname"]) == {"thing 2", "thing 3"}


def test_statistics_of_the_pool(walked):
    table = pl.read_parquet(walked.work / "spectrum.parquet")
    assert tuple(table.columns) == stages.SCORE_COLUMNS
    assert table.null_count().sum_horizontal().item() == 0
    assert table["key"].is_unique().all()
    assert table["key"].is_sorted()
    counted = table.group_by("guidance", "seed").len().sort("guidance", "seed")
    assert counted.rows() == [(g, s, small_workspace.HARD) for g in (0, 50) for s in (10, 20, 30)]
    scores = table.select("text_score", "image_score")
    assert scores.min_horizontal().min() >= -1
    assert scores.max_horizontal().max() <= 1
    assert table["text_score"].n_unique() > IMAGES
    index = cache.read_index(walked.pool)
    assert len(index) == 2 * IMAGES
    assert cache.verify(walked.pool) == []
    pixels = cache.pixels(walked.pool, index)
    assert pixels.shape == (2 * IMAGES, 32, 32, 3)
    assert len({p.tobytes() for p in pixels}) == 2 * IMAGES
    kept = {r: len(spectrum(walked, r)) for r in RATIOS}
    assert kept == {100: 6 * 2 * small_workspace.SPECTRUM, 50: 10 * 2 * small_workspace.SPECTRUM}


def test_runs_and_records(walked):
    done = jobs(walked)
    assert len(done) == RUNS
    names = {"epochs.jsonl", "predictions-last.parquet", "predictions-oracle.parquet"}
    for job in done:
        assert job.trained
        assert job.recorded
        found = {p.name for p in job.folder.iterdir()}
        assert found == names | {"weights.safetensors", "behaviour.json", "run.json", "done.json"}
        assert (job.spec.pool is not None) == ("DisCL" in job.spec.method)
        assert (job.start is None) == (job.spec.method in ("CE", "BS"))
    found_records = records.read_all("smoke", "cifar100-lt", walked.records)
    assert len(found_records) == RUNS
    for r in found_records:
        assert set(r["selection"]) == {"last", "oracle"}
        assert r["n_test"] == 12
        labels, guessed = predictions.unpack(r, "test", "oracle")
        assert (labels == guessed).mean() == r["selection"]["oracle"]["overall"]
        assert r["selection"]["oracle"]["overall"] >= r["selection"]["last"]["overall"]
        told = (walked.runs / r["key"][:16] / "epochs.jsonl").read_text().splitlines()
        levels = [part for part, n in r["levels"] for _ in range(n)]
        assert [[round(100 * x) for x in json.loads(line)["levels"]] for line in told] == levels
    ce = next(r for r in found_records if r["method"] == "CE")
    assert ce["spec"]["recipe"]["threshold"] is None  # what it does not read cannot change it


def test_table(walked):
    found = records.read_all("smoke", "cifar100-lt", walked.records)
    table = leaderboard.table(published.of("cifar100-lt"), found, "smoke", "A", "last")
    text = tables.to_text(table)
    assert "smoke" in text
    lines = {line.method: line for part in table.parts for line in part.lines}
    for method in (*ROWS, "BS"):
        assert lines[method].measured["Overall"].n == 1
    for method in ("CE+CUDA", "BS(control=True)"):
        assert lines[method].measured["Overall"].mean is None
    assert "·" in text


# ---------------------------------------------------------------- what is not done again


def test_a_second_walk_does_nothing(again):
    workspace = again()
    before = record_files(workspace)
    times = {p: p.stat().st_mtime_ns for p in workspace.runs.rglob("*")}
    assert walk(workspace) == (0, 0, 0)
    assert record_files(workspace) == before
    assert {p: p.stat().st_mtime_ns for p in workspace.runs.rglob("*")} == times


def test_another_threshold_makes_no_image_and_trains_what_reads_the_pool(again, walked):
    workspace = again(threshold=-0.99)
    images, before = small_pools.files(workspace.pool), record_files(workspace)
    assert walk(workspace) == (0, 0, WITH_POOL)
    assert small_pools.files(workspace.pool) == images
    changed = {name for name, content in record_files(workspace).items() if before[name] != content}
    assert changed == {f"{m}+discl-resnet10-ir{r}-s0.json" for m in ("ce", "bs") for r in RATIOS}
    # and back: those runs are still there, their records are written from the predictions
    assert walk(again()) == (0, 0, 0)
    assert record_files(workspace) == before == record_files(walked)


def test_another_level_makes_the_images_of_that_level(again):
    workspace = again(levels=[0.0, 0.3, 0.5])
    before = set(small_pools.files(workspace.pool))
    with pytest.raises(DataError, match=f"{6 * 3} of {6 * 9} synthetic images are not scored"):
        jobs(workspace)
    assert walk(workspace) == (IMAGES, IMAGES, WITH_POOL)
    added = set(small_pools.files(workspace.pool)) - before
    assert {name.split("/")[1] for name in added if name.startswith("images")} == {"g030"}
    # fewer levels need nothing new but the runs
    assert walk(again(levels=[0.0, 0.3])) == (0, 0, WITH_POOL)


def test_a_row_of_another_level_gets_its_images_and_changes_no_other_run(again):
    workspace, row = again(), 'CE+DisCL(curriculum="fixed", levels=(0.3,))'
    before = {job.spec.method: job.folder for job in jobs(workspace)}
    with pytest.raises(DataError, match=f"{6 * 3} of {6 * 3} synthetic images are not scored"):
        plan(workspace, [row], [100], [0])
    assert stages.generate(workspace, parts=[stages.PoolPart(levels=(30,))]) == IMAGES
    assert stages.score(workspace, part=stages.PoolPart(levels=(30,))) == IMAGES
    assert {job.spec.method: job.folder for job in jobs(workspace)} == before
    assert (
        stages.score(workspace) == 0
    )  # of the recipe's levels; those of the row stay in the table
    assert runs.run(plan(workspace, [row], [100], [0])) == 1
    found = spectrum(workspace, 100, levels=(30,))
    assert found["guidance"].unique().to_list() == [30]
    assert spectrum(workspace, 100)["guidance"].unique().sort().to_list() == [0, 50]


def test_other_steps_are_other_images(again):
    workspace = again(steps=5)
    with pytest.raises(DataError, match="are not scored"):
        jobs(workspace)
    assert stages.generate(workspace) == 2 * IMAGES
    assert len(cache.read_index(workspace.pool)) == 4 * IMAGES
    removed = cache.gc(workspace.pool, [stages.generator_key(workspace)])
    assert len([p for p in removed if p.suffix == ".arrow"]) == 2
    assert len(cache.read_index(workspace.pool)) == 2 * IMAGES


def test_records_come_back_byte_for_byte(again):
    """Trained again in this process, not in workers; and records alone, without training."""
    workspace = again()
    before = record_files(workspace)
    shutil.rmtree(workspace.records)
    assert runs.run(jobs(workspace)) == 0
    assert record_files(workspace) == before
    older = next(iter(workspace.records.rglob("*.json")))
    older.write_text('{"version": 2}')
    assert runs.run(jobs(workspace)) == 0
    assert record_files(workspace) == before
    shutil.rmtree(workspace.runs)
    assert runs.run(jobs(workspace)) == RUNS
    assert record_files(workspace) == before


def test_a_run_that_lost_its_weights_is_trained_again(again):
    workspace = again()
    before = record_files(workspace)
    lost = next(job for job in jobs(workspace) if job.spec.method == "CE")
    weights = (lost.folder / "weights.safetensors").read_bytes()
    (lost.folder / "weights.safetensors").unlink()
    assert runs.run(jobs(workspace)) == 1
    assert (lost.folder / "weights.safetensors").read_bytes() == weights
    assert record_files(workspace) == before


def test_images_that_are_gone_are_made_again(again):
    workspace = again()
    images = small_pools.files(workspace.pool)
    shard = next(iter(sorted(workspace.pool.glob("images/g050/*.arrow"))))
    shard.unlink()
    with pytest.raises(DataError, match=f"{IMAGES} of {2 * IMAGES} images are not in"):
        stages.score(workspace)
    assert walk(workspace) == (IMAGES, 0, 0)
    assert small_pools.files(workspace.pool) == images


def test_pool_statistics_count_what_there_is(again):
    workspace = again(threshold=0.0)
    scores = pl.read_parquet(workspace.work / "spectrum.parquet")
    counts = {c.imbalance: c for c in pool_statistics.count(workspace)}
    for ratio, sources in ((100, 6), (50, 10)):
        mine = spectrum(workspace, ratio)
        kept = len(mine.filter(mine["text_score"] >= 0))
        found = counts[ratio]
        assert (found.hard, found.levels, found.seeds) == (sources, 2, 3)
        assert (found.generated, found.kept) == (sources * 6, kept)
    assert len(scores) == 60
    shown = pool_statistics.render(workspace, pool_statistics.count(workspace)).splitlines()
    assert shown[2].split() == ["ours,", "profile", "smoke,", "imbalance", "ratio", "100",
                                "6", "2", "3", "36", *shown[2].split()[-2:]]  # fmt: skip
    assert shown[3].split() == ["published", "324", "4", "8", "2,592", "809", "31.21"]
    shutil.rmtree(workspace.pool)
    assert (
        pool_statistics.render(workspace, pool_statistics.count(workspace))
        .splitlines()[2]
        .split()[-3:]
        == ["·"] * 3
    )


# ---------------------------------------------------------------- by the command


def test_the_command_runs_the_same_pipeline(again, capsys):
    workspace = again()
    file = workspace.home / "params.yaml"
    file.write_text(yaml.safe_dump({"smoke": {"cifar100-lt": small_workspace.SMALL}}))
    words = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", workspace.home]
    words += ["--root", workspace.root, "--rows", *ROWS]
    assert main(["compare", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert "generate: 0 images made" in err
    assert "score: 0 images scored" in err
    assert f"train: 0 of {RUNS} runs trained" in err
    found = records.read_all("smoke", "cifar100-lt", workspace.records)
    table = leaderboard.table(published.of("cifar100-lt"), found, "smoke", "A", "last")
    assert out.startswith(tables.to_text(table))
    compared = out.removeprefix(tables.to_text(table)).strip().splitlines()
    assert len([line for line in compared if line.startswith(("100 ", "50 "))]) == 2 * 3 * 4
    assert "each row minus CE, in points" in out
    page = workspace.work / "report.html"
    assert out.splitlines()[-1] == f"The page with the charts and the pictures: {page}"
    assert "cifar100-lt: profile smoke" in page.read_text(encoding="utf-8")
