"""CIFAR-100-LT: the long-tailed subset of CIFAR-100, drawn from the official pickles.

Files: <root>/cifar-100-python/{train,test,meta}. Class count and class size are read from them.
Protocol: Cao et al. 2019 (LDAM), as CUDA uses it; the test set stays balanced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import metrics as scoring
from harness.core.errors import UsageError
from harness.core.specs import Mixture, Recipe, Schedule
from harness.datasets import cifar, longtail, picture_check, prompts, recipes, verify
from harness.datasets.base import Dataset, Split, index_hash
from harness.datasets.file_digests import check_lists
from harness.datasets.offences import Faults, Report, of_all
from harness.datasets.pictures import Block, listed
from harness.datasets.subsets import class_counts, select, sizes

NAME = "cifar100-lt"

# Ours: the paper asked a language model for ten scenes per class; these need none. The words are
# those of the built-in world's captions, so that its small generator knows them too.
TEMPLATES = (
    "a photo of a {name} in front of a plain wall",
    "a photo of a {name} in front of a blue sky",
    "a photo of a {name} on green grass",
    "a photo of a {name} on yellow sand",
    "a photo of a {name} in white snow",
    "a photo of a {name} by blue water",
    "a photo of a {name} at night",
    "a photo of a {name} in a dark forest",
    "a photo of a {name} on a grey street",
    "a photo of a {name} in front of a red sunset",
)

# Settings, for edits by language: of the built-in world; the paper edits iWildCam alone.
EDITS = (TEMPLATES[2], TEMPLATES[6], TEMPLATES[5], TEMPLATES[8])
EDIT_CHECK = (  # what an edit should be a picture of, then what it should not
    "a photo of a thing",
    "a photo of an object",
    "a photo of geometric shapes",
    "an image",
    "a painting",
)

TEST, VAL = "test", None
HARD_BY = None  # the class sizes say what is hard

MEAN = (0.4914, 0.4822, 0.4465)  # CUDA's and LDAM's code: CIFAR-10's, for CIFAR-100 too
STD = (0.2023, 0.1994, 0.2010)

# ---------------------------------------------------------------- recipes

PAPER = replace(
    recipes.PAPER,  # DisCL's ImageNet-LT run; for CIFAR the paper says "same settings"
    backbone="resnet10",  # paper, Table 2; the ImageNet network on raw 32 px fits its accuracies
    width=64,  # 4,957,092 parameters with 100 classes
    scratch=Schedule(  # CUDA's CIFAR code, which LDAM's protocol agrees with up to warm-up
        optimiser="sgd",
        lr=0.1,  # CUDA
        momentum=0.9,  # CUDA
        weight_decay=2e-4,  # CUDA
        batch=128,  # CUDA
        epochs=200,  # CUDA
        warmup=5,  # CUDA: lr * E / 5 for the first five
        milestones=(160, 180),  # CUDA: 1-based epoch > 160 and > 180
        gamma=0.01,  # CUDA: x 0.01, and again (LDAM too)
    ),
    mixture=Mixture(
        keep=0.3,  # released command (downsample ratio)
        tail_fraction=None,  # share of tail classes: 136 of 1000 = the released 0.136, ImageNet-LT
    ),
    levels=(0.5, 0.7, 0.9),  # paper, A.3 (its Table 5 says four levels for CIFAR)
    size_px=512,  # ours: not published for CIFAR
    view_px=32,
    augment="crop-flip",  # CUDA
    test_view="none",  # CUDA
    probe_images=100,  # released code, ImageNet-LT; for CIFAR not published
    imbalances=(100, 50),  # paper, Table 2
)

MINI = replace(
    recipes.MINI,  # all values ours: minutes on two cores
    scratch=replace(recipes.MINI.scratch, nesterov=False, epochs=30, warmup=2, milestones=(24, 28)),
    # Of six mixtures, levels and thresholds, this had the largest gain of Few over the control on
    # validation images, a stream of their own, with two seeds.
    onward=replace(recipes.MINI_ONWARD, epochs=18),
    curriculum_epochs=16,
    pool_seeds=(10, 20, 30, 40),
    size_px=64,  # what the built-in generator makes; brought to 32 px for training
    view_px=32,
    imbalances=(100, 50),
)

SMOKE = replace(
    MINI,
    profile="smoke",
    scratch=replace(MINI.scratch, lr=0.1, batch=64, epochs=4, warmup=1, milestones=(3,)),
    onward=recipes.SMOKE.onward,
    curriculum_epochs=recipes.SMOKE.curriculum_epochs,
    pool_seeds=recipes.SMOKE.pool_seeds,
    steps=recipes.SMOKE.steps,
    run_seeds=recipes.SMOKE.run_seeds,
    imbalances=(100,),
)

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
BACKBONES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": recipes.DEEPER
    | {"resnet32": {"backbone": "resnet32", "width": 16}},  # CUDA's and LDMLR's
    "mini": recipes.DEEPER | {"resnet32": {"backbone": "resnet32", "width": 8}},
    "smoke": recipes.DEEPER,
}

# Of the built-in world: 60 classes of 200 training and 100 test pictures (harness.mini.world).
_BUILT_IN = {
    "counts": sizes(200, 60), "splits": {"test": 60 * 100}, "drawn": 60 * (200 + 100)
}  # fmt: skip
FACTS: dict[str, Any] = {  # see harness.planning.dataset_sizes
    "files": tuple(f"{cifar.FOLDER}/{name}" for name in ("train", "test", "meta")),
    "paper": {"counts": sizes(500, 100), "splits": {"test": cifar.OFFICIAL[2]}},
    "mini": _BUILT_IN,
    "smoke": _BUILT_IN,
}


# ---------------------------------------------------------------- reading


def load(root: Path, imbalance: int | None, recipe: Recipe) -> Dataset:
    """The training subset of that imbalance (None: all images) and the whole test set.

    DataError when a file is missing, damaged or not what the official one holds; UsageError for
    an imbalance that no subset has.
    """
    folder = Path(root) / cifar.FOLDER
    check_lists(folder, listed(folder))
    classes = cifar.class_names(folder / "meta")
    of = of_all(
        {name: partial(cifar.images, folder / name, len(classes)) for name in ("train", "test")}
    )
    (pixels, labels), (test_pixels, test_labels) = of["train"], of["test"]
    if recipe.profile == "paper":
        cifar.check_official(folder, (len(classes), len(labels), len(test_labels)))
    counts = _counts(folder / "train", labels, len(classes), imbalance, recipe.count_profile)
    ids = select(labels, counts)
    train = _table(ids, labels[ids]).select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("image"),
        "id",
        "label",
        pl.Series("count", np.asarray(counts)[labels[ids]], dtype=pl.Int32),
        "path",
        "location",
    )
    test_ids = np.arange(len(test_labels))
    images = cifar.hwc(pixels, ids)
    return Dataset(
        name=NAME,
        imbalance=imbalance,
        classes=classes,
        counts=counts,
        train=train,
        train_images=Block(images, folder),
        splits={
            TEST: Split(_table(test_ids, test_labels), Block(cifar.hwc(test_pixels, test_ids)))
        },
        index_hash=index_hash(train, hashlib.sha256(images.tobytes()).hexdigest()),
    )


def _counts(
    path: Path, labels: np.ndarray, classes: int, imbalance: int | None, count_profile: str
) -> tuple[int, ...]:
    available = np.bincount(labels, minlength=classes)
    faults = Faults()
    for label in np.flatnonzero(available == 0).tolist():
        faults.add(f"{path}: no image of class {label}, expected some of all {classes}")
    faults.refuse()
    if imbalance is None:
        return tuple(int(n) for n in available)
    counts = class_counts(int(available.max()), classes, imbalance, count_profile)
    for label, (have, need) in enumerate(zip(available.tolist(), counts, strict=True)):
        if have < need:
            faults.add(
                f"{path}: {have} images of class {label}, expected at least {need} for imbalance "
                f"{imbalance}"
            )
    faults.refuse()
    return counts


def _table(ids: np.ndarray, labels: np.ndarray) -> pl.DataFrame:
    nothing = [None] * len(ids)
    return pl.DataFrame(
        {"id": ids, "label": labels, "path": nothing, "location": nothing},
        schema={"id": pl.Int64, "label": pl.Int32, "path": pl.Utf8, "location": pl.Int32},
    )


# ---------------------------------------------------------------- what the stages ask


hard, captions, score_prompt = longtail.hard, longtail.captions, longtail.score_prompt
metric, headline = longtail.metric, longtail.headline


def prompt(
    classname: str, seed: int, recipe: Recipe, sentences: Mapping[str, Sequence[str]] | None = None
) -> str:
    """What the generator is asked for: one of ten scenes, fixed by class and seed.

    sentences: by class name, from a file of prompts; without them the templates. The built-in
    generator gets captions of its own world, which name a scene and an art style.
    """
    if sentences is not None:
        return prompts.real_photo(prompts.choose(sentences[classname], classname, seed))
    if recipe.generator == "mini":
        scenes = longtail.built_in_scenes(classname)
        return f"a photo of a {prompts.choose(scenes, classname, seed)}"
    return prompts.choose(TEMPLATES, classname, seed).format(name=classname)


def edits(recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts of edits, and what CLIP compares them with; UsageError outside the built-in world."""
    if recipe.generator != "mini":
        raise UsageError(f"profile {recipe.profile} of {NAME} has no prompts for edits")
    return EDITS, EDIT_CHECK


