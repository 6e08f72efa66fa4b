"""Entries of a data set's files, checked and brought into an order of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from harness.datasets.base import Dataset, Split, index_hash
from harness.datasets.file_digests import check_lists
from harness.datasets.offences import SHOWN, Faults
from harness.datasets.pictures import Files, listed, reading

COLUMNS = {
    "place": pl.Int64,  # of the entry in its file
    "id": pl.Int64,
    "label": pl.Int64,
    "path": pl.Utf8,  # below the root
    "location": pl.Int64,  # null where there is none
}
OUTSIDE = r"^/|/$|//|(^|/)\.\.?(/|$)|[\\\x00]|^$"  # what is not plainly a path below the root
HIDDEN = r"(^|/)(\.[^/]|(Thumbs\.db|desktop\.ini)($|/))"  # written by systems and editors


@dataclass(frozen=True)
class Where:
    """How an error names an entry by its place."""

    file: Path
    form: str = "line {}"

    def __call__(self, place: int) -> str:
        return f"{self.file}, {self.form.format(place)}"


@dataclass(frozen=True)
class Listing:
    """The entries of a split, sorted by path: columns COLUMNS; what is wrong with them.

    Entries whose path is at fault are left out of the table.
    """

    table: pl.DataFrame
    where: Where
    faults: Faults = field(default_factory=Faults)

    @property
    def paths(self) -> list[str]:
        return self.table["path"].to_list()


def listing(
    entries: Mapping[str, Sequence[Any] | pl.Series],
    where: Where,
    classes: int,
    faults: Faults | None = None,
) -> Listing:
    """Check entries, given by columns: place, id, label, path, perhaps location.

    At fault is an entry with a number out of range (label: below `classes`), a path that leaves the
    root, is spelt otherwise than with names and single slashes or is that of a hidden file, or a
    path or an id that was there before. `dataset` refuses them. faults: those of the file so far.
    """
    table = pl.DataFrame({name: entries.get(name) for name in COLUMNS}, schema=COLUMNS)
    faults = faults or Faults()
    _in_range(table, "label", classes - 1, f" ({classes} classes)", where, faults)
    _in_range(table, "location", 2**31 - 1, "", where, faults)
    _in_range(table, "id", 2**63 - 1, "", where, faults)
    outside = pl.col("path").str.contains(OUTSIDE)
    hidden = pl.col("path").str.contains(HIDDEN) & ~outside
    allowed = "expected one below the data set's root, without '..'"
    for wrong, fault in ((outside, allowed), (hidden, "expected no hidden file")):
        _add(faults, table.filter(wrong), where, f"path {{path!r}}, {fault}")
    for name in ("path", "id"):
        _once(table, name, where, faults)
    sound = table.filter(~outside & ~hidden & pl.col("path").is_first_distinct())
    return Listing(sound.sort("path"), where, faults)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, by name, without hidden files and folders; nothing where there is none.

    Hidden are names that begin with a dot, and what Windows leaves behind (Thumbs.db).
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in entries if not re.search(HIDDEN, path.name)]


def dataset(
    name: str, root: Path, classes: list[str], train: Listing, splits: Mapping[str, Listing]
) -> Dataset:
    """The data set that these entries describe, its pictures read from below the root.

    Offences (a DataError) of all entries at fault, and of classes without training images.
    """
    known = listed(root)
    with_pictures = (train, *splits.values())
    check_lists(root, known, {path for some in with_pictures for path in some.paths})
    of_class = dict(train.table["label"].value_counts().rows())
    faults = Faults()
    for some in with_pictures:
        faults.merge(some.faults)
    for label in range(len(classes)):
        if label not in of_class:
            faults.add(
                f"{train.where.file}: no training image of class {label}, expected some of all "
                f"{len(classes)}"
            )
    faults.refuse()
    table = _stored(train).select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("image"),
        "id",
        "label",
        pl.len().over("label").cast(pl.Int32).alias("count"),
        "path",
        "location",
    )
    tested = {
        split: Split(_stored(some), Files(root, some.paths, listing=known))
        for split, some in splits.items()
    }
    counts = tuple(of_class[label] for label in range(len(classes)))
    images = Files(root, train.paths, listing=known)
    return Dataset(name, None, classes, counts, table, images, tested, index_hash(table, reading()))


def _stored(some: Listing) -> pl.DataFrame:
    """id, label, path, location."""
    return some.table.drop("place").with_columns(pl.col("label", "location").cast(pl.Int32))


def _in_range(
    table: pl.DataFrame, name: str, most: int, note: str, where: Where, faults: Faults
) -> None:
    wrong = table.filter(~pl.col(name).is_between(0, most))
    _add(faults, wrong, where, f"{name} {{{name}}}, expected 0 to {most}{note}")


def _once(table: pl.DataFrame, name: str, where: Where, faults: Faults) -> None:
    again = table.filter(~pl.col(name).is_first_distinct())
    if again.height:
        first = table.group_by(name).agg(pl.col("place").min().alias("first"))
        again = again.join(first, on=name).with_columns(
            pl.col("first").map_elements(where, return_dtype=pl.Utf8)
        )
        fault = f"{name} {{{name}!r}} is that of {{first}} too, expected each once"
        _add(faults, again, where, fault)


def _add(faults: Faults, wrong: pl.DataFrame, where: Where, form: str) -> None:
    """An offence for each of these entries, in the order of their file."""
    shown = wrong.sort("place").head(SHOWN).rows(named=True)
    faults.extend((f"{where(row['place'])}: {form.format(**row)}" for row in shown), wrong.height)
