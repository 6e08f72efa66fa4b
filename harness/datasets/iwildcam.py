"""iWildCam-WILDS 2.0: camera traps, tested where they stood in training and elsewhere (Koh 2021).

Its files: see harness.datasets.camera_traps. Splits have their official names: id_val and id_test
are of the training locations, val and test are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import Recipe
from harness.datasets import camera_traps, iwildcam_recipes, longtail, prompts, rows, verify
from harness.datasets.base import Dataset, Source
from harness.datasets.camera_traps import FOLDER, LABELS, METADATA
from harness.datasets.offences import Faults, Report

NAME = "iwildcam"
SCORED = {"ood": "test", "id": "id_test", "ood_val": "val", "id_val": "id_val"}
TEST, VAL = "test", "id_val"
RECIPES, BACKBONES = iwildcam_recipes.RECIPES, iwildcam_recipes.BACKBONES
EMPTY = 0  # label of pictures without an animal

OFFICIAL = {  # FLYP's code for the training images, WILDS for the others
    "classes": 182, "train": 129_809, "val": 14_961, "test": 42_791, "id_val": 7_314,
    "id_test": 8_154,
}  # fmt: skip

HARD_BY: str | None = "FLYP"  # whose p(true class) says what is hard; the paper names no classifier
HARD_IMAGES = 8_260  # paper, Table 5
# Of the training images of the built-in world; the paper's 6 % would be 95 images of 1,500.
HARD_SHARE = {"mini": 0.2, "smoke": 0.1}
# Of the built-in world (harness.mini.wildcam).
_BUILT_IN = {
    "train": 1500,
    "classes": 34,
    "hard_classes": None,
    "splits": {"val": 400, "test": 4000, "id_val": 400, "id_test": 3000},
    "drawn_files": 1500 + 400 + 4000 + 400 + 3000,
}
FACTS: dict[str, Any] = {  # see harness.planning.dataset_sizes
    "files": (METADATA, camera_traps.CATEGORIES, "train"),
    "folder": FOLDER,
    "paper": {
        "train": OFFICIAL["train"],
        "classes": OFFICIAL["classes"],
        "hard": HARD_IMAGES,
        "hard_classes": None,
        "splits": {split: OFFICIAL[split] for split in ("val", "test", "id_val", "id_test")},
    },
    **{name: _BUILT_IN | {"hard": round(part * 1500)} for name, part in HARD_SHARE.items()},
}

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
STD = (0.26862954, 0.26130258, 0.27577711)

# Edits by language (ALIA's code for iWildCam): settings, then what an edit should be a picture of
# and what it should not.
EDITS = (
    "a photo of a {name} in a grassy field with trees and bushes",
    "a photo of {name} in a forest in the dark",
    "a photo of {name} near a large body of water in the middle of a field",
    "a photo of {name} walking on a dirt trail with twigs and branches",
)
EDIT_CHECK = (
    "a wildlife photo",
    "a photo of an object",
    "a photo of geometric shapes",
    "a photo",
    "an image",
    "a painting",
)
BUILT_IN_EDITS = (  # the same in words that the built-in world's small models know
    "a photo of a {name} on green grass",
    "a photo of a {name} in a dark forest",
    "a photo of a {name} by blue water",
    "a photo of a {name} on yellow sand",
)
BUILT_IN_EDIT_CHECK = (
    "a photo of an animal in the wild",
    "a photo of an object",
    "a photo of geometric shapes",
    "an image",
    "a painting",
)

SOURCES = (
    Source(
        "archive.tar.gz",
        "https://worksheets.codalab.org/rest/bundles/0x6313da2b204647e79a14b468131fcd64/contents/"
        "blob/",
        "12 GB",
        None,
        "Community Data License Agreement, Permissive, 1.0",
    ),
    Source(
        LABELS,
        "https://github.com/mlfoundations/wise-ft (src/datasets/iwildcam_metadata/labels.csv)",
        "8 kB",
        None,
        "optional: English names; not part of the data set",
    ),
)

# ---------------------------------------------------------------- reading


def load(root: Path, imbalance: int | None, recipe: Recipe) -> Dataset:
    """All five splits; `id` is the number of a row of metadata.csv, from 0, as WILDS numbers them.

    DataError names the file and the line of what is wrong; UsageError for an imbalance: the data
    set comes long-tailed.
    """
    if imbalance is not None:
        raise UsageError(f"{NAME} comes long-tailed: it has no imbalance {imbalance}")
    return _load(Path(root), recipe.profile)[0]


def _load(root: Path, profile: str) -> tuple[Dataset, dict[str, rows.Listing]]:
    root = camera_traps.folder(root)
    classes = camera_traps.class_names(root)[0]
    listings = camera_traps.listings(root, len(classes))
    return _dataset(root, profile, classes, listings), listings


def _dataset(
    root: Path, profile: str, classes: list[str], listings: Mapping[str, rows.Listing]
) -> Dataset:
    tested = {split: some for split, some in listings.items() if split != "train"}
    data = rows.dataset(NAME, root, classes, listings["train"], tested)
    if profile == "paper":
        verify.sizes(NAME, data, OFFICIAL)
    return data


# ---------------------------------------------------------------- what the stages ask


def hard(data: Dataset, recipe: Recipe, p_true: np.ndarray | None = None) -> pl.DataFrame:
    """The training images, `empty` ones aside, whose true class is least probable; ties by id.

    p_true: (N,) probability of the true class of each row of data.train, in [0, 1]. As many as the
    recipe's hard_images says; 0: as the paper has (profile paper), or HARD_SHARE of the training
    images, rounded.
    """
    n = len(data.train)
    if p_true is None or p_true.shape != (n,):
        shape = None if p_true is None else p_true.shape
        raise UsageError(f"hard images of {NAME} need p(true class) of {n} images, not {shape}")
    if not ((p_true >= 0) & (p_true <= 1)).all():
        raise DataError("p(true class) of a training image is not in [0, 1]")
    wanted = recipe.hard_images or (
        HARD_IMAGES if recipe.profile == "paper" else round(HARD_SHARE[recipe.profile] * n)
    )
    order = np.lexsort((data.train["id"].to_numpy(), p_true))
    animal = order[data.train["label"].to_numpy()[order] != EMPTY]
    if len(animal) < wanted:
        raise DataError(f"{len(animal)} training images show an animal; {wanted} hard ones asked")
    return data.train[np.sort(animal[:wanted])]


def prompt(
    classname: str, seed: int, recipe: Recipe, sentences: Mapping[str, Sequence[str]] | None = None
) -> str:
    """What the generator is asked for, whatever the seed and the sentences (paper, section 3.1)."""
    return prompts.in_the_wild(classname)


def score_prompt(classname: str) -> str:
    """What CLIP compares an image with: the generator's text (released code)."""
    return prompts.in_the_wild(classname)


