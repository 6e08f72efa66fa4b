"""The gate: do the records keep up with golden numbers, tables with records, speed with itself?

A cell falls when its mean, over golden's seeds, is below golden's by more than 2 of its standard
deviations and just under a point. Means of three seeds that were trained anew stay within that but
for one in some thousands; the point is for cells whose seeds happen to agree.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import documents, registry
from harness.core.errors import DataError
from harness.results import golden, leaderboard, published, records, table_data, tables
from harness.results.golden import Cell, Golden, Row

SDS = 2.0
SLACK = 0.009  # a fraction: just under a point
SLOWER = 0.8  # of golden's ratio to the stock pipeline
TABLES, METRICS = Path("results/tables"), Path("results/metrics")
PROFILING = Path("results/profile")


@dataclass(frozen=True)
class Change:
    """One cell that moved by more than its tolerance; fractions."""

    row: str
    path: str
    before: float
    now: float
    sd: float
    tolerance: float

    @property
    def fell(self) -> bool:
        return self.now < self.before


@dataclass(frozen=True)
class Speed:
    """The engine's images/s over those of the stock pipeline, in one run."""

    before: float | None
    now: float | None
    file: str | None  # where `now` stands

    @property
    def slower(self) -> bool:
        return self.before is not None and self.now is not None and self.now < SLOWER * self.before


@dataclass(frozen=True)
class Report:
    profile: str
    cells: int  # compared
    changes: tuple[Change, ...]
    gone: tuple[
        str, ...
    ]  # rows, seeds of rows and numbers that golden has and the records have not
    stale: tuple[str, ...]  # files that are not what the records say
    speed: Speed
    new: tuple[str, ...]  # rows that golden does not have
    other: int  # runs of golden's key with another result: other machine or versions

    @property
    def failures(self) -> int:
        fallen = sum(change.fell for change in self.changes)
        return fallen + len(self.gone) + len(self.stale) + self.speed.slower


def check(
    profile: str, home: Path, datasets: Sequence[str] = (), profile_json: Path | None = None
) -> Report:
    """Everything of a profile below `home`, or of some data sets.

    DataError for records, golden numbers or speeds that cannot be read, which names the file.
    """
    expected = golden.read(golden.path(profile, home), profile)
    by_dataset = read_records(profile, home, datasets)
    now = {row.name: row for row in golden.rows(r for some in by_dataset.values() for r in some)}
    before = [row for row in expected.rows if not datasets or row.dataset in datasets]
    changes, gone, cells = [], [], 0
    for row in before:
        current = now.get(row.name)
        if current is None:
            gone.append(f"{row.text()}: no records")
            continue
        lost = sorted(set(row.seeds) - set(current.seeds))
        if lost:
            gone.append(f"{row.text()}: no record of seed {', '.join(map(str, lost))}")
            continue
        for path, cell in row.cells.items():
            cells += 1
            if path not in current.cells:
                gone.append(f"{row.text()}: no {path}")
            elif change := _change(row, current, path, cell):
                changes.append(change)
    known = {row.name for row in before}
    return Report(
        profile,
        cells,
        tuple(changes),
        tuple(gone),
        tuple(_stale(profile, home, by_dataset)),
        _speed(expected.throughput, home, profile_json),
        tuple(row.text() for name, row in now.items() if name not in known),
        sum(_others(row, now[row.name]) for row in before if row.name in now),
    )


