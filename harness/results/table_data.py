"""A leaderboard in the formats that programs read: CSV and JSON, a row per number.

Percentages and points like the published numbers, unrounded but for the noise of arithmetic.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.core import cells
from harness.results.budget import UNKNOWN
from harness.results.leaderboard import Line, Table

DIGITS = 9  # after the point: what follows is the arithmetic's
EMPTY: dict[str, Any] = dict.fromkeys(
    ("numbers", "seed", "value", "sd", "n", "expected", "best", "comparable", "difference")
)


def to_csv(table: Table) -> str:
    """A line per number; what is missing is empty.

    A text that a spreadsheet would run has an apostrophe in front.
    """
    about = _about(table)
    lines = [row | about for row in rows(table)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cells.safe(value) for name, value in line.items()} for line in lines)
    return buffer.getvalue()


def to_json(table: Table) -> str:
    """The same lines as `rows`, and what holds for all of them."""
    content = {
        "title": table.paper.title,
        "metric": table.paper.metric,
        "source": table.paper.source,
        **_about(table),
        "seeds": list(table.seeds),
        "versions": {name: list(numbers) for name, numbers in table.versions.items()},
        "columns": [c.name for c in table.paper.columns],
        "rows": list(rows(table)),
        "notes": list(table.notes),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def rows(table: Table) -> Iterator[dict[str, Any]]:
    """A row per number of a cell, in the table's order.

    numbers: "ours" or "published". seed: of a run of ours; None for a mean over the seeds and for
    what is published. sd: over seeds (n - 1), or as printed. n: seeds; expected: of the whole
    table. best: of its column. comparable: whether a published number is of the rule shown and not
    known to be wrong. difference: ours less the published number, for the profile paper. batches,
    images, generated: what the method takes.
    """
    for part in table.parts:
        for line in part.lines:
            for column in table.paper.columns:
                about = {
                    "block": part.block.title,
                    "imbalance": part.block.imbalance,
                    "method": line.method,
                    "label": line.label,
                    "column": column.name,
                    "unit": column.unit,
                }
                numbers = _numbers(table, line, column.name)
                yield from (about | number | _budget(line) for number in numbers)


def _numbers(table: Table, line: Line, column: str) -> Iterator[dict[str, Any]]:
    """Those of a cell: of each seed, their mean, and the published one."""
    ours, printed = line.measured[column], line.printed[column]
    number = printed.number
    if table.columns != "paper":
        for seed, value in sorted(ours.by_seed.items()):
            yield EMPTY | {"numbers": "ours", "seed": seed, "value": _percent(value)}
        difference = _rounded(line.difference(column)) if table.comparable else None
        yield EMPTY | {
            "numbers": "ours",
            "value": _percent(ours.mean),
            "sd": _percent(ours.sd),
            "n": ours.n,
            "expected": ours.expected,
            "best": ours.best,
            "difference": difference,
        }
    if table.columns != "ours" and number is not None:
        yield EMPTY | {
            "numbers": "published",
            "value": number.value,
            "sd": number.sd,
            "best": printed.best,
            "comparable": not printed.other and printed.target,
        }


def _about(table: Table) -> dict[str, Any]:
    return {
        "dataset": table.paper.dataset,
        "profile": table.profile,
        "rule": table.rule,
        "select": table.select,
        "backbone": table.backbone,
        "width": table.width,
    }


def _budget(line: Line) -> dict[str, int | None]:
    """What stands behind a line; None where neither records nor a plan say it."""
    budget = line.budget or UNKNOWN
    return {"batches": budget.batches, "images": budget.images, "generated": budget.generated}


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else _rounded(100 * fraction)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def to_metrics(table: Table) -> str:
    """One number per block for `dvc metrics` and `dvc exp show`: of the paper's best row, percent.

    That row is the one whose published number is the best of the headline column; without any, the
    best of ours. It is named by the table and, where there are several, the block, so that names
    are short and differ between files. Blocks without such runs are left out.
    """
    column, numbers = headline_column(table), {}
    for part in table.parts:
        lines = [line for line in part.lines if line.printed[column].best]
        lines = lines or [line for line in part.lines if line.measured[column].best]
        mean = lines[0].measured[column].whole if lines else None
        if mean is not None:
            numbers[part.block.key] = round(100 * mean, table.paper.decimals)
    name = Path(table.paper.file.partition(" ")[0]).stem
    one = len(table.parts) == 1 and numbers
    content = {name: next(iter(numbers.values())) if one else numbers}
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def headline_column(table: Table) -> str:
    """Overall, where there is such a column; else the first."""
    names = [column.name for column in table.paper.columns]
    return "Overall" if "Overall" in names else names[0]
