"""The whole pipeline of a data set of camera traps.

Image-text models, hard images by their own runs, edits by language, ensembles of weights.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_workspace

from harness.api import steps
from harness.core import parallel
from harness.core.errors import DataError
from harness.mini import weights
from harness.mini.wildcam import write_iwildcam
from harness.pipeline import runs, stages
from harness.pipeline.jobs import plan
from harness.pipeline.request import Choices, resolve
from harness.pipeline.workspace import Workspace
from harness.results import predictions, records

ROWS = (
    "Zero-shot",
    "LP-FT+WE",
    "FLYP+ALIA",
    'FLYP+DisCL(curriculum="adaptive")+WE',
    'FLYP+DisCL(curriculum="fixed", levels=(0.5,))',
)
SMALL: dict[str, Any] = {
    "levels": [0.5, 0.7],
    "pool_seeds": [10, 20],
    "probe_images": 2,
    "probe_train": 40,
    "run_seeds": [0, 1],
    "size_px": 32,
    "steps": 4,
    "threshold": -1.0,
    "view_px": 32,
}


@pytest.fixture(scope="module")
def workspace(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Walked once, with tiny models and jobs in this process."""
    data = tmp_path_factory.mktemp("data")
    write_iwildcam(data, share=0.04)
    home = tmp_path_factory.mktemp("home")
    found = Workspace("iwildcam", "smoke", home, data, tuple(sorted(SMALL.items())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        stages.index(found)
        stages.hard(found, runs.judge(found))
        parts = (stages.SPECTRUM, stages.EDITS)
        stages.generate(found, parts=parts)
        for part in parts:
            stages.score(found, part=part)
        # random weights make edits that no filter lets pass; these scores let all pass
        edits = pl.read_parquet(found.work / "edits.parquet").with_columns(text_score=pl.lit(0.5))
        edits.cast({"text_score": pl.Float32}).write_parquet(found.work / "edits.parquet")
        yield found


def test_hard_images_are_those_its_own_runs_find_least_probable(workspace):
    data, (hard,) = stages.load(workspace, None), [pl.read_parquet(workspace.work / "hard.parquet")]
    judged = [job for job in plan(workspace, ["FLYP"], [None], (0, 1)) if job.trained]
    assert len(judged) == 2  # the recipe's seeds
    p = sum(pl.read_parquet(job.folder / "p-train.parquet")["p_true"] for job in judged) / 2
    rows = data.train.with_columns(p_true=p).filter(pl.col("label") != 0)
    chosen = rows.filter(pl.col("id").is_in(hard["id"].to_list()))
    left = rows.filter(~pl.col("id").is_in(hard["id"].to_list()))
    assert len(hard) == round(len(data.train) * 0.1)
    assert chosen["p_true"].max() <= left["p_true"].min()
    assert hard["source"].null_count() == 0


def test_the_list_of_hard_images_is_that_of_the_own_backbone(workspace):
    before = (workspace.work / "hard.parquet").read_bytes()
    other = replace(workspace, backbone="ViT-L-14")
    assert other.recipe.backbone != workspace.recipe.backbone
    folders = set(workspace.runs.iterdir())
    stages.hard(other, runs.judge(other))  # there are no weights of the other backbone here
    assert (workspace.work / "hard.parquet").read_bytes() == before
    assert set(workspace.runs.iterdir()) == folders


def test_a_row_that_reads_no_image_trains_no_other(workspace, tmp_path):
    request = resolve(Choices("iwildcam", ["Zero-shot"], [0], profile="smoke"), methods=True)
    assert (request.kinds, request.needs_hard) == ((), False)
    fresh = replace(workspace, home=tmp_path)
    request = replace(request, workspace=fresh, workers=1)
    assert [step.name for step in steps.run(request)] == ["index", "train"]
    done = records.read_all("smoke", "iwildcam", fresh.records)
    assert [record["method"] for record in done] == ["Zero-shot"]
    table = stages.load(fresh, None).splits["test"].table.sort("label", "id")
    codes = predictions.locations(done[0], "test")
    assert (
        table["location"].unique().sort().to_numpy()[codes] == table["location"].to_numpy()
    ).all()
    assert not fresh.pool.exists()


def test_every_row_runs_on_what_it_needs(workspace):
    expressions = [row.replace("ALIA", "ALIA(confidence=False)") for row in ROWS]
    jobs = plan(workspace, expressions, [None], (0,))
    methods = [job.spec.method for job in jobs]
    assert methods.index('FLYP+DisCL(curriculum="adaptive")') < methods.index(ROWS[3])
    assert methods.index("LP-FT") < methods.index("LP-FT+WE")
    assert "FLYP" not in methods  # nothing asks it: ALIA's classifier is left out
    assert runs.run(jobs) == len(jobs)
    found = {r["method"]: r for r in records.read_all("smoke", "iwildcam", workspace.records)}
    assert set(expressions) <= set(found)
    for record in found.values():
        assert record["backbone"] == "ViT-B-16"
        assert set(record["selection"]) >= {"last", "best_val"}
        for split in ("id", "ood"):
            assert 0 <= record["selection"]["last"][split]["macro_f1"] <= 1
    assert runs.run(jobs) == 0
    merged = next(job for job in jobs if job.merges is not None)
    assert merged.folder != merged.merges.folder
    assert not (merged.folder / "weights.safetensors").exists()
    assert (merged.folder / "ensemble.json").exists()


def test_a_run_that_consults_another_needs_it(workspace):
    jobs = plan(workspace, ["FLYP+ALIA"], [None], (0,))
    assert [job.spec.method for job in jobs] == ["FLYP", "FLYP+ALIA"]
    assert jobs[1].reference == jobs[0]
    assert jobs[1].spec.reference is not None
    try:
        assert runs.run(jobs) == 1  # the other one said which images are hard
    except DataError as error:  # with random weights the classifier may let no edit pass
        assert "none of" in str(error)  # noqa: PT017


def test_the_kinds_of_images_share_one_pool_and_no_score(workspace):
    spectrum, edits = (pl.read_parquet(workspace.work / f"{kind}.parquet") for kind in stages.KINDS)
    assert spectrum["guidance"].unique().sort().to_list() == [50, 70]
    assert edits["guidance"].unique().to_list() == [50]
    assert len(edits) == len(spectrum)
    assert not set(edits["key"]) & set(spectrum["key"])


# ---------------------------------------------------------------- runs that train nothing


def _zero_shot(workspace: Workspace, rows: list[str]) -> list[Any]:
    return [job for job in plan(workspace, rows, [None], [0, 1]) if job.spec.method == rows[0]]


@pytest.mark.parametrize("row", ["Zero-shot", "Zero-shot+WE"])
def test_what_trains_nothing_is_computed_for_one_seed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    monkeypatch.setattr(parallel, "run", small_workspace.here)
    first, other = _zero_shot(workspace, [row])
    runs.run(plan(workspace, [row], [None], [0]), 1)
    shutil.rmtree(other.folder, ignore_errors=True)

    def refuse(job: Any, machine: Any) -> None:
        raise AssertionError(f"{job.name} was computed")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_fit", refuse)
        patch.setattr(runs, "_merge", refuse)
        runs.run(plan(workspace, [row], [None], [1]), 1)
    assert other.trained
    assert other.recorded
    names = {path.name for path in first.folder.iterdir()} - {"run.json", "done.json"}
    for name in names - {"p-train.parquet"}:
        assert (other.folder / name).read_bytes() == (first.folder / name).read_bytes()
    keys = [records.read(job.record)["key"] for job in (first, other)]
    assert keys[0] != keys[1]


def test_a_damaged_run_is_not_copied(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "run", small_workspace.here)
    first, other = _zero_shot(workspace, ["Zero-shot"])
    runs.run(plan(workspace, ["Zero-shot"], [None], [0, 1]), 1)
    expected = (other.folder / "predictions-last.parquet").read_bytes()
    shutil.rmtree(other.folder)
    path = first.folder / "predictions-last.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    runs.run(plan(workspace, ["Zero-shot"], [None], [1]), 1)
    assert (other.folder / "predictions-last.parquet").read_bytes() == expected == whole
    path.write_bytes(whole)
