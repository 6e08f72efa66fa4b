"""Ablations: results by the value of one argument of a method's term, everything else equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.methods.compose import argument
from harness.methods.spectra import FILTERS
from harness.report.boards import of_methods
from harness.report.figures import Figure, axis, colour, symbol, text
from harness.results.leaderboard import Part, Record, Table

Points = dict[str, list[tuple[float, float, float | None]]]  # by column: value, percent, sd
ARGUMENTS = {  # of terms, with what stands below the chart
    "threshold": ("CLIPScore threshold", "Results by the CLIPScore from which images are used"),
    "scale": (
        "synthetic images (of a control: real ones) per real hard one",
        "Results by the amount of synthetic data",
    ),
}


def ablations(
    name: str, table: Table, records: Sequence[Record], default: float | None, which: str
) -> list[Figure]:
    """A chart per block and method of which two or more values of the argument were run.

    default: the argument's value where an expression does not say; None: such runs are lines
    across, because what they amount to depends on the data.
    """
    methods = {str(r["method"]) for r in records}
    families = _families(methods, table.paper.dataset, table.profile, which, default)
    figures: list[Figure] = []
    for rest, members in families.items():
        leaderboard = of_methods(table, list(members), records)
        for part in leaderboard.parts:
            points = _measured(leaderboard, part, members, default)
            label = f"{rest}, {part.block.title}, ours, {table.profile}"
            figures += _figure(f"{name}-{len(figures)}", which, label, points)
    return figures


def published(name: str, table: Table, default: float | None, which: str) -> list[Figure]:
    """The same from the published numbers of a table."""
    methods = {line.method for part in table.parts for line in part.lines}
    families = _families(methods, table.paper.dataset, "paper", which, default)
    figures: list[Figure] = []
    for rest, members in families.items():
        for part in table.parts:
            by_column: Points = {}
            for line in part.lines:
                value = members.get(line.method)
                value = default if value is None else value
                if line.method not in members or value is None:
                    continue
                for column, printed in line.printed.items():
                    if printed.number is not None:
                        point = (value, printed.number.value, printed.number.sd)
                        by_column.setdefault(column, []).append(point)
            label = f"{rest}, {part.block.title}, published"
            figures += _figure(f"{name}-{len(figures)}", which, label, by_column)
    return figures


def _families(
    methods: set[str], dataset: str | None, profile: str, which: str, default: float | None
) -> dict[str, dict[str, float | None]]:
    """Expressions and their values, by what they have in common; only those with more than one."""
    families: dict[str, dict[str, float | None]] = {}
    for method in sorted(methods):
        family = argument(method, which, dataset, profile)
        if family is not None:
            rest, value = family
            if which == "threshold":
                rest, value = _stepped(rest, default if value is None else value, dataset, profile)
            families.setdefault(rest, {})[method] = value
    return {rest: members for rest, members in families.items() if len(members) > 1}


def _stepped(
    rest: str, value: float | None, dataset: str | None, profile: str
) -> tuple[str, float | None]:
    """The expression without `filter` and `step`, and the threshold that these make of a value."""
    filtered = argument(rest, "filter", dataset, profile)
    if filtered is None or value is None:
        return rest, value
    rest, name = filtered
    stepped = argument(rest, "step", dataset, profile)
    if stepped is None:
        return rest, value
    return stepped[0], round(value + FILTERS[name] * stepped[1], 6)


def _measured(
    leaderboard: Table, part: Part, members: dict[str, float | None], default: float | None
) -> Points:
    by_column: Points = {}
    for line in part.lines:
        value = members[line.method]
        value = default if value is None else value
        for column, cell in line.measured.items():
            if cell.mean is not None:
                sd = None if cell.sd is None else round(100 * cell.sd, 3)
                at = float("nan") if value is None else value
                by_column.setdefault(column, []).append((at, round(100 * cell.mean, 3), sd))
    return by_column


def _figure(name: str, which: str, label: str, by_column: Points) -> list[Figure]:
    """None where fewer than two values have results."""
    values = {x for points in by_column.values() for x, _, _ in points if x == x}
    if len(values) < 2:
        return []
    unit, title = ARGUMENTS[which]
    data: list[dict[str, Any]] = []
    for i, (column, points) in enumerate(by_column.items()):
        known = sorted(p for p in points if p[0] == p[0])
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": text(column),
                "x": [x for x, _, _ in known],
                "y": [y for _, y, _ in known],
                "error_y": {"array": [sd for _, _, sd in known], "thickness": 1, "width": 3},
                "line": {"color": colour(i)},
                "marker": {"color": colour(i), "symbol": symbol(i), "size": 8},
            }
        )
        data += [_across(y, values, column, colour(i)) for x, y, _ in points if x != x]
    caption = label
    if any(x != x for points in by_column.values() for x, _, _ in points):
        caption += "; dotted: the recipe's own amount"
    layout = {"xaxis": axis(unit), "yaxis": axis("%")}
    return [Figure(name, title, f"{caption}.", data, layout, 360)]


def _across(y: float, values: set[float], column: str, shade: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{text(column)}, the recipe's amount",
        "showlegend": False,
        "x": [min(values), max(values)],
        "y": [y, y],
        "line": {"color": shade, "dash": "dot", "width": 1},
    }
