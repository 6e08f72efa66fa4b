"""Leaderboards as the page prints them: cells with their text and what they are sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.results import leaderboard, published
from harness.results.leaderboard import (
    EMPTY,
    MISSING,
    OTHER,
    Line,
    Measured,
    Part,
    Printed,
    Record,
    Table,
)
from harness.results.own_rows import leaderboard_of
from harness.results.published_table import Row

FURTHER = "Runs that are in no published table"


@dataclass(frozen=True)
class Cell:
    """`value`: what the column is sorted by; None stays at the end. `says`: for the pointer."""

    text: str
    value: float | None
    sd: str = ""
    best: bool = False
    ours: bool = True
    says: str = ""


@dataclass(frozen=True)
class Entry:
    """A row of a grid; `seeds`: runs it averages, "2 of 3" where some are to come."""

    label: str
    method: str
    ours: bool
    seeds: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Board:
    """One table: its grids, one per block, and the notes under it."""

    id: str
    title: str
    metric: str
    columns: tuple[str, ...]
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    published: bool  # whether there are published numbers beside ours


def tables(
    dataset: str,
    records: Sequence[Record],
    profile: str,
    rule: str,
    select: str,
    folder: Path = published.FOLDER,
) -> list[Table]:
    """The data set's leaderboards: its main one, and others where something was run for them."""
    leaderboards = [
        leaderboard.table(file, records, profile, rule, select)
        for file in published.showing(dataset, folder=folder)
    ]
    if not leaderboards:  # nobody published a table of it: a leaderboard of what was run
        leaderboards = _own(dataset, records, profile, rule, select)
    return [
        leaderboards[0],
        *(t for t in leaderboards[1:] if any(_ran(line) for p in t.parts for line in p.lines)),
    ]


def _own(
    dataset: str, records: Sequence[Record], profile: str, rule: str, select: str
) -> list[Table]:
    """A leaderboard of what was run with each backbone; an empty one where nothing was."""
    backbones: list[str | None] = sorted({r["backbone"] for r in records}) or [None]
    leaderboards = []
    for backbone in backbones:
        runs = [r for r in records if r["backbone"] == backbone]
        methods = sorted({r["method"] for r in runs})
        ratios = sorted({r["imbalance"] for r in runs}, key=lambda ratio: ratio or 0)
        own = leaderboard_of(dataset, methods, ratios or [None], backbone)
        if len(backbones) > 1:
            own = replace(own, title=f"{own.title}, {backbone}")
        leaderboards.append(leaderboard.table(own, records, profile, rule, select))
    return leaderboards


def further(shown: Sequence[Table], records: Sequence[Record]) -> list[Table]:
    """Methods that were run with a backbone and are rows of none of its tables.

    A leaderboard in the form of the first table for each such backbone, the first table's before
    the others.
    """
    first = shown[0]
    backbones = sorted({str(r["backbone"]) for r in records})
    backbones.sort(key=lambda name: name != first.paper.backbone)
    boards = []
    for backbone in backbones:
        tables = [t for t in shown if t.paper.backbone in (None, backbone)]
        listed = {line.method for t in tables for part in t.parts for line in part.lines}
        runs = [r for r in records if r["backbone"] == backbone]
        others = sorted({str(r["method"]) for r in runs} - listed)
        if others:
            boards.append(of_methods(first, others, runs, backbone))
    return boards


def of_methods(
    like: Table, methods: Sequence[str], records: Sequence[Record], backbone: str | None = None
) -> Table:
    """A leaderboard with the columns and blocks of another and these rows, all of them ours.

    backbone: of its runs; default: that of the other leaderboard.
    """
    rows = tuple(Row(method, method, True, {}) for method in methods)
    paper = replace(like.paper, rows=rows, title=FURTHER, caveats=())
    if backbone not in (None, paper.backbone):
        paper = replace(paper, title=f"{FURTHER}, {backbone}", backbone=backbone)
    return leaderboard.table(paper, records, like.profile, like.rule, like.select)


def _ran(line: Line) -> bool:
    return any(m.n for m in line.measured.values())


def board(table: Table, name: str) -> Board:
    """A leaderboard for the page; name: of its place in the page."""
    paper = table.paper
    beside = paper.compared
    return Board(
        id=name,
        title=paper.title,
        metric=paper.metric,
        columns=tuple(c.name for c in paper.columns),
        grids=tuple(_grid(table, part, beside) for part in table.parts),
        notes=table.notes,
        published=beside,
    )


def _grid(table: Table, part: Part, beside: bool) -> Grid:
    return Grid(part.block.title, tuple(_entry(table, line, beside) for line in part.lines))


def _entry(table: Table, line: Line, beside: bool) -> Entry:
    decimals = table.paper.decimals
    cells: list[Cell] = []
    for column in table.paper.columns:
        cells.append(_measured(line.measured[column.name], decimals))
        if beside:
            cells.append(_printed(line.printed[column.name], decimals))
    runs = max((m.n for m in line.measured.values()), default=0)
    expected = max((m.expected for m in line.measured.values()), default=0)
    seeds = MISSING if not runs else str(runs) if runs >= expected else f"{runs} of {expected}"
    return Entry(line.label, line.method, line.ours, seeds, tuple(cells))


def _measured(cell: Measured, decimals: int) -> Cell:
    if cell.n == 0:
        return Cell(MISSING, None, says="no run yet")
    if cell.mean is None:
        return Cell(EMPTY, None, says="a run, but nothing to measure")
    sd = "" if cell.sd is None else f"{100 * cell.sd:.{decimals}f}"
    return Cell(f"{100 * cell.mean:.{decimals}f}", cell.mean, sd, cell.best)


def _printed(cell: Printed, decimals: int) -> Cell:
    if cell.number is None:
        return Cell(EMPTY, None, ours=False, says="not published")
    sd = "" if cell.number.sd is None else f"{cell.number.sd:.{decimals}f}"
    mark = OTHER if cell.other else ""
    says = "grouped by another rule: see the notes" if cell.other else ""
    number = f"{mark}{cell.number.value:.{decimals}f}"
    return Cell(number, cell.number.value, sd, cell.best, False, says)
