"""What the formats that people read have in common: a table's title, heads and cells as texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.results.footnotes import EMPTY, MISSING, OTHER
from harness.results.leaderboard import Line, Measured, Part, Printed, Table

BUDGET = ("batches", "images seen", "generated")


def title(table: Table) -> str:
    """The table's name, and whose numbers ours are."""
    return f"{table.paper.title} [ours: profile {table.profile}]"


def lines(table: Table, part: Part) -> Iterator[Line]:
    """Those with something in the columns that are shown."""
    return (line for line in part.lines if table.columns != "paper" or not line.ours)


def label(line: Line) -> str:
    """A row's name; rows that nobody published are marked."""
    return f"{line.label} [ours]" if line.ours else line.label


def under(table: Table) -> list[str]:
    """What stands below a column's name: of a table without published numbers, ours alone."""
    ours, published = [f"ours, {table.profile}"], ["published"]
    if not table.paper.compared or table.columns == "ours":
        return ours
    if table.columns == "paper":
        return published
    return [*ours, *published, *(["diff"] if table.comparable else [])]


def head(table: Table, gap: str) -> list[str]:
    """One text per column; gap: between the column's name and what stands below it."""
    names = [c.name for c in table.paper.columns]
    cells = [f"{name}{gap}{text}" for name in names for text in under(table)]
    return ["Method", *cells, *budget_head(table)]


def budget_head(table: Table) -> tuple[str, ...]:
    return BUDGET if table.budgeted else ()


def cells(table: Table, line: Line, bold: Callable[[str], str]) -> list[str]:
    """The texts of a line, as many as `head` has; bold: marks the best of a column."""
    decimals, texts = table.paper.decimals, [label(line)]
    shown = under(table)
    for column in table.paper.columns:
        difference = line.difference(column.name)
        of_column = {
            shown[0]: measured(line.measured[column.name], decimals, bold),
            "published": printed(line.printed[column.name], decimals, bold),
            "diff": EMPTY if difference is None else f"{difference:+.{decimals}f}",
        }
        texts += [of_column[name] for name in shown]
    return texts + budget_cells(table, line)


def budget_cells(table: Table, line: Line) -> list[str]:
    if not table.budgeted:
        return []
    numbers = (None,) * len(BUDGET) if line.budget is None else line.budget.numbers
    return [EMPTY if number is None else f"{number:,}" for number in numbers]


def measured(cell: Measured, decimals: int, bold: Callable[[str], str]) -> str:
    """Mean ± sd (seeds), in percent; a mark where there is no run, or nothing to measure."""
    if cell.n == 0:
        return MISSING
    if cell.mean is None:
        return EMPTY
    sd = "" if cell.sd is None else f" ± {100 * cell.sd:.{decimals}f}"
    count = f"{cell.n}" if cell.n >= cell.expected else f"{cell.n} of {cell.expected}"
    text = f"{100 * cell.mean:.{decimals}f}{sd} ({count})"
    return bold(text) if cell.best else text


def printed(cell: Printed, decimals: int, bold: Callable[[str], str]) -> str:
    """A published number as it was printed, marked where it is grouped by another rule."""
    if cell.number is None:
        return EMPTY
    text = cell.number.text(decimals)
    return (OTHER if cell.other else "") + (bold(text) if cell.best else text)
