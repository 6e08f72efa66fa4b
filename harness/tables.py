"""A leaderboard as terminal text or Markdown."""

from __future__ import annotations

import textwrap

from harness.leaderboard import EMPTY, MISSING, OTHER, Line, Measured, Part, Printed, Table

WIDTH = 100  # of the notes, in characters


def to_text(table: Table) -> str:
    """For the terminal: one grid per block, then the notes."""
    from tabulate import tabulate

    pieces = [_title(table)]
    for part in table.parts:
        head = _head(table, "\n")
        body = [_cells(table, line, bold="*{}") for line in part.lines]
        align = ("left", *("right",) * (len(head) - 1))
        grid = tabulate(body, head, "simple", disable_numparse=True, colalign=align)
        pieces.append(f"{part.block.title}\n\n{grid}")
    notes = (
        textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")
        for note in table.notes
    )
    return "\n\n".join([*pieces, "\n".join(notes)]) + "\n"


def to_markdown(table: Table) -> str:
    """For a page: the same, best numbers bold."""
    pieces = [f"## {_title(table)}"]
    pieces += [f"### {part.block.title}\n\n{_markdown_grid(table, part)}" for part in table.parts]
    pieces.append("\n".join(f"- {_escape(note)}" for note in table.notes))
    return "\n\n".join(pieces) + "\n"


def _markdown_grid(table: Table, part: Part) -> str:
    head = _head(table, " ")
    rows = [_cells(table, line, bold="**{}**") for line in part.lines]
    rule = ["---", *["---:"] * (len(head) - 1)]
    body = [[_escape(cell, stars=False) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def _escape(text: str, stars: bool = True) -> str:
    """Keeps signs that mean something in Markdown from meaning it; cells bring their own stars."""
    for sign in "*|<" if stars else "|<":
        text = text.replace(sign, f"\\{sign}")
    return text


def _title(table: Table) -> str:
    return f"{table.paper.title} [ours: profile {table.profile}]"


def _head(table: Table, gap: str) -> list[str]:
    names = [c.name for c in table.paper.columns]
    ours = [f"{name}{gap}ours, {table.profile}" for name in names]
    return ["Method", *ours, *(f"{name}{gap}published" for name in names)]


def _cells(table: Table, line: Line, bold: str) -> list[str]:
    names = [c.name for c in table.paper.columns]
    decimals = table.paper.decimals
    label = f"{line.label} [ours]" if line.ours else line.label
    return [
        label,
        *(_measured(line.measured[name], decimals, bold) for name in names),
        *(_printed(line.printed[name], decimals, bold) for name in names),
    ]


def _measured(cell: Measured, decimals: int, bold: str) -> str:
    if cell.n == 0:
        return MISSING
    if cell.mean is None:
        return EMPTY
    sd = "" if cell.sd is None else f" ± {100 * cell.sd:.{decimals}f}"
    count = f"{cell.n}" if cell.n >= cell.expected else f"{cell.n} of {cell.expected}"
    text = f"{100 * cell.mean:.{decimals}f}{sd} ({count})"
    return bold.format(text) if cell.best else text


def _printed(cell: Printed, decimals: int, bold: str) -> str:
    if cell.number is None:
        return EMPTY
    text = cell.number.text(decimals)
    return (OTHER if cell.other else "") + (bold.format(text) if cell.best else text)
