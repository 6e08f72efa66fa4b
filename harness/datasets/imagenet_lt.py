"""ImageNet-LT: a long-tailed subset of ImageNet's training images (Liu et al. 2019, OLTR).

Files, below the root: ImageNet_LT_{train,val,test}.txt, whose lines are `relative/path label`, and
the pictures they name (train/nXXXXXXXX/*.JPEG, val/nXXXXXXXX/*.JPEG). Class names are those of
classnames.txt, a name per line in the order of the labels, if it is there. ImageNet's 1,000 classes
have names all the same, those that CLIP's authors gave them; other ones are named by
LOC_synset_mapping.txt, which comes with ImageNet's archive at Kaggle.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.errors import DataError, Instructions, UsageError
from harness.core.specs import Mixture, Recipe
from harness.datasets import longtail, recipes, rows, texts, verify
from harness.datasets.base import Dataset, Source
from harness.datasets.offences import Faults, Report, of_all

NAME = "imagenet-lt"
LISTS = {split: f"ImageNet_LT_{split}.txt" for split in ("train", "val", "test")}
NAMES, SYNSETS = "classnames.txt", "LOC_synset_mapping.txt"
TEST, VAL = "test", "val"
HARD_BY: str | None = None  # hard is what a tail class holds

OFFICIAL = {"classes": 1000, "train": 115_846, "val": 20_000, "test": 50_000}
# Of the built-in world (harness.mini.imagenet).
_BUILT_IN = {
    "train": 2849,
    "classes": 60,
    "hard": {"<20": 266, "<=20": 286},
    "hard_classes": {"<20": 26, "<=20": 27},
    "splits": {"val": 300, "test": 6000},
    "drawn_files": 2849 + 300 + 6000,
}
# SHA-256 of the 1,000 class sizes in the order of the labels, joined by commas.
OFFICIAL_COUNTS = "93782c2e7eda453ae409fed503a27bc8d430ecb583c7d4b3c3adc93c2887236e"
FACTS: dict[str, Any] = {  # see harness.planning.dataset_sizes
    "files": (*LISTS.values(), "train", "val"),
    "paper": {
        "train": OFFICIAL["train"],
        "classes": OFFICIAL["classes"],
        "hard": {"<20": 1643, "<=20": 1843},  # of the official class sizes; the paper: 1,643
        "hard_classes": {"<20": 136, "<=20": 146},
        "splits": {split: OFFICIAL[split] for split in ("val", "test")},
    },
    "mini": _BUILT_IN,
    "smoke": _BUILT_IN,
}

MEAN, STD = longtail.MEAN, longtail.STD  # of ImageNet's pictures

_TERMS = "ImageNet's terms of access: research and education, an account is needed"
SOURCES = (
    Source(
        "ILSVRC2012_img_train.tar",
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        "138 GiB",
        "md5:1d675b47d978889d74fa0da5fadfb00e",
        _TERMS,
    ),
    Source(
        "ILSVRC2012_img_val.tar",
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        "6.3 GiB",
        "md5:29b22e2961454d5413ddabcf34fc5622",
        _TERMS,
    ),
    Source(
        "ILSVRC2012_devkit_t12.tar.gz",
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        "2.5 MB",
        "md5:fa75699e90414af021442c21a62c3abf",
        _TERMS,
    ),
    *(
        Source(
            name,
            "https://github.com/zhmiao/OpenLongTailRecognition-OLTR (README: Google Drive)",
            "up to 5 MB",
            None,
            "no licence is stated; lists of file names and labels",
        )
        for name in LISTS.values()
    ),
)

# ---------------------------------------------------------------- recipes

PAPER = replace(
    recipes.PAPER,
    mixture=Mixture(
        keep=0.3,  # released command (downsample ratio)
        tail_fraction=0.136,  # paper, section 5.4, and released code: the share of tail classes
    ),
)
MINI, SMOKE = recipes.MINI, recipes.SMOKE

RECIPES = {"mini": MINI, "smoke": SMOKE, "paper": PAPER}
BACKBONES = recipes.BACKBONES

# ---------------------------------------------------------------- reading


def load(root: Path, imbalance: int | None, recipe: Recipe) -> Dataset:
    """The three lists as they are; `id` is the number of a line, from 0.

    DataError names the file and the line of what is wrong; UsageError for an imbalance: the data
    set comes long-tailed.
    """
    if imbalance is not None:
        raise UsageError(f"{NAME} comes long-tailed: it has no imbalance {imbalance}")
    return _load(Path(root), recipe.profile)[0]


def _load(root: Path, profile: str) -> tuple[Dataset, dict[str, rows.Listing]]:
    classes, listings = _lists(root)
    return _dataset(root, profile, classes, listings), listings


def _lists(root: Path) -> tuple[list[str], dict[str, rows.Listing]]:
    classes, synsets = _class_names(root)
    listings = of_all(
        {split: partial(_listing, root / file, len(classes)) for split, file in LISTS.items()}
    )
    if synsets is not None:
        _check_order(listings["train"], synsets)
    return classes, listings


def _dataset(
    root: Path, profile: str, classes: list[str], listings: Mapping[str, rows.Listing]
) -> Dataset:
    tested = {split: some for split, some in listings.items() if split != "train"}
    data = rows.dataset(NAME, root, classes, listings["train"], tested)
    if profile == "paper":
        verify.sizes(NAME, data, OFFICIAL)
    return data


def _class_names(root: Path) -> tuple[list[str], list[str] | None]:
    """Names by label, and the synsets by label: [] for alphabetical order, None where unknown."""
    if (root / NAMES).exists():
        return _class_names_of(root / NAMES), None
    synsets, first_names = _mapping(root / SYNSETS) if (root / SYNSETS).exists() else ([], [])
    if synsets and len(synsets) != OFFICIAL["classes"]:
        return first_names, synsets
    from open_clip import IMAGENET_CLASSNAMES  # which, unlike the first names, tell cranes apart

    return list(IMAGENET_CLASSNAMES), synsets


def _class_names_of(path: Path) -> list[str]:
    """A name per line; it may begin with the synset (n01440764 tench), which is left out."""
    lines = texts.lines(path, "a class name per line")
    names = [_spoken(re.sub(r"^n\d{8}\s+", "", line)) for line in lines]
    for number, name in enumerate(names, 1):
        if not any(c.isalnum() for c in name):
            raise DataError(f"{path}, line {number}: {lines[number - 1]!r} is no class name")
    return names


def _mapping(path: Path) -> tuple[list[str], list[str]]:
    """Synsets and first names, in the order of the labels, of lines `n01440764 tench, Tinca`."""
    synsets, names = [], []
    for number, line in enumerate(texts.lines(path, "lines 'synset name, other names'"), 1):
        match = re.fullmatch(r"(n\d{8})\s+([^,]*[^\W_][^,]*)(,.*)?", line)
        if match is None:
            raise DataError(f"{path}, line {number}: {line!r}, expected 'n01440764 tench, Tinca'")
        synsets.append(match[1])
        names.append(_spoken(match[2]))
    return synsets, names


def _spoken(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _listing(path: Path, classes: int) -> rows.Listing:
    faults = Faults()
    entries: dict[str, list[Any]] = {"place": [], "path": [], "label": []}
    for number, line in enumerate(texts.lines(path, "lines 'relative/path label'"), 1):
        where, fields = f"{path}, line {number}", line.split()
        if len(fields) != 2:
            fault = f"{len(fields)} fields in {line!r}"
            faults.add(f"{where}: {fault}, expected 'relative/path label'")
            continue
        with faults.gathering():
            entries["label"].append(texts.whole(fields[1], where, "label"))
            entries["path"].append(fields[0])
            entries["place"].append(number)
    entries["id"] = [number - 1 for number in entries["place"]]
    return rows.listing(entries, rows.Where(path), classes, faults)


def _check_order(train: rows.Listing, synsets: list[str]) -> None:
    """At fault are training images of label i that lie elsewhere than in the i-th synset's folder.

    Without synsets, the folders' alphabetical order is the labels'.
    """
    folder = pl.col("path").str.extract(r"([^/]*)/[^/]*$").fill_null("").alias("folder")
    pairs = train.table.sort("place").select("label", folder, "place")
    pairs = pairs.unique(["label", "folder"], keep="first", maintain_order=True)
    in_order = dict(enumerate(synsets or sorted(pairs["folder"].unique())))
    for label, name, place in pairs.rows():
        if in_order.get(label) != name:
            train.faults.add(
                f"{train.where(place)}: label {label} for {name}, expected {in_order.get(label)}; "
                f"labels of another order need names of their own, in {NAMES}"
            )


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

    Profile paper: also the official sizes and the checksum of the class sizes. decode: decode
    every picture, not only look for it. downloads: also compare the archives that are there.
    """
    root, report = Path(root), Report()
    classes, listings = _lists(root)
    with report.faults.gathering():
        data = _dataset(root, recipe.profile, classes, listings)
        report.lines += verify.described(data)
        if recipe.profile == "paper":
            _check_counts(report, root, data)
    verify.apart(report, listings, "train", "test")
    verify.apart(report, listings, "train", "val")
    return verify.finished(report, root, listings, recipe, SOURCES, decode, downloads)


