"""A leaderboard as a page of HTML: no scripts, nothing from elsewhere, usable by keyboard.

A block that is wider than the window is scrolled with the arrow keys once Tab has reached it.
"""

from __future__ import annotations

from html import escape

from harness.results import table_cells
from harness.results.leaderboard import Line, Part, Table

_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1em}div{overflow-x:auto}"
    "div:focus-visible{outline:3px solid Highlight;outline-offset:2px}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.2em .6em;text-align:right;white-space:nowrap}"
    "tbody th{font-weight:normal}th[colspan]{text-align:center}"
    "th:first-child,td:first-child{text-align:left}thead{border-bottom:2px solid}"
    "tbody tr:nth-child(even){background:#8881}caption{text-align:left;font-weight:bold}"
)


def to_html(table: Table) -> str:
    """A page of its own."""
    title = escape(table_cells.title(table))
    lines = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">']
    lines += ['<meta name="viewport" content="width=device-width">', f"<title>{title}</title>"]
    lines += [f"<style>{_STYLE}</style>", "<main>", f"<h1>{title}</h1>"]
    for number, part in enumerate(table.parts):
        lines += _block(table, part, number)
    notes = [f"<li>{escape(note)}</li>" for note in table.notes]
    lines += ["<h2>Notes</h2>", "<ul>", *notes, "</ul>", "</main>", "</html>"]
    return "\n".join(lines) + "\n"


def _block(table: Table, part: Part, number: int) -> list[str]:
    """A block in a region that the keyboard reaches and a screen reader names."""
    name = f"block-{number}"
    lines = [f'<div tabindex="0" role="region" aria-labelledby="{name}"><table>']
    lines += [f'<caption id="{name}">{escape(part.block.title)}</caption>', *_head(table)]
    lines += [_row(table, line) for line in table_cells.lines(table, part)]
    return [*lines, "</tbody></table></div>"]


def _head(table: Table) -> list[str]:
    under, budget = table_cells.under(table), table_cells.budget_head(table)
    tops = "".join(
        f'<th colspan="{len(under)}" scope="colgroup">{escape(c.name)}</th>'
        for c in table.paper.columns
    )
    names = [*under * len(table.paper.columns), *budget]
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    first = f"<tr><td></td>{tops}{'<td></td>' * len(budget)}</tr>"
    return ["<thead>", first, f'<tr><th scope="col">Method</th>{heads}</tr>', "</thead><tbody>"]


def _row(table: Table, line: Line) -> str:
    label, *cells = (escape(c) for c in table_cells.cells(table, line, "\0{}\1".format))
    shown = (cell.replace("\0", "<b>").replace("\1", "</b>") for cell in cells)
    return f'<tr><th scope="row">{label}</th>{"".join(f"<td>{c}</td>" for c in shown)}</tr>'
