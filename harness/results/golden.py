"""Golden numbers: the results that a profile's records have to keep up with.

results/golden/<profile>.json holds, by row, the value of every cell for each seed; the mean and the
spread of its reference runs, by which a change is judged; what its first run did; the ratio of the
generator's speed to that of the stock pipeline; and why it was written, the last reason last. Its
text depends on the records alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.core import digests
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.shipped import GOLDEN
from harness.results import comparison, published, records, spread
from harness.results.leaderboard import number_at
from harness.results.spread import Spread

ROOT = Path("results/golden")  # one's own, below the home folder
VERSION = 2
RULE, SELECT = "A", "last"  # of the numbers kept
KEY_DIGITS = 12
ALL_ROWS = "mean of all rows"
LEAST = 3  # runs of every row that it takes
UNKNOWN = Spread(0.0, 0.0)
UNCALIBRATED = 2.0  # times the luck of the test images, where nothing was run twice
PRINT = ("counts", "levels", "behaviour")  # of a record, what its fingerprint is compared by

Record = Mapping[str, Any]
Name = tuple[str, str, int, str]  # data set, backbone, imbalance (0: none), method


@dataclass(frozen=True)
class Cell:
    """Fractions. values: of the row's seeds; mean, runs: of its reference runs; sd, df: spread of
    one run about that mean.
    """

    values: tuple[float, ...]
    mean: float
    runs: int
    sd: float
    df: float


@dataclass(frozen=True)
class Row:
    dataset: str
    backbone: str
    imbalance: int | None
    method: str
    seeds: tuple[int, ...]
    keys: tuple[str, ...]  # of the runs, shortened
    cells: dict[str, Cell]  # by path in a record's metrics
    fingerprint: dict[str, Any] | None = None  # of the first seed; None for ALL_ROWS

    @property
    def name(self) -> Name:
        return self.dataset, self.backbone, self.imbalance or 0, self.method

    def text(self) -> str:
        ratio = "" if self.imbalance is None else f", IR{self.imbalance}"
        return f"{self.dataset}, {self.backbone}{ratio}, {self.method}"


@dataclass(frozen=True)
class Golden:
    profile: str
    rows: tuple[Row, ...]
    throughput: dict[str, Any] | None = None  # ratio_to_stock, machine
    reasons: tuple[str, ...] = field(default=())
    calibration: dict[str, Any] | None = None  # of the reference runs: see harness.api.calibration


FIELDS = ("version", "rule", "select", *(f.name for f in fields(Golden)))  # of the file


def rows(
    reference: Iterable[Record], repeated: Iterable[Record] = (), least: int = LEAST
) -> tuple[Row, ...]:
    """The rows of records, by name; numbers of groups without classes are left out.

    repeated: further runs of the same rows, of other seeds or under other arithmetic. Means and
    spreads are taken over both together, whatever their seed. A row more, ALL_ROWS, holds the mean
    over the rows of a table: what hits all of them shows there first. It needs `least` runs of each
    row, because no other table's rows tell its spread.
    """
    by_name = _by_name(reference)
    runs = _by_name([*(r for some in by_name.values() for r in some), *repeated])
    values = {name: _values(runs[name]) for name in by_name}
    spreads = _spreads(values, runs)
    found = [_row(by_name[name], values[name], spreads) for name in sorted(by_name)]
    return tuple(sorted([*found, *_all_rows(by_name, runs, least)], key=lambda row: row.name))


def _by_name(found: Iterable[Record]) -> dict[Name, list[Record]]:
    by_name: dict[Name, list[Record]] = {}
    for r in found:
        by_name.setdefault(name_of(r), []).append(r)
    return by_name


def name_of(r: Record) -> Name:
    """Of the row that a record belongs to."""
    return r["dataset"], r["backbone"], r["imbalance"] or 0, r["method"]


def values_of_rows(found: Iterable[Record]) -> dict[tuple[Name, str], list[float]]:
    """Numbers of all runs of every row, by row and path."""
    by_name = _by_name(found)
    return {
        (name, path): values
        for name, runs in by_name.items()
        for path, values in _values(runs).items()
    }


def _values(runs: Sequence[Record]) -> dict[str, list[float]]:
    """Numbers of the runs by path, in their order; paths that one of them lacks are left out."""
    found = {}
    for path in _paths(runs[0]["dataset"]):
        values = [v for v in (number_at(r, path, SELECT) for r in runs) if v is not None]
        if len(values) == len(runs):
            found[path] = values
    return found


def _paths(dataset: str) -> list[str]:
    """What the tables of a data set show."""
    papers = [published.read(file) for file in published.showing(dataset)]
    paths = (c.path.format(rule=RULE) for paper in papers for c in paper.columns)
    return list(dict.fromkeys(paths)) or ["overall"]


Spreads = Mapping[tuple[Name, str], Spread]


def _spreads(
    values: Mapping[Name, Mapping[str, Sequence[float]]], runs: Mapping[Name, Sequence[Record]]
) -> Spreads:
    """Of every cell: pooled over the rows of its data set and column."""
    families: dict[tuple[str, str], list[Name]] = {}
    for name, cells in values.items():
        for path in cells:
            families.setdefault((name[0], path), []).append(name)
    repeated = {
        family: names
        for family, names in families.items()
        if any(len(values[name][family[1]]) > 1 for name in names)
    }
    pooled = spread.pooled(
        [[values[name][path] for name in names] for (_, path), names in repeated.items()]
    ) if repeated else []  # fmt: skip
    found = {
        (name, path): s
        for ((_, path), names), some in zip(repeated.items(), pooled, strict=True)
        for name, s in zip(names, some, strict=True)
    }
    for (family, path), names in families.items():
        if (family, path) not in repeated:
            for name in names:
                luck = comparison.luck(runs[name][0], path, SELECT)
                found[name, path] = Spread(max(UNCALIBRATED * luck, spread.FLOOR), 1e9)
    return found


def _row(
    reference: Sequence[Record], values: Mapping[str, Sequence[float]], spreads: Spreads
) -> Row:
    reference = sorted(reference, key=lambda r: int(r["seed"]))
    first = reference[0]
    name = name_of(first)
    cells = {}
    for path, of_runs in values.items():
        s = spreads[name, path]
        own = [float(number_at(r, path, SELECT) or 0.0) for r in reference]
        mean = math.fsum(of_runs) / len(of_runs)
        cells[path] = Cell(tuple(own), _short(mean), len(of_runs), _short(s.sd), _short(s.df))
    return Row(
        first["dataset"],
        first["backbone"],
        first["imbalance"],
        first["method"],
        tuple(r["seed"] for r in reference),
        tuple(r["key"][:KEY_DIGITS] for r in reference),
        cells,
        fingerprint(first),
    )


def fingerprint(record: Record) -> dict[str, Any]:
    """What `fingerprints.deviations` compares of a record."""
    return {name: record[name] for name in PRINT} | {"start": record["spec"]["start"] is not None}


def _all_rows(
    reference: Mapping[Name, Sequence[Record]], runs: Mapping[Name, Sequence[Record]], least: int
) -> list[Row]:
    """By data set, backbone and imbalance: the mean over the rows, run by run."""
    groups: dict[tuple[str, str, int], list[Name]] = {}
    for name in reference:
        groups.setdefault(name[:3], []).append(name)
    found = []
    for (dataset, backbone, imbalance), names in groups.items():
        n = min(len(runs[name]) for name in names)
        if len(names) < 2 or n < least:
            continue
        values = [_values(runs[name][:n]) for name in names]
        paths = [p for p in values[0] if all(p in some for some in values)]
        of_runs = {
            p: [math.fsum(v[p][i] for v in values) / len(names) for i in range(n)] for p in paths
        }
        seeds = tuple(sorted({r["seed"] for r in reference[names[0]]}))
        pooled = (
            spread.pooled([list(of_runs.values())])[0] if n >= LEAST else [UNKNOWN] * len(paths)
        )
        cells = {
            path: Cell(
                tuple(some[: len(seeds)]),
                _short(math.fsum(some) / n),
                n,
                _short(s.sd),
                _short(s.df),
            )
            for (path, some), s in zip(of_runs.items(), pooled, strict=True)
        }
        found.append(Row(dataset, backbone, imbalance or None, ALL_ROWS, seeds, (), cells))
    return found


def _short(value: float) -> float:
    return float(f"{value:.6g}")


# ---------------------------------------------------------------- the file


def path(profile: str, home: Path) -> Path:
    """Where golden numbers are written: below the home folder."""
    return home / ROOT / f"{profile}.json"


def find(profile: str, home: Path) -> Path:
    """Those that hold: one's own below the home folder, else those that come with the project."""
    own = path(profile, home)
    return own if own.is_file() or not (GOLDEN / own.name).is_file() else GOLDEN / own.name


