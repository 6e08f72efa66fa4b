"""A leaderboard of several reporters as one static HTML page, which loads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from harness.results.footnotes import EMPTY, MISSING, PROFILE_TEXTS
from harness.results.leaderboard import Line, Measured, Table
from harness.results.published_table import Column
from harness.results.submissions import Submission


def render(tables: Sequence[Table], submissions: Sequence[Submission], profile: str) -> str:
    """The page; equal tables give equal text."""
    people = [
        {
            "name": s.reporter,
            "url": s.url,
            "note": s.note,
            "records": len([r for r in s.records if r["profile"] == profile]),
            "machines": ", ".join(sorted({r["machine"]["cpu"] for r in s.records if r["machine"]})),
        }
        for s in submissions
    ]
    text: str = _template().render(
        profile=PROFILE_TEXTS.get(profile, profile),
        people=people,
        tables=[_table(number, table) for number, table in enumerate(tables, 1)],
    )
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.results", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("leaderboard.html")


def _table(number: int, table: Table) -> dict[str, Any]:
    columns = table.paper.columns
    backbone = f", {table.backbone}" if table.backbone else ""
    return {
        "id": f"table-{number}",
        "title": table.paper.title,
        "about": f"{table.paper.metric}{backbone}; {table.select} epoch, class groups {table.rule}",
        "columns": [column.name for column in columns],
        "compared": table.paper.compared,
        "parts": [
            {"title": part.block.title, "rows": [_row(table, line, columns) for line in part.lines]}
            for part in table.parts
        ],
        "notes": Counter(table.notes).keys(),
    }


def _row(table: Table, line: Line, columns: Sequence[Column]) -> dict[str, Any]:
    decimals = table.paper.decimals
    numbers = [line.printed[column.name].number for column in columns]
    return {
        "method": getattr(line, "row", line.label),
        "reporter": getattr(line, "reporter", None),
        "cells": [
            {
                "ours": _measured(line.measured[column.name], decimals),
                "best": line.measured[column.name].best,
                "published": EMPTY if number is None else number.text(decimals),
            }
            for column, number in zip(columns, numbers, strict=True)
        ],
    }


def _measured(cell: Measured, decimals: int) -> str:
    """Mean and standard deviation in percent with the number of seeds, or a mark."""
    if cell.mean is None:
        return EMPTY if cell.n else MISSING
    sd = "" if cell.sd is None else f" ± {100 * cell.sd:.{decimals}f}"
    return f"{100 * cell.mean:.{decimals}f}{sd} ({cell.n})"
