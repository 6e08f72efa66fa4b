"""Files that are made from records: which there are below a folder, and what they should say."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError
from harness.results import golden, leaderboard, published, table_data, tables

Record = Mapping[str, Any]


def stale(
    profile: str,
    root: Path,
    records: Mapping[str, Sequence[Record]],
    notes: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Tables and metrics below `root` that are not what the records of their data set say.

    root: `results` of the home folder, or the reference. records, notes (on where they come from):
    by data set; files of other data sets are not looked at.
    """
    for file, dataset, paper in _files(profile, root):
        if dataset in records:
            try:
                same = file.read_bytes() == _text(
                    file, root, paper, records[dataset], profile, notes[dataset]
                )
            except DataError as error:
                yield f"{file}: cannot be made again, {error}"
            else:
                if not same:
                    yield f"{file}: not what the records say; `harness table` writes it"


def _text(
    file: Path, root: Path, paper: Path, runs: Sequence[Record], profile: str, notes: Sequence[str]
) -> bytes:
    """What a file should say."""
    table = leaderboard.table(paper, runs, profile, golden.RULE, golden.SELECT, notes)
    if file.is_relative_to(root / "metrics"):
        return table_data.to_metrics(table).encode()
    text = tables.render(table, tables.SUFFIXES[file.suffix])
    return (text.rstrip("\n") + "\n").encode()


def _files(profile: str, root: Path) -> Iterator[tuple[Path, str, Path]]:
    """Files of a profile that are made from records, their data set and published table."""
    for file in sorted((root / "tables").glob("*")):
        if about := _shown(file, profile):
            yield file, *about
    for file in sorted((root / "metrics" / profile).glob("*.json")):
        if file.stem in registry.names("harness.datasets"):
            yield file, file.stem, published.of(file.stem)
        elif file.stem in _leaderboards():
            paper = _leaderboards()[file.stem]
            yield file, str(published.read(paper).dataset), paper


def _shown(file: Path, profile: str) -> tuple[str, Path] | None:
    """Data set and published table of <data set>-<profile>[-<table>] or <table>-<profile>."""
    match = re.fullmatch(rf"(?P<what>.+)-{re.escape(profile)}(-(?P<table>\w+))?", file.stem)
    if match is None or file.suffix not in tables.SUFFIXES:
        return None
    named = _leaderboards()
    if match["what"] in named:
        paper = named[match["what"]]
        return str(published.read(paper).dataset), paper
    if match["what"] not in registry.names("harness.datasets"):
        return None
    if match["table"] is None:
        return match["what"], published.of(match["what"])
    return (match["what"], named[match["table"]]) if match["table"] in named else None


@functools.cache
def _leaderboards() -> dict[str, Path]:
    return {p.stem: p for p in published.files() if published.read(p).kind != "pool"}
