"""Parts of a data set's check: sizes, files, downloads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from tqdm import tqdm

from harness.core.errors import DataError
from harness.datasets import pictures
from harness.datasets.base import Dataset, Source
from harness.datasets.rows import Listing

AT_ONCE = 4096  # pictures handed to the threads at a time
SHOWN_GIB = 1  # a progress bar is shown for larger downloads


def sizes(name: str, data: Dataset, official: Mapping[str, int]) -> None:
    """DataError unless the data set has the official numbers: "classes", "train", and splits'."""
    numbers = {"classes": len(data.classes), "train": len(data.train)}
    numbers |= {split: len(some.table) for split, some in data.splits.items()}
    for part, expected in official.items():
        if numbers[part] != expected:
            unit = "classes" if part == "classes" else f"images in {part}"
            raise DataError(
                f"{name}: {numbers[part]} {unit}, but profile paper needs the official data set: "
                f"{expected}"
            )


def described(data: Dataset) -> str:
    """Its sizes in one line."""
    tested = ", ".join(f"{len(some.table)} {split}" for split, some in data.splits.items())
    smallest, largest = min(data.counts), max(data.counts)
    return (
        f"{len(data.classes)} classes of {smallest} to {largest} training images; "
        f"{len(data.train)} train, {tested}"
    )


def files(root: Path, listings: Iterable[Listing], decode: bool) -> str:
    """Look for every picture, and decode it if asked; DataError names the first entry without.

    One folder is listed at a time: a call per file takes long on a network disk.
    """
    total = 0
    for some in listings:
        _present(root, some)
        total += len(some.table)
        if decode:
            _decoded(root, some)
    return f"{total} pictures are there" + (" and decode" if decode else "")


def _present(root: Path, some: Listing) -> None:
    parts = some.table.with_columns(
        pl.col("path").str.extract(r"^(.*)/[^/]*$").fill_null("").alias("folder"),
        pl.col("path").str.extract(r"([^/]*)$").alias("name"),
    )
    missing = []
    for (folder,), group in parts.group_by("folder"):
        there = _names(root / str(folder))
        missing.append(group.filter(~pl.col("name").is_in(there)))
    gone = pl.concat(missing).sort("place") if missing else parts.clear()
    if gone.height:
        first = gone.row(0, named=True)
        raise DataError(
            f"{some.where(first['place'])}: no such file {root / first['path']} "
            f"({gone.height} of {len(some.table)} are missing)"
        )


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _decoded(root: Path, some: Listing) -> None:
    entries = some.table.sort("place").select("place", "path").rows()
    bar = tqdm(total=len(entries), desc=some.where.file.name, unit="picture", mininterval=1)
    with bar, ThreadPoolExecutor(pictures.threads()) as pool:
        for first in range(0, len(entries), AT_ONCE):
            part = entries[first : first + AT_ONCE]
            problems = pool.map(_problem, [root / path for _, path in part])
            for (place, _), problem in zip(part, problems, strict=True):
                if problem:
                    raise DataError(f"{some.where(place)}: {problem}")
            bar.update(len(part))


def _problem(path: Path) -> str | None:
    try:
        pictures.read(path)
    except DataError as error:
        return str(error)
    return None


def apart(listings: Mapping[str, Listing], one: str, other: str) -> str:
    """DataError when two splits share a picture."""
    both = listings[other].table.join(listings[one].table.select("path"), on="path", how="semi")
    if both.height:
        first = both.sort("place").row(0, named=True)
        where = listings[other].where(first["place"])
        raise DataError(f"{where}: {first['path']} is in {one} and in {other}")
    return f"{one} and {other} share no picture"


def archives(root: Path, sources: Sequence[Source]) -> list[str]:
    """What was found about the downloads that are still there; DataError for a damaged one."""
    lines = []
    for source in sources:
        path = root / source.file
        if source.digest is None or not path.is_file():
            continue
        kind, _, expected = source.digest.partition(":")
        digest = _digest(path, kind)
        if digest != expected:
            raise DataError(f"{path}: {kind} {digest}, but the published one is {expected}")
        lines.append(f"{source.file}: {kind} {expected} as published")
    return lines


def _digest(path: Path, kind: str) -> str:
    value, size = hashlib.new(kind), path.stat().st_size
    quiet = size < SHOWN_GIB * 2**30
    with (
        path.open("rb") as file,
        tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=quiet) as bar,
    ):
        while block := file.read(2**20):
            value.update(block)
            bar.update(len(block))
    return value.hexdigest()
