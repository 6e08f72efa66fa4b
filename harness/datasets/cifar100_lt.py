"""CIFAR-100-LT: the long-tailed subset of CIFAR-100, drawn from the official pickles.

Files: <root>/cifar-100-python/{train,test,meta}. Class count and class size are read from them.
Protocol: Cao et al. 2019 (LDAM), as CUDA uses it; the test set stays balanced.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from harness.core import metrics as scoring
from harness.core.errors import DataError, UsageError
from harness.core.specs import Mixture, Recipe, Schedule
from harness.datasets import cifar, longtail, prompts
from harness.datasets.base import Dataset, Split, index_hash
from harness.datasets.pictures import Block
from harness.datasets.unpickle import load as unpickle

T = TypeVar("T")

NAME = "cifar100-lt"
FOLDER = "cifar-100-python"
SIDE_PX = 32
OFFICIAL = (100, 50_000, 10_000)  # classes, training and test images; asked of profile `paper`

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

PAPER = Recipe(
    profile="paper",
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
    onward=Schedule(  # DisCL's ImageNet-LT run; for CIFAR the paper says "same settings"
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
        tail_fraction=None,  # share of tail classes: 136 of 1000 = the released 0.136, ImageNet-LT
    ),
    levels=(0.5, 0.7, 0.9),  # paper, A.3 (its Table 5 says four levels for CIFAR)
    pool_seeds=(10, 20, 30, 40, 42, 50, 60, 70),  # released code; paper: 8 seeds
    threshold=0.30,  # paper, Table 9 (long-tailed sets)
    generator="stabilityai/stable-diffusion-xl-refiner-1.0",  # paper, Table 9
    clip="ViT-B-32-quickgelu",  # paper, Table 9; OpenAI's weights were trained with QuickGELU
    steps=50,  # released code's default; the paper says 1000
    text_guidance=10.0,  # paper, Table 9
    size_px=512,  # ours: not published for CIFAR
    view_px=32,
    probe_images=100,  # released code, ImageNet-LT; for CIFAR not published
    imbalances=(100, 50),  # paper, Table 2
)

_MINI_ONWARD = Schedule(optimiser="adam", lr=1e-3, batch=64, epochs=30, decay="cosine")

MINI = Recipe(
    profile="mini",  # all values ours: minutes on two cores
    backbone="resnet10",
    width=16,
    scratch=Schedule(
        optimiser="sgd",
        lr=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        batch=64,
        epochs=30,
        warmup=2,
        milestones=(24, 28),
    ),
    onward=_MINI_ONWARD,
    curriculum_epochs=25,
    mixture=Mixture(keep=0.3, tail_fraction=None),
    levels=(0.0, 0.3, 0.5, 0.7),
    pool_seeds=(10, 20, 30, 40),
    threshold=0.55,
    generator="mini",
    clip="mini",
    steps=12,
    text_guidance=3.0,
    size_px=64,  # what the built-in generator makes; brought to 32 px for training
    view_px=32,
    probe_images=30,
    imbalances=(100, 50),
)

SMOKE = replace(
    MINI,
    profile="smoke",
    scratch=replace(MINI.scratch, epochs=4, warmup=1, milestones=(3,)),
    onward=replace(_MINI_ONWARD, epochs=6),
    curriculum_epochs=5,  # one per level and one at the real images
    pool_seeds=(10,),
    steps=6,
    run_seeds=(0,),
    imbalances=(100,),
)

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
_DEEPER = {"resnet34": {"backbone": "resnet34"}}
BACKBONES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": _DEEPER | {"resnet32": {"backbone": "resnet32", "width": 16}},  # CUDA's and LDMLR's
    "mini": _DEEPER | {"resnet32": {"backbone": "resnet32", "width": 8}},
    "smoke": _DEEPER,
}

# ---------------------------------------------------------------- the long tail


def class_counts(
    n_max: int, classes: int, imbalance: int, count_profile: str = "floor"
) -> tuple[int, ...]:
    """Images to keep per class: floor(n_max * f ** (i / (C - 1))) with f = 1 / imbalance (LDAM).

    "floor" takes the exact power. "multiplicative" takes mu ** i with a root mu that was rounded
    down, so a whole number is just missed and the last class has one image fewer; with the rule
    <= 20 this gives the 324 and 268 hard images that the paper counts at imbalance 100 and 50.
    Both are computed in integers: in floats, the last class depends on whose pow() computes mu
    (at imbalance 100, Python's leaves 5 images and numpy's 4).
    """
    if count_profile not in ("floor", "multiplicative"):
        raise UsageError(f"count profile {count_profile!r}; there are 'floor', 'multiplicative'")
    reach = operator.le if count_profile == "floor" else operator.lt
    largest = n_max if count_profile == "floor" else n_max - 1
    if not 1 <= imbalance <= largest:
        raise UsageError(
            f"imbalance {imbalance}; expected a whole number from 1 to {largest} (class size "
            f"{n_max}, count profile {count_profile})"
        )
    tail = (_largest(n_max, imbalance, i, classes - 1, reach) for i in range(1, classes))
    return (n_max, *tail)


def _largest(
    n_max: int, imbalance: int, i: int, last: int, reach: Callable[[int, int], bool]
) -> int:
    """The largest n whose power n ** last * imbalance ** i does reach n_max ** last."""
    bound, factor = n_max**last, imbalance**i
    n = int(n_max * imbalance ** (-i / last))  # a float: off by one at most
    while not reach(n**last * factor, bound):
        n -= 1
    while reach((n + 1) ** last * factor, bound):
        n += 1
    return n


def _sizes(n_max: int, classes: int) -> Callable[[int | None, Recipe], tuple[int, ...]]:
    """Class sizes as a function of imbalance and recipe."""

    def counts(imbalance: int | None, recipe: Recipe) -> tuple[int, ...]:
        if imbalance is None:
            return (n_max,) * classes
        return class_counts(n_max, classes, imbalance, recipe.count_profile)

    return counts


# Of the built-in world: 60 classes of 200 training and 20 test pictures (harness.mini.world).
_BUILT_IN = {"counts": _sizes(200, 60), "splits": {"test": 60 * 20}}
FACTS: dict[str, Any] = {  # see harness.planning.dataset_sizes
    "files": tuple(f"{FOLDER}/{name}" for name in ("train", "test", "meta")),
    "paper": {"counts": _sizes(500, 100), "splits": {"test": OFFICIAL[2]}},
    "mini": _BUILT_IN,
    "smoke": _BUILT_IN,
}


def select(labels: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Indices (int64, by class) of the images kept, as LDAM draws them.

    numpy's legacy generator, seeded once with 0; for each label in order, its ascending indices
    are shuffled and the first counts[label] taken. So a smaller imbalance contains a larger one.
    """
    rng = np.random.RandomState(0)  # the protocol names this generator and this seed
    kept = []
    for label, count in enumerate(counts):
        indices = np.flatnonzero(labels == label)
        rng.shuffle(indices)
        kept.append(indices[:count])
    return np.concatenate(kept).astype(np.int64)


