"""What long-tailed sets of picture files have in common: defaults of harness.datasets.protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import metrics as scoring
from harness.core.errors import DataError, UsageError
from harness.core.registry import one_of
from harness.core.specs import Mixture, Recipe, Schedule
from harness.datasets import prompts, rows, verify
from harness.datasets.base import Dataset
from harness.mini.scene import SCENES

# The small generator of the built-in world knows captions of this form.
BUILT_IN_TEMPLATES = tuple(f"a {{name}} {place[0]}." for place in SCENES.values())
SHARES = {"mini": 1.0, "smoke": 0.5}  # of the built-in world's pictures

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pictures
STD = (0.229, 0.224, 0.225)

# ---------------------------------------------------------------- recipes

# The paper's for ImageNet-LT, which it keeps for iNaturalist ("same settings").
PAPER = Recipe(
    profile="paper",
    backbone="resnet10",  # paper, Tables 1 and 3
    width=64,
    scratch=Schedule(  # CE of LDMLR's code, whose weights DisCL starts from; its mixup is left out
        optimiser="sgd",
        lr=0.1,  # LDMLR
        momentum=0.9,  # LDMLR
        nesterov=True,  # LDMLR
        weight_decay=2e-4,  # LDMLR
        batch=128,  # LDMLR
        epochs=100,  # LDMLR
        warmup=5,  # LDMLR: lr * (e + 1) / 5
        milestones=(60, 80),  # LDMLR
        gamma=0.1,  # LDMLR: x 0.1, then x 0.01
    ),
    onward=Schedule(
        optimiser="adam",  # paper, Table 9
        lr=1e-3,  # paper, Table 9
        weight_decay=1e-5,  # released code
        batch=128,  # paper, Table 9
        epochs=65,  # paper, Table 9
        decay="cosine",  # paper, Table 9; to 0 per batch: released code
    ),
    curriculum_epochs=60,  # paper, Table 9
    mixture=Mixture(
        keep=0.3,  # released command (downsample ratio)
        tail_fraction=None,  # the share of tail classes
    ),
    levels=(0.0, 0.1, 0.3, 0.5),  # paper, Table 9
    pool_seeds=(10, 20, 30, 40, 42, 50, 60, 70),  # released code; paper: 8 seeds
    threshold=0.30,  # paper, Table 9
    generator="stabilityai/stable-diffusion-xl-refiner-1.0",  # paper, Table 9
    clip="ViT-B-32-quickgelu",  # paper, Table 9; OpenAI's weights were trained with QuickGELU
    steps=50,  # released code's default; the paper says 1000
    text_guidance=10.0,  # paper, Table 9
    size_px=512,  # ours: the released code keeps each picture's own size
    view_px=224,
    augment="imagenet",  # LDMLR: random resized crop, flip, colour jitter 0.4
    test_view="centre",  # LDMLR: 256, then the centre of 224
    probe_images=100,  # released code
)

_MINI_ONWARD = Schedule(optimiser="adam", lr=1e-3, batch=64, epochs=15, decay="cosine")

MINI = Recipe(
    profile="mini",  # all values ours: minutes on two cores
    backbone="resnet10",
    width=16,
    scratch=Schedule(
        optimiser="sgd",
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        batch=64,
        epochs=16,
        warmup=2,
        milestones=(12, 15),
    ),
    onward=_MINI_ONWARD,
    curriculum_epochs=10,
    mixture=Mixture(keep=0.3, tail_fraction=None),
    levels=(0.0, 0.1, 0.3, 0.5),
    pool_seeds=(10, 20),
    threshold=0.55,
    generator="mini",
    clip="mini",
    steps=12,
    text_guidance=3.0,
    size_px=64,
    view_px=64,
    augment="crop-flip",
    probe_images=30,
)

SMOKE = replace(
    MINI,
    profile="smoke",
    scratch=replace(MINI.scratch, epochs=3, warmup=1, milestones=(2,)),
    onward=replace(_MINI_ONWARD, epochs=6),
    curriculum_epochs=5,  # one per level and one at the real images
    pool_seeds=(10,),
    steps=6,
    run_seeds=(0,),
)

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
BACKBONES: dict[str, dict[str, dict[str, Any]]] = {
    profile: {"resnet34": {"backbone": "resnet34"}} for profile in RECIPES
}

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

    sentences: by class name, from a file of prompts; without them the grammar's. The embedded
    generator gets captions of its own world.
    """
    if recipe.generator == "mini":
        some: Sequence[str] = [form.format(name=classname) for form in BUILT_IN_TEMPLATES]
    elif sentences is None:
        some = prompts.scenes(classname)
    elif classname in sentences:
        some = sentences[classname]
    else:
        raise DataError(f"the prompts have no sentence of class {classname!r}")
    return prompts.real_photo(prompts.choose(some, classname, seed))


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
    found = predictions.filter(pl.col("split") == split)
    if not found.height:
        known = ", ".join(predictions["split"].unique().sort().to_list()) or "none"
        raise DataError(f"predictions: none of split {split!r}; there are those of {known}")
    return found


def headline(scores: dict[str, Any]) -> float:
    """The number that stands for a run in a line of progress."""
    return float(scores["overall"])


metric = scoring.accuracy  # what an epoch is selected by


# ---------------------------------------------------------------- official files


def check(
    load: Callable[[Path, int | None, Recipe], Dataset],
    recipes: Mapping[str, Recipe],
    root: Path,
    profile: str,
    decode: bool = False,
) -> list[str]:
    """What was verified of a data set's files, a line each; DataError at the first offence.

    load, recipes: the data set's. decode: read every picture, too.
    """
    root = Path(root)
    data = load(root, None, recipes[profile])
    tables = {"train": data.train} | {name: split.table for name, split in data.splits.items()}
    of_files = {name: table for name, table in tables.items() if not table["path"].null_count()}
    listings = [
        rows.Listing(table.with_row_index("place", 1), rows.Where(root / name, "picture {}"))
        for name, table in of_files.items()
    ]
    return [verify.described(data), *([verify.files(root, listings, decode)] if listings else [])]


def fetch(name: str, root: Path) -> None:
    """UsageError: nobody knows where a data set without a `fetch` of its own comes from."""
    raise UsageError(f"{name} cannot be downloaded: put its files below {root}")
