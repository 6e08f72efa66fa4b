"""Results as HTML that a notebook shows: tables of numbers in percent, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.plans import PlanResult
    from harness.api.result import Result


def grid(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    """A table; numbers as they are given, nothing for None."""
    from tabulate import tabulate

    body = tabulate(rows, head, "html", disable_numparse=True, missingval="")
    return f"<p><b>{escape(caption)}</b></p>{body}"


def result_html(result: Result) -> str:
    """The rows of a result: mean ± sd over seeds in percent, the published number in brackets."""
    request = result.request
    about = f"{request.dataset}, profile {request.profile}"
    if request.paper is None:
        runs = result.runs()
        return grid(runs.columns, _percent(runs.rows(), first=3), f"Runs of {about}")
    table = result.table()
    names = [column.name for column in request.paper.columns]
    rows = [_cells(row, names) for row in table.iter_rows(named=True)]
    with_ratio = any(row["imbalance"] is not None for row in table.iter_rows(named=True))
    head = ["Imbalance", "Method", "Seeds", *names]
    if not with_ratio:
        head, rows = head[1:], [row[1:] for row in rows]
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.leaderboard.notes)
    caption = f"{request.paper.title}: {about}; in percent, published numbers in brackets"
    return f"{grid(head, rows, caption)}<ul>{notes}</ul>"


def plan_html(result: PlanResult) -> str:
    """The runs and the synthetic images of a plan, and what it assumes."""
    plan = result.plan
    about = f"{plan.dataset}, profile {plan.profile}"
    runs, images = result.table(), result.images()
    pieces = [grid(runs.columns, _short(runs.rows()), f"Runs of {about}")]
    if len(images):
        pieces.append(grid(images.columns, _short(images.rows()), f"Synthetic images of {about}"))
    notes = "".join(f"<li>{escape(note)}</li>" for note in plan.assumed)
    return f"{''.join(pieces)}<ul>{notes}</ul>"


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    ratio = "" if row["imbalance"] is None else str(row["imbalance"])
    return [ratio, row["method"], str(row["seeds"]), *(_cell(row, name) for name in names)]


def _cell(row: dict[str, Any], name: str) -> str:
    mean, sd, published = row[name], row[f"{name} sd"], row[f"{name} published"]
    text = "" if mean is None else f"{100 * mean:.2f}"
    text += "" if sd is None else f" ± {100 * sd:.2f}"
    return text if published is None else f"{text} [{100 * published:.2f}]".strip()


def _percent(rows: Sequence[Sequence[Any]], first: int) -> list[list[str]]:
    """From the `first` column on numbers are fractions, and printed in percent."""
    return [[*_plain(row[:first]), *(f"{100 * v:.2f}" for v in row[first:])] for row in rows]


def _short(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [_plain(row) for row in rows]


def _plain(row: Sequence[Any]) -> list[str]:
    return ["" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in row]
