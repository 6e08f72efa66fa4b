"""iWildCam-WILDS 2.0: camera traps, tested where they stood in training and elsewhere (Koh 2021).

Its files: see harness.datasets.camera_traps. Splits have their official names: id_val and id_test
are of the training locations, val and test are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import Recipe, Schedule
from harness.datasets import camera_traps, longtail, prompts, rows, verify
from harness.datasets.base import Dataset, Source
from harness.datasets.camera_traps import FOLDER, LABELS, METADATA

NAME = "iwildcam"
SCORED = {"ood": "test", "id": "id_test", "ood_val": "val", "id_val": "id_val"}
TEST, VAL = "test", "id_val"
EMPTY = 0  # label of pictures without an animal

OFFICIAL = {  # FLYP's code for the training images, WILDS for the others
    "classes": 182, "train": 129_809, "val": 14_961, "test": 42_791, "id_val": 7_314,
    "id_test": 8_154,
}  # fmt: skip

HARD_BY: str | None = "FLYP"  # whose p(true class) says what is hard; the paper names no classifier
HARD_IMAGES = 8_260  # paper, Table 5
HARD_SHARE = 8_260 / 129_809  # of the training images, where these are not the official ones
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

# ---------------------------------------------------------------- recipes

PAPER = Recipe(
    profile="paper",
    backbone="ViT-B-16",
    pretrained="ViT-B-16-quickgelu:openai",  # paper, Table 4
    width=1,  # not read: the model comes as it is
    scratch=Schedule(  # FLYP's code, which the paper keeps
        optimiser="adamw",  # paper, Table 9
        lr=1e-5,  # paper, Table 9
        weight_decay=0.2,  # FLYP
        batch=256,  # paper, Table 9
        epochs=20,  # paper, Table 9
        decay="cosine",  # paper, Table 9
        warmup_steps=500,  # paper, Table 9
    ),
    onward=None,  # every run starts from the pretrained model
    curriculum_epochs=15,  # paper, Table 9
    mixture=None,  # paper, Algorithm 2: a level's images and all that are not hard
    levels=(0.5, 0.7, 0.9),  # paper, Table 9
    pool_seeds=(10, 20, 30, 40, 42, 50, 60, 70),  # released code; paper: 8 seeds
    threshold=0.25,  # paper, Table 9
    generator="stabilityai/stable-diffusion-xl-refiner-1.0",  # paper, Table 9
    clip="ViT-B-32-quickgelu",  # paper, Table 9; OpenAI's weights were trained with QuickGELU
    steps=50,  # released code's default; the paper says 1000
    text_guidance=10.0,  # paper, Table 9
    size_px=480,  # paper: 480x270
    height_px=272,  # the next multiple of 8, which the generator needs; the paper's 270 became 264
    view_px=224,
    augment="image-text",  # FLYP: random resized crop of 90 to 100 %, bicubic, no flip
    test_view="image-text-centre",  # FLYP: 224 bicubic, centre
    probe_images=2000,  # paper, Table 9: |V|
    probe_train=30_000,  # paper, Table 9: |D|
)

MINI = Recipe(
    profile="mini",  # all values ours: minutes on two cores
    backbone="ViT-B-16",  # in its place, the built-in CLIP
    pretrained="mini",
    width=1,
    scratch=Schedule(
        optimiser="adamw",
        lr=1e-3,  # of 5e-4, 1e-3 and 2e-3, FLYP's best on id_val with one seed
        weight_decay=0.2,
        batch=32,
        epochs=5,
        decay="cosine",
        warmup_steps=20,
    ),
    onward=None,
    curriculum_epochs=4,  # one for each level and one at the real images
    mixture=None,
    levels=(0.5, 0.7, 0.9),
    pool_seeds=(10, 20, 30, 40),
    threshold=0.35,  # keeps about as much of the spectra as the paper's, 46 %
    generator="mini",
    clip="mini",
    steps=12,
    text_guidance=3.0,
    size_px=64,
    view_px=64,
    augment="image-text",
    test_view="image-text-centre",
    probe_images=40,
    probe_train=600,
)

SMOKE = replace(
    MINI,
    profile="smoke",
    scratch=replace(MINI.scratch, epochs=2, warmup_steps=5),
    curriculum_epochs=1,
    pool_seeds=(10,),
    run_seeds=(0,),
    probe_images=10,
    probe_train=100,
)

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
_LARGER = {
    "backbone": "ViT-L-14",  # in its place, the larger built-in CLIP
    "pretrained": "mini-large",
    "scratch": replace(MINI.scratch, epochs=4),
    "curriculum_epochs": 3,
}
BACKBONES: dict[str, dict[str, dict[str, Any]]] = {
    "mini": {"ViT-L-14": _LARGER},
    "smoke": {"ViT-L-14": _LARGER | {"scratch": SMOKE.scratch, "curriculum_epochs": 1}},
    "paper": {
        "ViT-L-14": {
            "backbone": "ViT-L-14",
            "pretrained": "ViT-L-14-quickgelu:openai",
            "scratch": replace(PAPER.scratch, batch=200),  # paper, Table 9
        }
    },
}

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
    tested = {split: some for split, some in listings.items() if split != "train"}
    data = rows.dataset(NAME, root, classes, listings["train"], tested)
    if profile == "paper":
        verify.sizes(NAME, data, OFFICIAL)
    return data, listings


# ---------------------------------------------------------------- what the stages ask


def hard(data: Dataset, recipe: Recipe, p_true: np.ndarray | None = None) -> pl.DataFrame:
    """The training images, `empty` ones aside, whose true class is least probable; ties by id.

    p_true: (N,) probability of the true class of each row of data.train, in [0, 1]. As many as the
    paper has (profile paper), or that share of the training images, rounded.
    """
    n = len(data.train)
    if p_true is None or p_true.shape != (n,):
        shape = None if p_true is None else p_true.shape
        raise UsageError(f"hard images of {NAME} need p(true class) of {n} images, not {shape}")
    if not ((p_true >= 0) & (p_true <= 1)).all():
        raise DataError("p(true class) of a training image is not in [0, 1]")
    wanted = HARD_IMAGES if recipe.profile == "paper" else round(HARD_SHARE * n)
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
    found = {}
    for name, split in SCORED.items():
        mine = longtail.tested(predictions, split)
        if mine["id"].n_unique() < mine.height or mine["id"].null_count():
            raise DataError(f"predictions of {split}: an id is missing or repeated")
        labels, guesses = (_classes(mine, c, len(counts)) for c in ("label", "prediction"))
        accuracy = float((labels == guesses).mean())
        found[name] = {"macro_f1": macro_f1(labels, guesses), "accuracy": accuracy}
    return found


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


def check(root: Path, profile: str, decode: bool = False) -> list[str]:
    """What was verified, a line each; DataError at the first offence, with file and line.

    Profile paper: also the official sizes. decode: decode every picture, not only look for it.
    """
    root = camera_traps.folder(Path(root))
    data, listings = _load(root, profile)
    said = [verify.described(data), "no picture is in two splits"]
    names = camera_traps.class_names(root)[1]
    kind = "common" if names == LABELS else "scientific"
    said.append(f"{kind} names of the classes, from {names}")
    where = {split: set(some.table["location"].to_list()) for split, some in listings.items()}
    for split in ("val", "test"):
        if shared := where["train"] & where[split]:
            raise DataError(
                f"{root / METADATA}: location {min(shared)} is in train and in {split}, which "
                "should have new locations only"
            )
    said.append("val and test are of locations that are not in train")
    said.append(verify.files(root, listings.values(), decode))
    return said + verify.archives(root, SOURCES)


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
