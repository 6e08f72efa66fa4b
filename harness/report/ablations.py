"""Ablations: results by the value of one argument of a method's term, everything else equal."""

from __future__ import annotations

from collections.abc import Sequence

from harness.methods.compose import argument
from harness.methods.spectra import FILTERS
from harness.report.boards import of_methods
from harness.report.figures import Figure, Value, beside, colour, symbol
from harness.results.leaderboard import Part, Record, Table

Points = dict[str, list[tuple[float | None, float, float | None]]]  # by column: value, %, sd
Families = dict[str, dict[str, float | None]]
DOTTED = "Dotted: the recipe's own amount."
ARGUMENTS = {  # of terms, with what stands below the chart
    "threshold": ("CLIPScore threshold", "Results by the CLIPScore from which images are used"),
    "scale": (
        "synthetic images (of a control: real ones) per real hard one",
        "Results by the amount of synthetic data",
    ),
}


def ablations(
    name: str,
    table: Table,
    records: Sequence[Record],
    defaults: tuple[float | None, float | None],
    which: str,
) -> list[Figure]:
    """A chart per block and method of which two or more values of the argument have results.

    Ours and the published numbers of one method share their axes. defaults: the argument's value
    where an expression does not say, ours and the paper's; None: such runs are lines across,
    because what they amount to depends on the data.
    """
    ours = _families({str(r["method"]) for r in records}, table, table.profile, which, defaults[0])
    methods = {line.method for part in table.parts for line in part.lines}
    printed = _families(methods, table, "paper", which, defaults[1])
    figures: list[Figure] = []
    for rest in dict.fromkeys([*ours, *printed]):
        members = ours.get(rest, {})
        leaderboard = of_methods(table, list(members), records)
        for part, published in zip(leaderboard.parts, table.parts, strict=True):
            by_person = {
                f"ours, {table.profile}": _measured(part, members),
                "published": _printed(published, printed.get(rest, {})),
            }
            shown = {person: points for person, points in by_person.items() if _varies(points)}
            if shown:
                title = f"{ARGUMENTS[which][1]}: {rest}, {part.block.title}"
                note = beside(table.profile) if len(shown) > 1 else ""
                figures.append(_figure(f"{name}-{len(figures)}", title, which, shown, note))
    return figures


def _families(
    methods: set[str], table: Table, profile: str, which: str, default: float | None
) -> Families:
    """Expressions and their values, by what they have in common; only those with more than one."""
    dataset = table.paper.dataset
    families: Families = {}
    for method in sorted(methods):
        family = argument(method, which, dataset, profile)
        if family is not None:
            rest, value = family
            value = default if value is None else value
            if which == "threshold":
                rest, value = _stepped(rest, value, dataset, profile)
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


def _measured(part: Part, members: dict[str, float | None]) -> Points:
    by_column: Points = {}
    for line in part.lines:
        for column, cell in line.measured.items():
            if cell.mean is not None:
                sd = None if cell.sd is None else round(100 * cell.sd, 3)
                point = (members[line.method], round(100 * cell.mean, 3), sd)
                by_column.setdefault(column, []).append(point)
    return by_column


def _printed(part: Part, members: dict[str, float | None]) -> Points:
    by_column: Points = {}
    for line in part.lines:
        value = members.get(line.method)
        for column, cell in line.printed.items():
            if value is not None and cell.number is not None:
                point = (value, cell.number.value, cell.number.sd)
                by_column.setdefault(column, []).append(point)
    return by_column


def _varies(points: Points) -> bool:
    """Whether two or more values have results."""
    return len({x for some in points.values() for x, _, _ in some if x is not None}) > 1


def _figure(name: str, title: str, which: str, by_person: dict[str, Points], note: str) -> Figure:
    """Lines by column, ours solid with filled dots, published ones dashed with hollow ones."""
    columns = list(dict.fromkeys(c for points in by_person.values() for c in points))
    rows: list[tuple[Value, ...]] = []
    series = []
    for person, points in by_person.items():
        for column, some in points.items():
            i, label = columns.index(column), f"{column}, {person}"
            look = {"colour": colour(i), "symbol": symbol(i), "hollow": person == "published"}
            series.append({"name": label, **look})
            known = sorted(p for p in some if p[0] is not None)
            rows += [(label, *p) for p in (*known, *(p for p in some if p[0] is None))]
    across = any(row[1] is None for row in rows)
    caption = f"{DOTTED * across} {note}".strip()
    unit = ARGUMENTS[which][0]
    drawn = {"x": unit, "y": "%", "series": series}
    return Figure(name, title, "lines", ("Numbers", unit, "%", "± sd"), rows, caption, drawn)
