"""The leaderboards of several reporters as one, each row marked with who reports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from harness.core.errors import DataError
from harness.results import leaderboard
from harness.results.leaderboard import Line, Part, Table
from harness.results.published_table import Paper
from harness.results.same_recipe import check_same, of_table

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ReportedLine(Line):
    """A line of a reporter (None: nobody's); its label says whose it is, `row` what it is."""

    row: str = ""
    reporter: str | None = None


def merged(
    paper: Paper,
    records: Mapping[str, Sequence[Record]],
    profile: str,
    rule: str = "A",
    select: str = "last",
    notes: Sequence[str] = (),
) -> Table:
    """One table of all reporters' records of a data set; its lines are ReportedLine.

    records: by reporter. A row stands once for each reporter with runs of it, best first by the
    last column; a row without runs stands once. notes: stand first under the table. DataError for
    records that differ in more than method, seed and reporter.
    """
    _check_together(paper, records)
    tables = {
        who: leaderboard.table(paper, some, profile, rule, select)
        for who, some in records.items()
        if of_table(paper, some)
    }
    first = next(iter(tables.values()), None) or leaderboard.table(paper, (), profile, rule, select)
    parts = tuple(
        _part(first.parts[i], {who: t.parts[i] for who, t in tables.items()}, paper)
        for i in range(len(first.parts))
    )
    own = dict.fromkeys(note for t in (first, *tables.values()) for note in t.notes)
    return replace(
        first,
        parts=parts,
        notes=(*notes, *own),
        seeds=tuple(sorted({seed for t in tables.values() for seed in t.seeds})),
        versions=_versions(tables.values()),
    )


def _check_together(paper: Paper, records: Mapping[str, Sequence[Record]]) -> None:
    """DataError unless all reporters' runs are of one recipe and the same images."""
    together = [
        {**record, "method": f"{record['method']} by {who}"}
        for who, some in records.items()
        for record in of_table(paper, some)
    ]
    try:
        check_same(together)
    except DataError as error:
        raise DataError(f"not one leaderboard: {error}") from None


def _part(first: Part, parts: Mapping[str, Part], paper: Paper) -> Part:
    lines: list[Line] = []
    last = paper.columns[-1].name
    for j, line in enumerate(first.lines):
        reported = [
            _reported(part.lines[j], who)
            for who, part in parts.items()
            if any(cell.n for cell in part.lines[j].measured.values())
        ]
        reported.sort(key=lambda some: -(some.measured[last].mean or 0.0))
        lines += reported or [_plain(line)]
    for column in paper.columns:
        comparable = any(line.printed[column.name].best for line in first.lines)
        lines = leaderboard.mark(lines, column.name, comparable=comparable)
    return replace(first, lines=tuple(lines))


def _reported(line: Line, who: str) -> ReportedLine:
    more = ", not published" if line.ours else ""
    label = f"{line.label} ({who}{more})"
    return _line(replace(line, label=label, ours=False), line.label, who)


def _plain(line: Line) -> ReportedLine:
    return _line(line, line.label, None)


def _line(line: Line, row: str, who: str | None) -> ReportedLine:
    content = {field.name: getattr(line, field.name) for field in fields(Line)}
    return ReportedLine(**content, row=row, reporter=who)


def _versions(tables: Any) -> dict[str, tuple[str, ...]]:
    every: dict[str, set[str]] = {}
    for table in tables:
        for name, numbers in table.versions.items():
            every.setdefault(name, set()).update(numbers)
    return {name: tuple(sorted(numbers)) for name, numbers in every.items()}
