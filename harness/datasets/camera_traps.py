"""The files of iWildCam-WILDS 2.0.

Below the root or its folder iwildcam_v2.0: metadata.csv, categories.csv, train/*.jpg (the pictures
of all splits), and labels.csv with English names if there is one (it comes with the code of FLYP
and WiSE-FT, not with the data); without it, a species is called by its scientific name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.errors import DataError
from harness.datasets import rows, texts
from harness.datasets.offences import Faults, of_all

FOLDER = "iwildcam_v2.0"  # where WILDS unpacks to
METADATA, CATEGORIES, LABELS = "metadata.csv", "categories.csv", "labels.csv"
SPLITS = ("train", "id_val", "id_test", "val", "test")
ABSENT = 99_999  # label of categories that are not in the benchmark


def folder(root: Path) -> Path:
    """Where metadata.csv is: in the root or in its folder."""
    return root if (root / METADATA).exists() or not (root / FOLDER).is_dir() else root / FOLDER


def class_names(root: Path) -> tuple[list[str], str]:
    """Names by label, in lower case, and the file they are from.

    DataError for tables that are damaged, miss a label, or disagree on a label's category.
    """
    official = _names(root / CATEGORIES, "name")
    if not (root / LABELS).exists():
        return [name for _, name in official], CATEGORIES
    common = _names(root / LABELS, "english")
    for label, ((category, _), (other, _)) in enumerate(zip(official, common, strict=False)):
        if category != other:
            raise DataError(
                f"{root / LABELS}: label {label} is category {other}, and in {CATEGORIES} "
                f"category {category}"
            )
    if len(common) != len(official):
        raise DataError(
            f"{root / LABELS}: {len(common)} labels, expected {len(official)} as in {CATEGORIES}"
        )
    return [name for _, name in common], LABELS


def _names(path: Path, column: str) -> list[tuple[int, str]]:
    """Category id and name by label; categories that are not in the benchmark are left out."""
    table = texts.Table(path, ("y", "category_id", column), "the categories of the labels")
    labels, categories = table.numbers("y"), table.numbers("category_id")
    by_label: dict[int, tuple[int, str]] = {}
    for row, name in enumerate(table.column(column)):
        if labels[row] == ABSENT:
            continue
        if labels[row] in by_label:
            raise DataError(f"{table.where(row)}: label {labels[row]} again, expected each once")
        spoken = " ".join(name.replace("_", " ").split()).lower()
        if not any(c.isalnum() for c in spoken):
            raise DataError(f"{table.where(row)}: {name!r} is no class name")
        by_label[labels[row]] = (categories[row], spoken)
    missing = next((label for label in range(len(by_label)) if label not in by_label), None)
    if missing is not None or not by_label:
        raise DataError(f"{path}: no label {missing or 0}, expected 0, 1, 2, ... without a gap")
    return [by_label[label] for label in range(len(by_label))]


def listings(root: Path, classes: int) -> dict[str, rows.Listing]:
    """The pictures of each split; `id` is the number of a row, from 0.

    At fault are a split that is unknown or has no pictures, and a picture in two of them; all
    faults are those of train.
    """
    path = root / METADATA
    columns = ("split", "location_remapped", "y", "filename")
    table = texts.Table(path, columns, "the pictures with splits and labels")
    splits = table.column("split")
    faults = Faults()
    for row, split in enumerate(splits):
        if split not in SPLITS:
            faults.add(f"{table.where(row)}: split {split!r}; there are {', '.join(SPLITS)}")
    names = {"label": "y", "location": "location_remapped"}
    entries: dict[str, list[Any]] = {
        "place": table.lines,
        "id": list(range(len(splits))),
        "path": [f"train/{name}" for name in table.column("filename")],
        **of_all({field: partial(table.numbers, name) for field, name in names.items()}),
    }
    everything = rows.listing(entries, rows.Where(path), classes, faults)
    of_place = pl.DataFrame({"place": table.lines, "split": splits})
    marked = everything.table.join(of_place, on="place", maintain_order="left")
    by_split = {}
    for split in SPLITS:
        part = marked.filter(pl.col("split") == split).drop("split")
        if not part.height:
            faults.add(f"{path}: no picture of split {split}, expected some of all five")
        by_split[split] = rows.Listing(part, everything.where)
    by_split["train"] = replace(by_split["train"], faults=faults)
    return by_split
