"""The built-in ImageNet-LT: sixty concepts of the built-in world in ImageNet's files.

<root>/train/<id>/<id>_<number>.JPEG and val/<id>/ILSVRC2012_val_<number>.JPEG, with the lists of
Liu et al. 2019 (OLTR) beside them, ImageNet_LT_{train,val,test}.txt, lines "path label": `val` is
taken from the train tree, `test` is the val tree. LOC_synset_mapping.txt holds the names, lines
"id name, other name" in the order of the labels, as in ImageNet's archive at Kaggle.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from harness.mini import scene, writing
from harness.mini.taxonomy import SPECIES

# Ids look like WordNet's and are none of it: its highest is n15102894.
FIRST_ID = 90_000_001
CLASSES = (
    "airplane apple banana bat bear bed bee bicycle bison bottle bowl bridge bus butterfly cactus "
    "can castle cat chair clock couch crab cup dog dolphin duck eagle elephant flamingo frog "
    "giraffe guitar hedgehog house kangaroo keyboard koala lamp lizard lobster motorcycle mushroom "
    "orange owl panda parrot peacock penguin pickup_truck rocket shark sheep snail streetcar "
    "sunflower telephone television tractor train zebra"
).split()
LARGEST, SMALLEST = 210, 5  # training pictures of a class; officially 1,280 and 5
POWER = 6  # of the Pareto distribution that class sizes follow, there as here
VAL_PER_CLASS = 5  # the official ones are 20 and 50
TEST_PER_CLASS = 100
LOOK = scene.FIELD
PLACES = tuple(scene.SCENES)


def write_imagenet_lt(root: Path, *, share: float = 1.0, workers: int | None = None) -> Path:
    """Write the files below `root`; files that are all there are left alone. Returns `root`.

    Pictures of 64 px. share: of the pictures, at least one per class and list, for tests. Raises
    DataError when it cannot be written.
    """
    pictures: dict[str, tuple[str, int, int]] = {}
    lists = {"LOC_synset_mapping.txt": _mapping()}
    for split, counts in (
        ("train", class_counts()),
        ("val", (VAL_PER_CLASS,) * len(CLASSES)),
        ("test", (TEST_PER_CLASS,) * len(CLASSES)),
    ):
        lines = []
        for label, count in enumerate(counts):
            for n in range(writing.shrunk(count, share)):
                path = _path(split, label, n)
                pictures[path] = (split, label, n)
                lines.append(f"{path} {label}\n")
        lists[f"ImageNet_LT_{split}.txt"] = "".join(lines).encode()
    writing.write(Path(root), pictures, picture, lists, workers)
    return Path(root)


def picture(split: str, label: int, number: int) -> np.ndarray:
    """Picture `number` of a class in a list, uint8 (64, 64, 3)."""
    row = scene.atlas().names.index(CLASSES[label].replace("_", " "))
    return writing.photo(
        row, LOOK, PLACES, writing.rng_of("imagenet-lt", split, CLASSES[label], number)
    )


def class_counts() -> tuple[int, ...]:
    """Training pictures by label: a Pareto tail from LARGEST to SMALLEST, in no order of labels."""
    last = len(CLASSES) - 1
    steep = (LARGEST / SMALLEST) ** (1 / POWER) - 1
    sizes = [round(LARGEST * (1 + steep * i / last) ** -POWER) for i in range(len(CLASSES))]
    order = writing.rng_of("imagenet-lt", "sizes").permutation(len(CLASSES))
    return tuple(sizes[i] for i in order)


def _path(split: str, label: int, number: int) -> str:
    """Where a picture lies. Numbers are drawn as if from the whole ImageNet, without order."""
    name = _id(label)
    if split == "test":
        order = _numbers("val", len(CLASSES) * TEST_PER_CLASS)
        return f"val/{name}/ILSVRC2012_val_{order[label * TEST_PER_CLASS + number]:08d}.JPEG"
    first = LARGEST if split == "val" else 0
    return f"train/{name}/{name}_{_numbers(name, LARGEST + VAL_PER_CLASS)[first + number]}.JPEG"


@cache
def _numbers(name: str, count: int) -> tuple[int, ...]:
    order = writing.rng_of("imagenet-lt", "numbers", name).permutation(count)
    return tuple(int(n) + 1 for n in order)


def _id(label: int) -> str:
    return f"n{FIRST_ID + 1009 * label:08d}"


def _mapping() -> bytes:
    lines = []
    for label, name in enumerate(CLASSES):
        spoken = name.replace("_", " ")
        others = f", {SPECIES[spoken].name}" if spoken in SPECIES else ""
        lines.append(f"{_id(label)} {spoken}{others}\n")
    return "".join(lines).encode()