def read_records(
    profile: str, home: Path, datasets: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """All records of a profile by data set, or those of some data sets."""
    root = home / records.ROOT
    there = sorted(p.name for p in (root / profile).glob("*") if p.is_dir())
    return {name: records.read_all(profile, name, root) for name in datasets or there}


def update(
    profile: str,
    home: Path,
    reason: str,
    datasets: Sequence[str] = (),
    profile_json: Path | None = None,
) -> bool:
    """Rewrite golden numbers, of all data sets or of some; whether anything changed.

    DataError where there are no records: golden numbers of nothing would guard nothing.
    """
    file = golden.path(profile, home)
    old = golden.read(file, profile) if file.exists() else Golden(profile, ())
    by_dataset = read_records(profile, home, datasets)
    empty = [name for name, some in by_dataset.items() if not some]
    if empty or not by_dataset:
        where = home / records.ROOT / profile
        raise DataError(f"{where}: no records of {', '.join(empty) or 'any data set'}")
    others = [row for row in old.rows if row.dataset not in by_dataset] if datasets else []
    rows = [*others, *golden.rows(r for some in by_dataset.values() for r in some)]
    chosen = _newest(old.throughput, home, profile_json)
    speed = old.throughput if chosen is None else _speed_of(chosen[1])
    new = Golden(profile, tuple(sorted(rows, key=lambda r: r.name)), speed, old.reasons)
    if new == old:
        return False
    golden.write(Golden(profile, new.rows, speed, (*old.reasons, reason)), file)
    return True


def tolerance(sd: float) -> float:
    return SDS * sd + SLACK


def _change(before: Row, now: Row, path: str, cell: Cell) -> Change | None:
    """A cell that moved by more than its tolerance, over golden's seeds."""
    values = dict(zip(now.seeds, now.cells[path].values, strict=True))
    old = sum(cell.values) / len(cell.values)
    new = sum(values[seed] for seed in before.seeds) / len(before.seeds)
    allowed = tolerance(cell.sd)
    if abs(new - old) <= allowed:
        return None
    return Change(before.text(), path, old, new, cell.sd, allowed)


def _others(before: Row, now: Row) -> int:
    """Runs with the same key and another number."""
    at = {seed: i for i, seed in enumerate(now.seeds)}
    count = 0
    for i, (seed, key) in enumerate(zip(before.seeds, before.keys, strict=True)):
        if seed in at and now.keys[at[seed]] == key:
            both = before.cells.keys() & now.cells.keys()
            pairs = ((before.cells[p].values[i], now.cells[p].values[at[seed]]) for p in both)
            count += any(a != b for a, b in pairs)
    return count


# ---------------------------------------------------------------- files made from records


def _stale(
    profile: str, home: Path, by_dataset: Mapping[str, Sequence[dict[str, Any]]]
) -> Iterator[str]:
    for file, dataset, paper in _derived_files(profile, home):
        if dataset in by_dataset:
            table = leaderboard.table(
                paper, by_dataset[dataset], profile, golden.RULE, golden.SELECT
            )
            if file.is_relative_to(home / METRICS):
                text = table_data.to_metrics(table)
            else:
                text = tables.render(table, tables.SUFFIXES[file.suffix]).rstrip("\n") + "\n"
            if file.read_bytes() != text.encode():
                fault = "not what the records say; `harness table` writes it"
                yield f"{file.relative_to(home)}: {fault}"


def _derived_files(profile: str, home: Path) -> Iterator[tuple[Path, str, Path]]:
    """Files of a profile that are made from records, their data set and published table."""
    for file in sorted((home / TABLES).glob("*")):
        if about := _shown(file, profile):
            yield file, *about
    for file in sorted((home / METRICS / profile).glob("*.json")):
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


# ---------------------------------------------------------------- speed


def _speed(expected: dict[str, Any] | None, home: Path, profile_json: Path | None) -> Speed:
    chosen = _newest(expected, home, profile_json)
    before = None if expected is None else float(expected["ratio_to_stock"])
    if chosen is None:
        return Speed(before, None, None)
    return Speed(before, float(chosen[1]["ratio_to_stock"]), str(chosen[0]))


def _newest(
    expected: dict[str, Any] | None, home: Path, profile_json: Path | None
) -> tuple[Path, dict[str, Any]] | None:
    """The file asked for, or the newest one with a ratio: of golden's machine if there is one."""
    files = (
        [profile_json] if profile_json is not None else sorted((home / PROFILING).glob("*.json"))
    )
    profiles = [
        (file, profile) for file in files if "ratio_to_stock" in (profile := _profile(file))
    ]
    if profile_json is not None and not profiles:
        raise DataError(
            f"{profile_json}: no ratio_to_stock; `harness profile --against stock` writes it"
        )
    same_machine = [
        pair for pair in profiles if expected and pair[1].get("machine") == expected.get("machine")
    ]
    return max(same_machine or profiles, key=_when, default=None)


def _when(pair: tuple[Path, dict[str, Any]]) -> tuple[str, float]:
    return str(pair[1].get("measured", "")), pair[0].stat().st_mtime


def _profile(file: Path) -> dict[str, Any]:
    profile = documents.json_value(file, "profile")
    if not isinstance(profile, dict):
        raise DataError(f"{file}: damaged profile, a {type(profile).__name__}")
    ratio = profile.get("ratio_to_stock", 1)
    if type(ratio) not in (int, float) or not ratio > 0:
        raise DataError(f"{file}: ratio_to_stock is {ratio!r}, expected a number above 0")
    return profile


def _speed_of(profile: dict[str, Any]) -> dict[str, Any]:
    return {"ratio_to_stock": profile["ratio_to_stock"], "machine": profile.get("machine")}
