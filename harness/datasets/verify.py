"""Parts of a data set's check: sizes, names, downloads, and the order in which all is looked at.

What is cheap comes first: lists, then files, their sizes and digests of downloads. Pictures are
decoded only once nothing else is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.digests import LISTING, check_file
from harness.core.errors import DataError
from harness.core.progress import ProgressBar
from harness.core.specs import Recipe
from harness.datasets import picture_check, pictures, unpacking
from harness.datasets.base import Dataset, Source
from harness.datasets.offences import SHOWN, Faults, Report
from harness.datasets.rows import Listing

SHOWN_GIB = 1  # a progress bar is shown for larger downloads


def finished(
    report: Report,
    root: Path,
    listings: Mapping[str, Listing],
    recipe: Recipe,
    sources: Sequence[Source] = (),
    decode: bool = False,
    downloads: bool = True,
) -> list[str]:
    """The lines of a report once files and, if asked, downloads and pictures are verified, too.

    Offences (a DataError) of everything that is wrong.
    """
    picture_check.present(report, root, listings)
    picture_check.one_size(report, root, listings, recipe)
    unfinished(report, root, sources)
    if downloads:
        archives(report, root, sources)
        unchanged(report, root)
    report.faults.refuse()
    if decode:
        # The official sets hold a few pictures twice: their files are as they are.
        picture_check.content(report, root, listings, official=recipe.profile == "paper")
        report.faults.refuse()
    return report.lines


def sizes(name: str, data: Dataset, official: Mapping[str, int]) -> None:
    """Offences unless the data set has the official numbers: "classes", "train", and splits'."""
    faults = Faults()
    numbers = {"classes": len(data.classes), "train": len(data.train)}
    numbers |= {split: len(some.table) for split, some in data.splits.items()}
    for part, expected in official.items():
        if numbers[part] != expected:
            unit = "classes" if part == "classes" else f"images in {part}"
            faults.add(
                f"{name}: {numbers[part]} {unit}, but profile paper needs the official data set: "
                f"{expected}"
            )
    faults.refuse()


def described(data: Dataset) -> list[str]:
    """Its sizes in one line, and one for each name that several classes have."""
    tested = ", ".join(f"{len(some.table)} {split}" for split, some in data.splits.items())
    smallest, largest = min(data.counts), max(data.counts)
    size = (
        f"{len(data.classes)} classes of {smallest} to {largest} training images; "
        f"{len(data.train)} train, {tested}"
    )
    return [size, *shared_names(data.classes)]


def shared_names(classes: Sequence[str]) -> list[str]:
    """A line for each name that several labels have, which is allowed."""
    labels: dict[str, list[int]] = {}
    for label, name in enumerate(classes):
        labels.setdefault(name, []).append(label)
    return [
        f"{len(some)} labels are called {name}: {', '.join(map(str, some))}"
        for name, some in labels.items()
        if len(some) > 1
    ]


def apart(report: Report, listings: Mapping[str, Listing], one: str, other: str) -> None:
    """At fault is a picture that two splits share."""
    faults, where = Faults(), listings[other].where
    both = listings[other].table.join(listings[one].table.select("path"), on="path", how="semi")
    shown = both.sort("place").head(SHOWN).rows(named=True)
    lines = (
        f"{where(row['place'])}: {row['path']} is in {one} and in {other}, expected in one of them"
        for row in shown
    )
    faults.extend(lines, both.height)
    report.add(f"{one} and {other} share no picture", faults)


def unfinished(report: Report, root: Path, sources: Sequence[Source]) -> None:
    """At fault is an archive whose unpacking was cut short, or whose files are no longer whole."""
    for source in sources:
        with report.faults.gathering():
            unpacking.check(root, source.file)


def unchanged(report: Report, root: Path) -> None:
    """At fault are files whose SHA-256 is not that of the listing below the root, if there is one.

    That they are there is not asked: the lists of the data set say which ones it needs.
    """
    faults = Faults()
    with report.faults.gathering():
        known = pictures.listed(root)
        for name, expected in known.items():
            if (root / name).is_file():
                with faults.gathering():
                    check_file(root / name, expected, pictures.AGAIN)
        if known:
            report.add(f"{len(known)} files are those of {LISTING}", faults)


def archives(report: Report, root: Path, sources: Sequence[Source]) -> None:
    """A line for each download that is still there; at fault is a damaged one."""
    for source in sources:
        path = root / source.file
        if source.digest is None or not path.is_file():
            continue
        kind, _, expected = source.digest.partition(":")
        with report.faults.gathering():
            if (digest := _digest(path, kind)) != expected:
                raise DataError(f"{path}: {kind} {digest}, but the published one is {expected}")
            report.add(f"{source.file}: {kind} {expected} as published")


def _digest(path: Path, kind: str) -> str:
    value, size = hashlib.new(kind), path.stat().st_size
    quiet = size < SHOWN_GIB * 2**30
    try:
        with (
            path.open("rb") as file,
            ProgressBar(
                total=size, desc=path.name, unit="B", unit_scale=True, disable=quiet
            ) as bar,
        ):
            while block := file.read(2**20):
                value.update(block)
                bar.update(len(block))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return value.hexdigest()
