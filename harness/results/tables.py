"""A leaderboard in any format; here those of a terminal and of a page in Markdown.

Beside each column of ours stands the published number, and for the profile paper the difference.
harness.results.table_latex and table_html have the formats of papers and browsers, table_data those
that programs read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.core.errors import UsageError
from harness.core.registry import one_of
from harness.results import markdown, table_cells, table_data
from harness.results.leaderboard import COLUMNS, Part, Table
from harness.results.table_html import to_html
from harness.results.table_latex import to_latex

WIDTH = 100  # of the notes, in characters


def render(table: Table, form: str, width: int | None = None, columns: str = "both") -> str:
    """The table in one of FORMATS. width: of the text, see to_text.

    columns: whose numbers it shows, "ours", "paper" (the published ones) or "both".
    UsageError for another format or layout, and for published numbers where there are none.
    """
    one_of("format", form, tuple(FORMATS))
    one_of("columns", columns, COLUMNS)
    if columns == "paper" and not table.paper.compared:
        raise UsageError(f"{table.paper.title}: no published numbers; allowed: ours, both")
    table = replace(table, columns=columns)
    return to_text(table, width) if form == "text" else FORMATS[form](table)


# ---------------------------------------------------------------- text


def to_text(table: Table, width: int | None = None) -> str:
    """For the terminal: one grid per block, then the notes.

    width: in characters; a grid that is wider goes on below, with the columns that did not fit.
    """
    pieces = [table_cells.title(table)]
    span = len(table_cells.under(table))
    for part in table.parts:
        rows = [table_cells.head(table, "\n"), *_body(table, part, "*{}")]
        pieces.append("\n\n".join([part.block.title, *_grids(rows, width, span)]))
    notes = (
        textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")
        for note in table.notes
    )
    return "\n\n".join([*pieces, "\n".join(notes)]) + "\n"


def _body(table: Table, part: Part, bold: str) -> Iterator[list[str]]:
    """The texts of a block's lines; bold: a pattern for the best of a column."""
    return (table_cells.cells(table, line, bold.format) for line in table_cells.lines(table, part))


def _grids(rows: list[list[str]], width: int | None, span: int) -> list[str]:
    """Rows, the head first, as grids of at most `width` where `span` columns can be as narrow."""
    from tabulate import tabulate

    def grid(columns: range) -> str:
        body = [[row[0], *row[columns.start : columns.stop]] for row in rows]
        align = ("left", *("right",) * len(columns))
        return tabulate(body[1:], body[0], "simple", disable_numparse=True, colalign=align)

    def fits(columns: range) -> bool:
        return width is None or max(map(len, grid(columns).splitlines())) <= width

    grids, start, end = [], 1, len(rows[0])
    while start < end:
        stop = end  # the columns of a number stay together
        while stop > start + span and not fits(range(start, stop)):
            stop -= span
        grids.append(grid(range(start, stop)))
        start = stop
    return grids


# ---------------------------------------------------------------- Markdown


def to_markdown(table: Table) -> str:
    """For a page: the same, best numbers bold."""
    pieces = [f"## {table_cells.title(table)}"]
    pieces += [f"### {part.block.title}\n\n{_markdown_grid(table, part)}" for part in table.parts]
    pieces.append("\n".join(f"- {markdown.escape(note)}" for note in table.notes))
    return "\n\n".join(pieces) + "\n"


def _markdown_grid(table: Table, part: Part) -> str:
    head = table_cells.head(table, " ")
    rows = _body(table, part, "**{}**")
    body = [[markdown.escape(cell, "|<") for cell in row] for row in rows]  # stars are for bold
    return markdown.grid(head, body)


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": table_data.to_csv,
    "json": table_data.to_json,
    "html": to_html,
}
SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}
SUFFIXES |= {".html": "html"}