def write(golden: Golden, file: Path) -> None:
    """In one step; UsageError without a reason."""
    if not golden.reasons or not golden.reasons[-1].strip():
        raise UsageError("golden numbers change for a reason: --reason TEXT")
    content = {"version": VERSION, "rule": RULE, "select": SELECT, **asdict(golden)}
    content = digests.sealed(content)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(file, (records.short_lists(text) + "\n").encode())


def read_to_replace(file: Path, profile: str) -> Golden:
    """As `read`, for who is about to write them: none where there is no file or a damaged one."""
    try:
        return read(file, profile) if file.exists() else Golden(profile, ())
    except digests.Damaged as error:
        digests.remade(error)
        return Golden(profile, ())


def read(file: Path, profile: str) -> Golden:
    """DataError, which names the file, when it is not there or of another profile; Damaged."""
    if not file.exists():
        hint = f'`harness check --profile {profile} --update --reason "..."` writes them'
        raise DataError(f"{file}: no golden numbers yet; {hint}")
    hint = f'`harness check --profile {profile} --update --reason "..."` writes them again'
    content = digests.read_json(file, "golden numbers", hint, FIELDS)
    if not isinstance(content, dict) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise DataError(f"{file}: version {version!r}, this code reads version {VERSION}")
    if content.get("profile") != profile:
        raise DataError(f"{file}: golden numbers of {content.get('profile')!r}, not of {profile!r}")
    if (content.get("rule"), content.get("select")) != (RULE, SELECT):
        raise DataError(f"{file}: golden numbers of another rule or selection")
    try:
        known = tuple(_read_row(row) for row in content["rows"])
        reasons = tuple(content["reasons"])
        return Golden(profile, known, content["throughput"], reasons, content["calibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise digests.damaged(file, error, hint, "golden numbers") from error


def _read_row(row: Any) -> Row:
    if set(row) != {f.name for f in fields(Row)}:
        raise ValueError(f"a row has {', '.join(sorted(row))}")
    numbers = ("mean", "sd", "df")
    cells = {
        path: Cell(
            tuple(float(v) for v in cell["values"]),
            runs=int(cell["runs"]),
            **{name: float(cell[name]) for name in numbers},
        )
        for path, cell in row["cells"].items()
    }
    seeds, keys = tuple(row["seeds"]), tuple(row["keys"])
    if any(len(cell.values) != len(seeds) for cell in cells.values()):
        raise ValueError(f"a row of {row['method']} has not one value per seed")
    return Row(**{**row, "seeds": seeds, "keys": keys, "cells": cells})