def _check_counts(report: Report, root: Path, data: Dataset) -> None:
    digest = hashlib.sha256(",".join(map(str, data.counts)).encode()).hexdigest()
    if digest != OFFICIAL_COUNTS:
        raise DataError(
            f"{root / LISTS['train']}: the class sizes have SHA-256 {digest}, expected the "
            f"official {OFFICIAL_COUNTS}"
        )
    report.add("the class sizes are the official ones")


def fetch(root: Path) -> None:
    """Instructions what to do: ImageNet is given to account holders only."""
    raise Instructions(
        f"""{NAME} cannot be fetched: ImageNet needs an account. By hand:
1. Sign up at https://image-net.org and ask for access; from the page of ILSVRC 2012
   ({SOURCES[0].url}) download
   {", ".join(source.file for source in SOURCES[:3])} ({SOURCES[0].size} and
   {SOURCES[1].size} in all) to {root}
2. Unpack them there, which makes train/n*/*.JPEG and val/n*/*.JPEG:
   python -c "from torchvision.datasets import ImageNet; [ImageNet('{root}', s) for s in ('train',
   'val')]"
3. Download {", ".join(LISTS.values())} from
   {SOURCES[3].url} to {root}
4. harness data check --dataset {NAME} --profile paper --root {root}"""
    )


def write_built_in(root: Path, profile: str) -> Path:
    """The built-in world's version, in the official format below `root`; smoke has a part of it."""
    from harness.mini.imagenet import write_imagenet_lt

    return write_imagenet_lt(root, share=longtail.SHARES[profile])
