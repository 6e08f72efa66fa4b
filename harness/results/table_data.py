"""A leaderboard in the formats that programs read: CSV and JSON; and its numbers for DVC.

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
from harness.results.published_table import Column
from harness.results.records import slug

DIGITS = 9  # after the point: what follows is the arithmetic's


def to_csv(table: Table) -> str:
    """One line per cell, `cell` its name for plots; what is missing is empty.

    A text that a spreadsheet would run has an apostrophe in front.
    """
    rows = list(_flat(table))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cells.safe(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _flat(table: Table) -> Iterator[dict[str, Any]]:
    about = _about(table)
    about["seeds"] = " ".join(str(seed) for seed in table.seeds)
    about["versions"] = "; ".join(f"{n} {' and '.join(v)}" for n, v in table.versions.items())
    for part in table.parts:
        for line in part.lines:
            for column in table.paper.columns:
                yield {
                    "cell": f"{part.block.title}, {line.label}, {column.name}",
                    "block": part.block.title,
                    "imbalance": part.block.imbalance,
                    "method": line.method,
                    "label": line.label,
                    "row": "ours" if line.ours else "published",
                    "column": column.name,
                    **_cell(table, line, column),
                    **_budget(line),
                    **about,
                }


def to_json(table: Table) -> str:
    """Blocks of rows of cells, and what holds for all of them."""
    content = {
        "title": table.paper.title,
        "metric": table.paper.metric,
        "source": table.paper.source,
        **_about(table),
        "seeds": list(table.seeds),
        "versions": {name: list(numbers) for name, numbers in table.versions.items()},
        "columns": [c.name for c in table.paper.columns],
        "blocks": [
            {
                "title": part.block.title,
                "imbalance": part.block.imbalance,
                "rows": [
                    {
                        "method": line.method,
                        "label": line.label,
                        "ours": line.ours,
                        "budget": _budget(line),
                        "cells": {c.name: _cell(table, line, c) for c in table.paper.columns},
                    }
                    for line in part.lines
                ],
            }
            for part in table.parts
        ],
        "notes": list(table.notes),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _about(table: Table) -> dict[str, Any]:
    return {
        "dataset": table.paper.dataset,
        "profile": table.profile,
        "rule": table.rule,
        "select": table.select,
        "backbone": table.backbone,
        "width": table.width,
    }


def _cell(table: Table, line: Line, column: Column) -> dict[str, Any]:
    """`comparable`: whether the published number is of the rule shown and not known to be wrong."""
    ours, printed = line.measured[column.name], line.printed[column.name]
    number = printed.number
    return {
        "unit": column.unit,
        "mean": _percent(ours.mean),
        "sd": _percent(ours.sd),
        "n": ours.n,
        "seeds_expected": ours.expected,
        "best": ours.best,
        "published": None if number is None else number.value,
        "published_sd": None if number is None else number.sd,
        "published_best": printed.best,
        "comparable": None if number is None else not printed.other and printed.target,
        "difference": _rounded(line.difference(column.name)),
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