# ---------------------------------------------------------------- reading


def load(root: Path, imbalance: int | None, recipe: Recipe) -> Dataset:
    """The training subset of that imbalance (None: all images) and the whole test set.

    DataError when a file is missing, damaged or not what the official one holds; UsageError for
    an imbalance that no subset has.
    """
    folder = Path(root) / FOLDER
    classes = _class_names(folder / "meta")
    pixels, labels = _images(folder / "train", len(classes))
    test_pixels, test_labels = _images(folder / "test", len(classes))
    if recipe.profile == "paper":
        _check_official(folder, (len(classes), len(labels), len(test_labels)))
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
    images = _hwc(pixels, ids)
    return Dataset(
        name=NAME,
        imbalance=imbalance,
        classes=classes,
        counts=counts,
        train=train,
        train_images=Block(images),
        splits={TEST: Split(_table(test_ids, test_labels), Block(_hwc(test_pixels, test_ids)))},
        index_hash=index_hash(train, hashlib.sha256(images.tobytes()).hexdigest()),
    )


def _class_names(path: Path) -> list[str]:
    names = _entry(path, unpickle(path), b"fine_label_names", list)
    if len(names) < 2 or not all(isinstance(n, bytes) for n in names):
        raise DataError(
            f"{path}: fine_label_names holds {len(names)} entries, expected two or more names in "
            "bytes"
        )
    return [n.decode("utf-8", errors="replace").replace("_", " ") for n in names]


