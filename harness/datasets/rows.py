"""Entries of a data set's files, checked and brought into an order of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.errors import DataError
from harness.datasets.base import Dataset, Split, index_hash
from harness.datasets.pictures import Files, reading

COLUMNS = {
    "place": pl.Int64,  # of the entry in its file
    "id": pl.Int64,
    "label": pl.Int64,
    "path": pl.Utf8,  # below the root
    "location": pl.Int64,  # null where there is none
}
OUTSIDE = r"^/|/$|//|(^|/)\.\.?(/|$)|[\\\x00]|^$"  # what is not plainly a path below the root


@dataclass(frozen=True)
class Where:
    """How an error names an entry by its place."""

    file: Path
    form: str = "line {}"

    def __call__(self, place: int) -> str:
        return f"{self.file}, {self.form.format(place)}"


@dataclass(frozen=True)
class Listing:
    """The entries of a split, checked and sorted by path: columns COLUMNS."""

    table: pl.DataFrame
    where: Where

    @property
    def paths(self) -> list[str]:
        return self.table["path"].to_list()


def listing(
    entries: Mapping[str, Sequence[Any] | pl.Series], where: Where, classes: int
) -> Listing:
    """Check entries, given by columns: place, id, label, path, perhaps location.

    Raises DataError at the first entry with a number out of range (label: below `classes`), a path
    that leaves the root or is spelt otherwise than with names and single slashes, or a path or an
    id that was there before.
    """
    table = pl.DataFrame({name: entries.get(name) for name in COLUMNS}, schema=COLUMNS)
    _in_range(table, "label", classes - 1, f" ({classes} classes)", where)
    _in_range(table, "location", 2**31 - 1, "", where)
    _in_range(table, "id", 2**63 - 1, "", where)
    outside = table.filter(pl.col("path").str.contains(OUTSIDE))
    if (wrong := _first(outside)) is not None:
        allowed = "expected one below the data set's root, without '..'"
        raise DataError(f"{where(wrong['place'])}: path {wrong['path']!r}, {allowed}")
    for name in ("path", "id"):
        _once(table, name, where)
    return Listing(table.sort("path"), where)


def dataset(
    name: str, root: Path, classes: list[str], train: Listing, splits: Mapping[str, Listing]
) -> Dataset:
    """The data set that these entries describe, its pictures read from below the root.

    DataError for a class without training images.
    """
    table = _stored(train).select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("image"),
        "id",
        "label",
        pl.len().over("label").cast(pl.Int32).alias("count"),
        "path",
        "location",
    )
    of_class = dict(train.table["label"].value_counts().rows())
    missing = [label for label in range(len(classes)) if label not in of_class]
    if missing:
        more = f" (one of {len(missing)} such classes)" if len(missing) > 1 else ""
        raise DataError(
            f"{train.where.file}: no training image of class {missing[0]}{more}, expected some of "
            f"all {len(classes)}"
        )
    tested = {
        split: Split(_stored(some), Files(root, some.paths)) for split, some in splits.items()
    }
    counts = tuple(of_class[label] for label in range(len(classes)))
    images = Files(root, train.paths)
    return Dataset(name, None, classes, counts, table, images, tested, index_hash(table, reading()))


def _stored(some: Listing) -> pl.DataFrame:
    """id, label, path, location."""
    return some.table.drop("place").with_columns(pl.col("label", "location").cast(pl.Int32))


def _in_range(table: pl.DataFrame, name: str, most: int, note: str, where: Where) -> None:
    if (wrong := _first(table.filter(~pl.col(name).is_between(0, most)))) is not None:
        fault = f"{where(wrong['place'])}: {name} {wrong[name]}"
        raise DataError(f"{fault}, expected 0 to {most}{note}")


def _once(table: pl.DataFrame, name: str, where: Where) -> None:
    if (wrong := _first(table.filter(~pl.col(name).is_first_distinct()))) is not None:
        first = _first(table.filter(pl.col(name) == wrong[name]))
        before = "" if first is None else where(first["place"])
        fault = f"{name} {wrong[name]!r} is that of {before} too"
        raise DataError(f"{where(wrong['place'])}: {fault}, expected each once")


def _first(wrong: pl.DataFrame) -> dict[str, Any] | None:
    """The entry that comes first in the file, if there is any."""
    return wrong.sort("place").row(0, named=True) if wrong.height else None
