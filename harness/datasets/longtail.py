"""What long-tailed sets of picture files have in common: defaults of harness.datasets.protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import metrics as scoring
from harness.core.errors import DataError, UsageError
from harness.core.registry import one_of
from harness.core.specs import Recipe
from harness.datasets import prompts, rows, verify
from harness.datasets.base import Dataset
from harness.datasets.offences import Report
from harness.mini.scene import SCENES, atlas

SHARES = {"mini": 1.0, "smoke": 0.5}  # of the built-in world's pictures

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pictures
STD = (0.229, 0.224, 0.225)

# ---------------------------------------------------------------- what the stages ask


def hard(data: Dataset, recipe: Recipe, p_true: np.ndarray | None = None) -> pl.DataFrame:
    """Training rows of the classes whose size fits the recipe's tail rule, "<20" or "<=20".

    p_true is not read: no classifier is asked.
    """
    rule = one_of("tail rule", recipe.tail, ("<20", "<=20"))
    return data.train.filter(pl.col("count") < (20 if rule == "<20" else 21))


def prompt(
    classname: str, seed: int, recipe: Recipe, sentences: Mapping[str, Sequence[str]] | None = None
) -> str:
    """What the generator is asked for: one of ten scenes, fixed by class and seed.

    sentences: by class name, from a file of prompts; without them the grammar's. The built-in
    generator gets captions of its own world, which name a scene and an art style.
    """
    if recipe.generator == "mini":
        some: Sequence[str] = [f"a {scene}." for scene in built_in_scenes(classname)]
    elif sentences is None:
        some = prompts.scenes(classname)
    elif classname in sentences:
        some = sentences[classname]
    else:
        raise DataError(f"the prompts have no sentence of class {classname!r}")
    return prompts.real_photo(prompts.choose(some, classname, seed))


def built_in_scenes(classname: str) -> list[str]:
    """A class in every art style and scene that the small generator's captions know."""
    styles = ("", *(f"{style['adjective']} " for style in atlas().styles))
    return [f"{style}{classname} {scene[0]}" for style in styles for scene in SCENES.values()]


def captions(classname: str) -> tuple[str, ...]:
    """What an image-text model is told of a class: two templates, as FLYP's code has them."""
    return (f"a photo of {classname}.", f"{classname} in the wild.")


def score_prompt(classname: str) -> str:
    """What CLIP compares an image with (released code)."""
    return f"a photo of {classname}"


def metrics(predictions: pl.DataFrame, counts: Sequence[int]) -> dict[str, Any]:
    """Accuracy on the test split, over all, by class and by group: see harness.core.metrics."""
    return scoring.metrics(tested(predictions, "test"), counts)


def tested(predictions: pl.DataFrame, split: str) -> pl.DataFrame:
    """The predictions of one split; DataError when there are none."""
    if "split" not in predictions.columns:
        raise DataError(f"predictions: no column split among {', '.join(predictions.columns)}")
    of_split = predictions.filter(pl.col("split") == split)
    if not of_split.height:
        known = ", ".join(predictions["split"].unique().sort().to_list()) or "none"
        raise DataError(f"predictions: none of split {split!r}; there are those of {known}")
    return of_split


def headline(scores: dict[str, Any]) -> float:
    """The number that stands for a run in a line of progress."""
    return float(scores["overall"])


metric = scoring.accuracy  # what an epoch is selected by


# ---------------------------------------------------------------- official files


def check(
    load: Callable[[Path, int | None, Recipe], Dataset],
    root: Path,
    recipe: Recipe,
    decode: bool = False,
    downloads: bool = True,
) -> list[str]:
    """What was verified of a data set's files, a line each; Offences of all that is wrong.

    load: the data set's. decode: read every picture, too. downloads is not read: no archive is
    known.
    """
    root = Path(root)
    data = load(root, None, recipe)
    tables = {"train": data.train} | {name: split.table for name, split in data.splits.items()}
    listings = {
        name: rows.Listing(table.with_row_index("place", 1), rows.Where(root / name, "picture {}"))
        for name, table in tables.items()
        if not table["path"].null_count()
    }
    report = Report()
    report.lines += verify.described(data)
    return (
        verify.finished(report, root, listings, recipe, decode=decode)
        if listings
        else (report.lines)
    )


def fetch(name: str, root: Path) -> None:
    """UsageError: nobody knows where a data set without a `fetch` of its own comes from."""
    raise UsageError(f"{name} cannot be downloaded: put its files below {root}")