def write_built_in(root: Path, profile: str) -> Path:
    """The built-in world's CIFAR-100, in the official format below `root`."""
    from harness.mini.world import write_cifar100

    return write_cifar100(root)


def metrics(predictions: pl.DataFrame, counts: Sequence[int]) -> dict[str, Any]:
    """Top-1 accuracy over all, by class and by group: see harness.core.metrics."""
    return scoring.metrics(predictions, counts)


def check(root: Path, recipe: Recipe, decode: bool = False, downloads: bool = True) -> list[str]:
    """What was verified, a line each; Offences (a DataError) of all that is wrong.

    Profile paper and downloads: first the official checksums; without them, other pictures in the
    format of CIFAR-100 pass as well. The files hold pixels, so that the pictures are read in any
    case; decode: they are compared, too.
    """
    folder, report = Path(root) / cifar.FOLDER, Report()
    if recipe.profile == "paper" and downloads:
        report.add(cifar.verify(folder))
    data = load(Path(root), None, recipe)
    pictures = f"{len(data.train)} training and {len(data.splits[TEST].table)} test pictures"
    report.add(f"{len(data.classes)} classes, {pictures}, all decoded")
    report.lines += verify.shared_names(data.classes)
    labels = data.train["label"].to_numpy()
    for imbalance in recipe.imbalances:
        with report.faults.gathering():
            counts = _counts(
                folder / "train", labels, len(data.classes), imbalance, recipe.count_profile
            )
            report.add(f"imbalance {imbalance}: {sum(counts)} training pictures")
    if decode:
        picture_check.repeated(report, _contents(data), official=recipe.profile == "paper")
    report.faults.refuse()
    return report.lines


def _contents(data: Dataset) -> pl.DataFrame:
    """Every picture with the digest of its pixels: split, where, path, label, digest."""
    test, tested = data.splits[TEST].table, data.splits[TEST].images
    assert isinstance(tested, Block)
    digests = {
        "train": (data.train, data.sources(data.train)),
        TEST: (test, tested.digests(np.arange(len(test)))),
    }
    parts = []
    for split, (table, values) in digests.items():
        name = pl.format("{}[{}]", pl.lit(split), pl.col("id"))
        part = table.with_columns(pl.Series("digest", values)).sort("id")
        parts.append(
            part.select(
                pl.lit(split).alias("split"),
                name.alias("where"),
                name.alias("path"),
                pl.col("label").cast(pl.Int64),
                "digest",
            )
        )
    return pl.concat(parts)


fetch = cifar.fetch