def _images(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3072) uint8 and labels (N,) int64 of one file, checked."""
    content = unpickle(path)
    pixels = _entry(path, content, b"data", np.ndarray)
    labels = _entry(path, content, b"fine_labels", list)
    width = 3 * SIDE_PX * SIDE_PX
    if pixels.ndim != 2 or pixels.shape[1] != width:
        raise DataError(f"{path}: data has shape {pixels.shape}, expected (N, {width})")
    if len(labels) != len(pixels):
        raise DataError(
            f"{path}: {len(labels)} fine_labels for {len(pixels)} images, expected one per image"
        )
    wrong = [v for v in labels if type(v) is not int or not 0 <= v < classes]
    if wrong:
        raise DataError(
            f"{path}: fine_labels holds {wrong[0]!r}, expected whole numbers from 0 to "
            f"{classes - 1} ({classes} names in meta)"
        )
    return pixels, np.asarray(labels, dtype=np.int64)


def _entry(path: Path, content: dict[bytes, Any], name: bytes, kind: type[T]) -> T:
    """The entry of that name and type, or a DataError."""
    if name not in content:
        found = ", ".join(sorted(str(k) for k in content)) or "nothing"
        raise DataError(f"{path}: holds {found}, expected an entry {name!r}")
    if not isinstance(content[name], kind):
        got = type(content[name]).__name__
        raise DataError(f"{path}: {name!r} is a {got}, expected a {kind.__name__}")
    entry: T = content[name]
    return entry


def _check_official(folder: Path, found: tuple[int, int, int]) -> None:
    if found != OFFICIAL:
        raise DataError(
            f"{folder}: {found[0]} classes, {found[1]} training and {found[2]} test images, but "
            f"profile paper needs the official CIFAR-100: {OFFICIAL[0]}, {OFFICIAL[1]} and "
            f"{OFFICIAL[2]}"
        )


def _counts(
    path: Path, labels: np.ndarray, classes: int, imbalance: int | None, count_profile: str
) -> tuple[int, ...]:
    available = np.bincount(labels, minlength=classes)
    empty = np.flatnonzero(available == 0)
    if len(empty):
        raise DataError(f"{path}: no image of class {empty[0]}, expected some of all {classes}")
    if imbalance is None:
        return tuple(int(n) for n in available)
    counts = class_counts(int(available.max()), classes, imbalance, count_profile)
    for label, (have, need) in enumerate(zip(available, counts, strict=True)):
        if have < need:
            raise DataError(
                f"{path}: {have} images of class {label}, expected at least {need} for imbalance "
                f"{imbalance}"
            )
    return counts


def _hwc(pixels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows RRR..GGG..BBB (N, 3072) as images (n, 32, 32, 3), contiguous."""
    planes = pixels[ids].reshape(-1, 3, SIDE_PX, SIDE_PX)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


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

    sentences: by class name, from a file of prompts; without them the templates.
    """
    if sentences is not None:
        return prompts.real_photo(prompts.choose(sentences[classname], classname, seed))
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


def check(root: Path, profile: str, decode: bool = False) -> list[str]:
    """What was verified, a line each; DataError at the first offence. The pictures are decoded."""
    data = load(Path(root), None, RECIPES[profile])
    sizes = f"{len(data.train)} training and {len(data.splits[TEST].table)} test pictures"
    said = [f"{len(data.classes)} classes, {sizes}, all decoded"]
    for imbalance in RECIPES[profile].imbalances:
        subset = load(Path(root), imbalance, RECIPES[profile])
        said.append(f"imbalance {imbalance}: {len(subset.train)} training pictures")
    return said + ([cifar.verify(Path(root) / FOLDER)] if profile == "paper" else [])


fetch = cifar.fetch
