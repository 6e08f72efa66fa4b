"""Golden numbers: the results that a profile's records have to keep up with.

results/golden/<profile>.json holds, by row, the value of every cell for each seed and the spread
that a change is measured by; the ratio of the generator's speed to that of the stock pipeline; and
why it was written, the last reason last. Its text depends on the records alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.results import comparison, published, records
from harness.results.leaderboard import number_at
from harness.results.statistics import mean_sd

ROOT = Path("results/golden")
VERSION = 1
RULE, SELECT = "A", "last"  # of the numbers kept
KEY_DIGITS = 12

Record = Mapping[str, Any]
Name = tuple[str, str, int, str]  # data set, backbone, imbalance (0: none), method


@dataclass(frozen=True)
class Cell:
    """Fractions. sd: over seeds, or with one seed over resamples of the test images."""

    values: tuple[float, ...]
    sd: float


@dataclass(frozen=True)
class Row:
    dataset: str
    backbone: str
    imbalance: int | None
    method: str
    seeds: tuple[int, ...]
    keys: tuple[str, ...]  # of the runs, shortened
    cells: dict[str, Cell]  # by path in a record's metrics

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


def rows(records: Iterable[Record]) -> tuple[Row, ...]:
    """The rows of records, by name; numbers of groups without classes are left out."""
    by_name: dict[Name, list[Record]] = {}
    for r in records:
        name = (r["dataset"], r["backbone"], r["imbalance"] or 0, r["method"])
        by_name.setdefault(name, []).append(r)
    return tuple(_row(by_name[name]) for name in sorted(by_name))


def _row(runs: Sequence[Record]) -> Row:
    runs, first = sorted(runs, key=lambda r: int(r["seed"])), runs[0]
    cells = {}
    for path in _paths(first["dataset"]):
        values = [v for v in (number_at(r, path, SELECT) for r in runs) if v is not None]
        if len(values) == len(runs):
            sd = mean_sd(values)[1]
            spread = comparison.luck(first, path, SELECT) if sd is None else sd
            cells[path] = Cell(tuple(values), round(spread, 6))
    return Row(
        first["dataset"],
        first["backbone"],
        first["imbalance"],
        first["method"],
        tuple(r["seed"] for r in runs),
        tuple(r["key"][:KEY_DIGITS] for r in runs),
        cells,
    )


def _paths(dataset: str) -> list[str]:
    """What the tables of a data set show."""
    papers = [published.read(file) for file in published.showing(dataset)]
    paths = (c.path.format(rule=RULE) for paper in papers for c in paper.columns)
    return list(dict.fromkeys(paths))


# ---------------------------------------------------------------- the file


def path(profile: str, home: Path) -> Path:
    return home / ROOT / f"{profile}.json"


def write(golden: Golden, file: Path) -> None:
    """In one step; UsageError without a reason."""
    if not golden.reasons or not golden.reasons[-1].strip():
        raise UsageError("golden numbers change for a reason: --reason TEXT")
    content = {"version": VERSION, "rule": RULE, "select": SELECT, **asdict(golden)}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(file, (records.short_lists(text) + "\n").encode())


def read(file: Path, profile: str) -> Golden:
    """DataError, which names the file, when it is not there, damaged, or of another profile."""
    if not file.exists():
        hint = f'`harness check --profile {profile} --update --reason "..."` writes them'
        raise DataError(f"{file}: no golden numbers yet; {hint}")
    content = documents.json_value(file, "golden numbers")
    if not isinstance(content, dict) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise DataError(f"{file}: version {version!r}, this code reads version {VERSION}")
    if content.get("profile") != profile:
        raise DataError(f"{file}: golden numbers of {content.get('profile')!r}, not of {profile!r}")
    if (content.get("rule"), content.get("select")) != (RULE, SELECT):
        raise DataError(f"{file}: golden numbers of another rule or selection")
    try:
        rows = tuple(_read_row(row) for row in content["rows"])
        return Golden(profile, rows, content["throughput"], tuple(content["reasons"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: damaged golden numbers ({error})") from error


def _read_row(row: Any) -> Row:
    if set(row) != {f.name for f in fields(Row)}:
        raise ValueError(f"a row has {', '.join(sorted(row))}")
    cells = {
        path: Cell(tuple(float(v) for v in cell["values"]), float(cell["sd"]))
        for path, cell in row["cells"].items()
    }
    seeds, keys = tuple(row["seeds"]), tuple(row["keys"])
    if any(len(cell.values) != len(seeds) for cell in cells.values()):
        raise ValueError(f"a row of {row['method']} has not one value per seed")
    return Row(**{**row, "seeds": seeds, "keys": keys, "cells": cells})