def edits(recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts of edits with {name}, and what CLIP compares them with, the domain's text first."""
    if recipe.generator == "mini":
        return BUILT_IN_EDITS, BUILT_IN_EDIT_CHECK
    return EDITS, EDIT_CHECK


captions = longtail.captions  # FLYP's two templates


def metrics(predictions: pl.DataFrame, counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """Macro F1 and accuracy on each split: {"ood", "id", "ood_val", "id_val": {"macro_f1", ...}}.

    predictions: split, id, label, prediction. DataError for a split without predictions, a
    repeated id, and labels or predictions outside 0..C-1.
    """
    scores = {}
    for name, split in SCORED.items():
        of_split = longtail.tested(predictions, split)
        if of_split["id"].n_unique() < of_split.height or of_split["id"].null_count():
            raise DataError(f"predictions of {split}: an id is missing or repeated")
        labels, guesses = (_classes(of_split, c, len(counts)) for c in ("label", "prediction"))
        accuracy = float((labels == guesses).mean())
        scores[name] = {"macro_f1": macro_f1(labels, guesses), "accuracy": accuracy}
    return scores


def _classes(predictions: pl.DataFrame, column: str, size: int) -> np.ndarray:
    values = predictions[column]
    if not values.dtype.is_integer() or not values.is_between(0, size - 1).fill_null(False).all():
        raise DataError(f"predictions: {column} holds other than whole numbers 0..{size - 1}")
    return values.to_numpy()


def macro_f1(labels: np.ndarray, guesses: np.ndarray) -> float:
    """Mean F1 of the classes that occur among the labels (N,), as WILDS has it.

    F1 = 2 TP / (2 TP + FP + FN). A guess of a class that does not occur costs the recall of the
    true one only; a class that is never guessed counts as 0. DataError without labels.
    """
    if not len(labels):
        raise DataError("macro F1 of no labels")
    size = int(max(labels.max(), guesses.max())) + 1
    true, guessed = np.bincount(labels, minlength=size), np.bincount(guesses, minlength=size)
    right = np.bincount(labels[labels == guesses], minlength=size)
    present = np.flatnonzero(true)
    f1 = 2 * right[present] / (true[present] + guessed[present])
    return math.fsum(f1) / len(f1)  # the same bits on every machine


def headline(scores: dict[str, Any]) -> float:
    """The number that stands for a run in a line of progress: macro F1 at new locations."""
    return float(scores["ood"]["macro_f1"])


metric = macro_f1  # what an epoch is selected by, on id_val


def check(root: Path, recipe: Recipe, decode: bool = False, downloads: bool = True) -> list[str]:
    """What was verified, a line each; Offences (a DataError) of all that is wrong.

    Profile paper: also the official sizes. decode: decode every picture, not only look for it.
    downloads: also compare the archives that are there.
    """
    root, report = camera_traps.folder(Path(root)), Report()
    classes, names = camera_traps.class_names(root)
    listings = camera_traps.listings(root, len(classes))
    with report.faults.gathering():
        report.lines += verify.described(_dataset(root, recipe.profile, classes, listings))
        report.add("no picture is in two splits")
    kind = "common" if names == LABELS else "scientific"
    report.add(f"{kind} names of the classes, from {names}")
    where = {split: set(some.table["location"].to_list()) for split, some in listings.items()}
    faults = Faults()
    for split in ("val", "test"):
        for place in sorted(where["train"] & where[split]):
            faults.add(
                f"{root / METADATA}: location {place} is in train and in {split}, which should "
                "have new locations only"
            )
    report.add("val and test are of locations that are not in train", faults)
    return verify.finished(report, root, listings, recipe, SOURCES, decode, downloads)


def fetch(root: Path) -> None:
    """Download and unpack to `root`/iwildcam_v2.0 by the package wilds, which is optional.

    UsageError without it; DataError when the transfer fails.
    """
    by_hand = (
        f"or, by hand: download {SOURCES[0].url} ({SOURCES[0].size}) and unpack it so that "
        f"{Path(root) / FOLDER / METADATA} is there"
    )
    try:
        from wilds import get_dataset  # type: ignore[import-not-found]
    except ImportError:
        raise UsageError(
            f"{NAME} is fetched by the package wilds: `pip install wilds`; {by_hand}"
        ) from None
    try:
        get_dataset(dataset="iwildcam", version="2.0", download=True, root_dir=str(root))
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(f"cannot fetch {NAME} ({brief(error)}); again, {by_hand}") from error


def write_built_in(root: Path, profile: str) -> Path:
    """The built-in world's version, in the official format below `root`; smoke has a part of it."""
    from harness.mini.wildcam import write_iwildcam

    return write_iwildcam(root, share=longtail.SHARES[profile])
