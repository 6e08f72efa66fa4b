"""iNaturalist 2018: 8,142 species, long-tailed as people photograph them (Van Horn et al. 2018).

Files, below the root: train2018.json and val2018.json (as COCO's: images, annotations, categories),
categories.json (real names; those in the other two are obfuscated), and the pictures they name
(train_val2018/<supercategory>/<category id>/*.jpg). The validation set, 3 images per class, is what
is tested on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import Mixture, Recipe, Schedule
from harness.datasets import coco, longtail, recipes, rows, unpacking, verify
from harness.datasets.base import Dataset, Source
from harness.datasets.offences import Faults, Report, of_all

NAME = "inaturalist2018"
LISTS = {"train": "train2018.json", "test": "val2018.json"}
NAMES = "categories.json"
PICTURES = "train_val2018"
TEST = "test"
VAL: str | None = None
HARD_BY: str | None = None  # hard is what a tail class holds

OFFICIAL = {"classes": 8142, "train": 437_513, "test": 24_426}
# Of the built-in world (harness.mini.inaturalist).
_BUILT_IN = {
    "train": 2831,
    "classes": 82,
    "hard": {"<20": 364, "<=20": 384},
    "hard_classes": {"<20": 41, "<=20": 42},
    "splits": {"test": 6150},
    "drawn_files": 2831 + 6150,
}
FACTS: dict[str, Any] = {  # see harness.planning.dataset_sizes
    "files": (*LISTS.values(), NAMES, PICTURES),
    "paper": {
        "train": OFFICIAL["train"],
        "classes": OFFICIAL["classes"],
        "hard": {"<20": 44_956},  # paper, Table 5; unverified: not recounted from the lists
        "hard_classes": {"<20": 3224},  # the usual groups: 842 many, 4,076 medium, 3,224 few
        "splits": {"test": OFFICIAL["test"]},
    },
    "mini": _BUILT_IN,
    "smoke": _BUILT_IN,
}

MEAN = (0.466, 0.471, 0.380)  # CUDA's and the other long-tail codes'
STD = (0.195, 0.194, 0.192)

_URL = "https://ml-inat-competition-datasets.s3.amazonaws.com/2018/"
_TERMS = "iNaturalist's terms of use: research and education, no redistribution of the images"
SOURCES = tuple(
    Source(file, _URL + file, size, digest, _TERMS)
    for file, size, digest in (
        ("train2018.json.tar.gz", "26 MB", "md5:bfa29d89d629cbf04d826a720c0a68b0"),
        ("val2018.json.tar.gz", "26 MB", "md5:f2ed8bfe3e9901cdefceb4e53cd3775d"),
        ("categories.json.tar.gz", "under 1 MB", None),
        ("train_val2018.tar.gz", "120 GB", "md5:b1c6952ce38f31868cc50ea72d066cc3"),
    )
)

# ---------------------------------------------------------------- recipes

PAPER = replace(  # the paper: "same settings" as on ImageNet-LT; what differs is named
    recipes.PAPER,
    backbone="resnet10",  # paper, Table 3; 9,082,638 parameters with 8,142 classes
    scratch=Schedule(  # CE of CUDA's large-scale code
        optimiser="sgd",
        lr=0.1,  # CUDA
        momentum=0.9,  # CUDA
        weight_decay=2e-4,  # CUDA
        batch=512,  # CUDA
        epochs=100,  # CUDA
        warmup=5,  # CUDA: lr * E / 5 for the first five
        milestones=(60, 80),  # CUDA: 1-based epoch > 60 and > 80
        gamma=0.1,  # CUDA
    ),
    mixture=Mixture(
        keep=0.3,  # as on ImageNet-LT
        tail_fraction=None,  # its share of tail classes; 0.136 would not hold the real tail images
    ),
    pool_seeds=(10, 20, 30, 40),  # paper, Table 5: 4 seeds; the first of the released code's
    augment="inaturalist",  # CUDA: random resized crop and flip
)

MINI, SMOKE = recipes.MINI, recipes.SMOKE

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
BACKBONES = recipes.BACKBONES

# ---------------------------------------------------------------- reading


def load(root: Path, imbalance: int | None, recipe: Recipe) -> Dataset:
    """Training and validation images as the files have them; `id` is the official image id.

    DataError names the file and the entry of what is wrong; UsageError for an imbalance: the data
    set comes long-tailed.
    """
    if imbalance is not None:
        raise UsageError(f"{NAME} comes long-tailed: it has no imbalance {imbalance}")
    return _load(Path(root), recipe.profile)[0]


def _load(root: Path, profile: str) -> tuple[Dataset, dict[str, rows.Listing]]:
    classes, listings = _lists(root)
    return _dataset(root, profile, classes, listings), listings


def _lists(root: Path) -> tuple[list[str], dict[str, rows.Listing]]:
    classes = coco.class_names(root / NAMES)
    of = {split: partial(coco.listing, root / file, len(classes)) for split, file in LISTS.items()}
    return classes, of_all(of)


def _dataset(
    root: Path, profile: str, classes: list[str], listings: Mapping[str, rows.Listing]
) -> Dataset:
    data = rows.dataset(NAME, root, classes, listings["train"], {"test": listings["test"]})
    if profile == "paper":
        verify.sizes(NAME, data, OFFICIAL)
    return data


# ---------------------------------------------------------------- what the stages ask

hard = longtail.hard
prompt = longtail.prompt
captions = longtail.captions
score_prompt = longtail.score_prompt
metrics = longtail.metrics
headline = longtail.headline
metric = longtail.metric


def check(root: Path, recipe: Recipe, decode: bool = False, downloads: bool = True) -> list[str]:
    """What was verified, a line each; Offences (a DataError) of all that is wrong.

    Profile paper: also the official sizes. decode: decode every picture, not only look for it.
    downloads: also compare the archives that are there.
    """
    root, report = Path(root), Report()
    classes, listings = _lists(root)
    with report.faults.gathering():
        report.lines += verify.described(_dataset(root, recipe.profile, classes, listings))
    faults = Faults()
    for some in listings.values():
        _check_folders(some, faults)
    report.add("every picture lies in the folder of its category", faults)
    verify.apart(report, listings, "train", "test")
    return verify.finished(report, root, listings, recipe, SOURCES, decode, downloads)


def _check_folders(some: rows.Listing, faults: Faults) -> None:
    """At fault is a path whose last folder is not the category id."""
    folder = pl.col("path").str.extract(r"([^/]*)/[^/]*$")
    wrong = some.table.filter(folder.ne_missing(pl.col("label").cast(pl.Utf8))).sort("place")
    lines = (
        f"{some.where(row['place'])}: {row['path']} is not in the folder of its category, "
        f"{row['label']}"
        for row in wrong.iter_rows(named=True)
    )
    faults.extend(lines, wrong.height)


def fetch(root: Path, sources: Sequence[Source] = SOURCES) -> None:
    """Download and unpack what is not there in full: 120 GB, as much again unpacked.

    torchvision does the transfer and compares checksums. DataError when it fails; what was
    downloaded and unpacked stays, and the next call goes on from there. Archives may be deleted
    once all is unpacked: their markers (see harness.datasets.unpacking) say so.
    """
    from torchvision.datasets.utils import download_url

    root = Path(root)
    for source in sources:
        if unpacking.done(root, source.file):
            continue
        md5 = None if source.digest is None else source.digest.removeprefix("md5:")
        try:
            download_url(source.url, str(root), source.file, md5)
        except (OSError, RuntimeError, EOFError) as error:
            raise DataError(f"cannot fetch {source.url} ({brief(error)}); run it again") from error
        unpacking.unpack(root, source.file)


def write_built_in(root: Path, profile: str) -> Path:
    """The built-in world's version, in the official format below `root`; smoke has a part of it."""
    from harness.mini.inaturalist import write_inaturalist

    return write_inaturalist(root, share=longtail.SHARES[profile])
