"""Are the pictures there, of one size where a view needs it, whole, and each in one class?"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from harness.core.errors import DataError
from harness.core.progress import ProgressBar
from harness.core.specs import Recipe
from harness.datasets import pictures
from harness.datasets.offences import SHOWN, Faults, Report
from harness.datasets.rows import HIDDEN, Listing

T = TypeVar("T")

SIZED_VIEWS = ("crop-flip", "none")  # which need pictures of the network's size


@dataclass(frozen=True)
class Entry:
    """A picture of a list: its split, how an error names it, its path and its label."""

    split: str
    where: str
    path: str
    label: int


def entries(listings: Mapping[str, Listing]) -> Iterator[Entry]:
    """The entries of all lists, in the order of their files."""
    for split, some in listings.items():
        for place, path, label in some.table.sort("place").select("place", "path", "label").rows():
            yield Entry(split, some.where(place), path, label)


# ---------------------------------------------------------------- files


def present(report: Report, root: Path, listings: Mapping[str, Listing]) -> None:
    """At fault are entries whose file is missing or empty; files in no list are told.

    A folder is listed at a time: looking for each file takes long on a network disk.
    """
    by_folder: dict[str, dict[str, list[tuple[int, Entry]]]] = {}
    number = -1
    for number, entry in enumerate(entries(listings)):
        folder, _, name = entry.path.rpartition("/")
        by_folder.setdefault(folder, {}).setdefault(name, []).append((number, entry))
    wrong: list[tuple[int, str]] = []
    unlisted: dict[str, list[str]] = {}
    faults, folders = Faults(), _with_parents(by_folder)
    for folder in sorted(folders):
        wanted, place = by_folder.get(folder, {}), root / folder
        there: dict[str, os.DirEntry[str]] = {}
        with faults.gathering():
            there = _scan(place)
        for name, several in wanted.items():
            if problem := _problem_of(place, name, there.get(name)):
                wrong += [(nth, f"{entry.where}: {problem}") for nth, entry in several]
        if folder:
            others = _unlisted(folder, there, {*wanted}, folders)
            unlisted.setdefault(folder.partition("/")[0], []).extend(others)
    faults.extend((line for _, line in sorted(wrong)), len(wrong))
    report.add(f"{number + 1} pictures are there", faults)
    for top, files in sorted(unlisted.items()):
        if files:
            example = f"for example {min(files)}"
            report.add(f"{len(files)} files below {top} are in no list, {example}")


def _with_parents(folders: Iterable[str]) -> set[str]:
    """The folders and those they lie in, the root apart unless pictures lie there."""
    every = set(folders)
    for folder in list(every):
        while folder := folder.rpartition("/")[0]:
            every.add(folder)
    return every


def _scan(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listed:
            return {entry.name: entry for entry in listed}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _problem_of(folder: Path, name: str, entry: os.DirEntry[str] | None) -> str | None:
    try:
        if entry is not None and entry.is_file() and entry.stat().st_size:
            return None
        path = folder / name
        if entry is None:
            return f"no such file {path}"
        if entry.is_dir():
            return f"{path} is a folder, expected a picture"
        if not entry.is_file():
            return f"no such file {path}, only a link to it"
        return f"{path} is empty, expected a picture"
    except OSError as error:
        return f"{folder / name}: cannot be read ({error.strerror or error})"


def _unlisted(
    folder: str, there: Mapping[str, os.DirEntry[str]], wanted: set[str], folders: set[str]
) -> list[str]:
    """Files of a folder, and of its folders without any listed file, that no list names."""
    files: list[str] = []
    for name, entry in there.items():
        path = f"{folder}/{name}"
        if name in wanted or re.search(HIDDEN, name):
            continue
        if not entry.is_dir():
            files.append(path)
        elif path not in folders:
            files += _below(Path(entry.path), path)
    return files


def _below(folder: Path, name: str) -> list[str]:
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not re.search(HIDDEN, f)]
        inner = Path(place).relative_to(folder).as_posix()
        prefix = name if inner == "." else f"{name}/{inner}"
        files += [f"{prefix}/{file}" for file in names if not re.search(HIDDEN, file)]
    return files


# ---------------------------------------------------------------- sizes


def one_size(report: Report, root: Path, listings: Mapping[str, Listing], recipe: Recipe) -> None:
    """At fault are pictures of another size than the recipe's views need, told by their headers.

    Nothing is read unless a view needs one size: training pictures have both views, others the one
    for testing.
    """
    tested = {recipe.test_view} & {*SIZED_VIEWS}
    trained = tested | ({recipe.augment} & {*SIZED_VIEWS})
    side = recipe.view_px
    faults = Faults()
    for split, some in listings.items():
        views = trained if split == "train" else tested
        if not views:
            continue
        known = {split: some}
        for entry, size in _each(known, lambda path: _size(path), root):
            if isinstance(size, str):
                faults.add(f"{entry.where}: {size}")
            elif size is not None and size != (side, side):
                faults.add(
                    f"{entry.where}: {root / entry.path} has {size[1]}x{size[0]} px; view "
                    f"{min(views)} needs {side}x{side}"
                )
    if trained and not faults.count:
        report.add(f"the pictures have {side}x{side} px, as view {min(trained)} needs")
    report.faults.merge(faults)


def _size(path: Path) -> tuple[int, int] | str | None:
    """Height and width; what is wrong; None for what is not there, which is told elsewhere."""
    try:
        return pictures.size(path) if path.is_file() and path.stat().st_size else None
    except DataError as error:
        return str(error)


# ---------------------------------------------------------------- contents


def content(report: Report, root: Path, listings: Mapping[str, Listing], official: bool) -> None:
    """Decode every picture, and compare their bytes.

    At fault are pictures that do not decode and, unless the data set is the official one, the same
    bytes in two classes of train; other repetitions are told.
    """
    faults, digests = Faults(), []
    total = sum(len(some.table) for some in listings.values())
    with ProgressBar(total=total, desc="decode", unit="picture") as bar:
        for entry, (digest, problem) in _each(listings, _examined, root):
            bar.update()
            if problem:
                shorter = problem.replace(f"{root}/", "", 1)  # `where` names the root
                faults.add(f"{entry.where}: {shorter}")
            else:
                digests.append((entry.split, entry.where, entry.path, entry.label, digest))
    report.add(f"{total} pictures decode", faults)
    columns = {"split": pl.Utf8, "where": pl.Utf8, "path": pl.Utf8, "label": pl.Int64}
    table = pl.DataFrame(digests, schema=columns | {"digest": pl.Utf8}, orient="row")
    repeated(report, table, official)


def _examined(path: Path) -> tuple[str, str | None]:
    try:
        return pictures.examined(path), None
    except DataError as error:
        return "", str(error)


def _each(
    listings: Mapping[str, Listing], function: Callable[[Path], T], root: Path
) -> Iterator[tuple[Entry, T]]:
    """function(path) of every entry, by several threads, in order."""
    every = list(entries(listings))
    values = pictures.each(function, [root / entry.path for entry in every])
    return zip(every, values, strict=True)


def repeated(report: Report, table: pl.DataFrame, official: bool) -> None:
    """Pictures with the same content: split, where, path, label, digest, in the order of files.

    official: two classes with the same picture are told, and no offence.
    """
    train = table.filter(pl.col("split") == "train")
    first = train.unique("digest", keep="first", maintain_order=True)
    again = train.join(first, on="digest", suffix="_first", maintain_order="left")
    again = again.filter(pl.col("where") != pl.col("where_first"))
    two = again.filter(pl.col("label") != pl.col("label_first"))
    same = again.filter(pl.col("label") == pl.col("label_first"))
    if official:
        _tell(report, two, "training pictures are in another class, too")
    else:
        shown = two.head(SHOWN).rows(named=True)
        lines = (
            "{where}: {path} (class {label}) has the content of {path_first} (class {label_first}; "
            "{first}), expected each picture in one class".format(
                **row, first=Path(row["where_first"]).name
            )
            for row in shown
        )
        report.faults.extend(lines, two.height)
    _tell(report, same, "training pictures are there before, in the same class")
    others = table.filter(pl.col("split") != "train")
    for split in others["split"].unique(maintain_order=True):
        part = others.filter(pl.col("split") == split)
        both = part.join(first, on="digest", suffix="_first", maintain_order="left")
        _tell(report, both, f"pictures of {split} are in train, too", "warning: ")


def _tell(report: Report, rows: pl.DataFrame, fault: str, mark: str = "") -> None:
    if rows.height:
        row: Sequence[str] = rows.select("path", "path_first").row(0)
        report.add(f"{mark}{rows.height} {fault}: {row[0]} has the content of {row[1]}")
