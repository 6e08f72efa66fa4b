"""The rehearsal of the paper profile: real architectures, random weights, official formats."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from harness.api import steps
from harness.core.errors import DataError
from harness.methods.sampling import mix
from harness.pipeline import stages
from harness.pipeline.jobs import method_runs
from harness.pool import failures
from harness.results import published

ROOT = Path(__file__).parents[2]
TABLES = ("table1", "table2", "table3", "table4", "table5")
REASON = "a prompt of 149 tokens"


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import rehearsal

    return rehearsal


@pytest.fixture
def tokenizer(rehearsal):
    import rehearsal_models

    return rehearsal_models.clip_tokenizer()


@pytest.mark.parametrize("table", TABLES)
def test_the_images_are_of_every_level_that_the_rows_read(table, rehearsal, tmp_path):
    paper = published.read(published.find(table))
    request = rehearsal.request_of(table, paper, tmp_path, tmp_path, "cpu")
    own = stages.recipe_levels(request.workspace.recipe)
    parts = {part.kind: part for part in request.parts}
    methods = [run.method for run in method_runs(request.workspace, request.rows).values()]
    reading = [method for method in methods if method.reads is not None]
    assert len(request.rows) == len(paper.rows)
    assert reading
    for method in reading:
        cells = stages.grid(request.workspace, parts[method.reads])
        wanted = {stages.image_requests.EDIT_GUIDANCE}
        if method.reads == "spectrum":
            wanted = set(own if method.levels is None else method.levels)
        assert wanted <= set(cells["guidance"]), method.expression


@pytest.mark.parametrize("table", ["table1", "table2", "table3"])
def test_an_epoch_has_room_for_synthetic_images(table, rehearsal, tmp_path):
    """Of the few pictures that are left, as the recipe's mixture draws them."""
    import rehearsal_part

    paper = published.read(published.find(table))
    recipe = rehearsal.request_of(table, paper, tmp_path, tmp_path, "cpu").workspace.recipe
    few, many = rehearsal_part.TRAINED
    hard = [True] * (few * rehearsal_part.CLASSES) + [False] * (many * rehearsal_part.CLASSES)
    rows = pl.DataFrame({"hard": hard, "label": 0, "guidance": 100})
    spectra = rows.filter("hard").with_columns(pl.lit(50).alias("guidance"))
    epoch = mix(rows, spectra, recipe.mixture, np.random.default_rng(0))
    assert epoch.filter(pl.col("guidance") == 50).height > 1


@pytest.mark.parametrize("table", TABLES)
def test_every_prompt_fits_into_the_generator(table, rehearsal, tokenizer, tmp_path):
    """Names are those that the rehearsal's lists lead to; a longer prompt makes no image."""
    from open_clip import IMAGENET_CLASSNAMES

    paper = published.read(published.find(table))
    workspace = rehearsal.request_of(table, paper, tmp_path, tmp_path, "cpu").workspace
    names = [*IMAGENET_CLASSNAMES[::5], "thing 99", "Genus species8141", "species 181"]
    seeds = range(10) if table in ("table1", "table3") else range(2)
    texts = [workspace.module.prompt(n, s, workspace.recipe, None) for n in names for s in seeds]
    sizes = [len(ids) for ids in tokenizer(texts).input_ids]
    assert min(sizes) > 5
    assert max(sizes) <= tokenizer.model_max_length == 77


def test_the_tokens_are_those_of_open_clip(tokenizer):
    from open_clip.tokenizer import SimpleTokenizer

    text = "a 8k real photo: A trombone, photographed from an oblique angle; it's Caprimulgus."
    ids = tokenizer(text, padding="max_length", max_length=77).input_ids
    theirs = SimpleTokenizer()([text])[0].tolist()
    assert len(tokenizer) == 49408
    assert ids[: theirs.index(49407) + 1] == theirs[: theirs.index(49407) + 1]
    assert len(ids) == 77
    assert ids[-1] == 0


def test_images_that_could_not_be_made_end_the_walk(rehearsal):
    row = {name: 0 if kind.is_numeric() else "x" for name, kind in failures.FAILED.items()}
    rows = pl.DataFrame([row | {"reason": REASON}], schema=failures.FAILED)
    lacking = steps.Step("generate", steps.Generated(47, {"spectrum": rows}), 1.0)
    with pytest.raises(DataError, match=f"generate, spectrum: 1 images failed: {REASON}"):
        rehearsal.refuse_failures(lacking)
    for whole in (steps.Generated(48), steps.Trained(1, 1)):
        rehearsal.refuse_failures(steps.Step("any", whole, 1.0))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("table", TABLES)
def test_every_stage_and_row_of_a_table(table, tmp_path):
    command = [sys.executable, "benchmarks/rehearsal.py", "--tables", table]
    run = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    lines = json.loads((tmp_path / "rehearsal.json").read_text())
    (rows,) = (line for line in lines if line["step"] == "rows")
    assert rows["missing"] == []
    assert {"index", "hard", "generate", "score", "train"} <= {line["step"] for line in lines}
    assert all(line["peak_gib"] < 8 for line in lines if "peak_gib" in line)
    assert "Every stage and row ran." in (tmp_path / "rehearsal.md").read_text()
