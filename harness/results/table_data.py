"""A leaderboard in the formats that programs read: CSV and JSON, a row per number.

Percentages and points like the published numbers, unrounded but for the noise of arithmetic.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from harness.core import cells
from harness.results.budget import UNKNOWN
from harness.results.leaderboard import Line, Table
from harness.results.records import slug

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
    """Means in percent by block, row and column, for `dvc metrics`; rows without runs are left out.

    Rows are named like their records, because DVC takes a point for a step into the file.
    """
    blocks: dict[str, dict[str, dict[str, float]]] = {}
    for part in table.parts:
        rows = blocks.setdefault(part.block.key, {})
        for line in part.lines:
            means = {name: _percent(cell.whole) for name, cell in line.measured.items()}
            known = {name.lower(): mean for name, mean in means.items() if mean is not None}
            if known:
                rows[slug(line.method).replace(".", "-")] = known
    return json.dumps(blocks, indent=1, sort_keys=True, allow_nan=False) + "\n"
