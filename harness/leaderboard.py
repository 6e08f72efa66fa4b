"""Our results beside the published ones: one structure, printed as text or Markdown.

Imports neither torch nor polars: a table is on the screen in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import published
from harness.metrics import RULES, groups, rule_named
from harness.published import Block, Number, Paper
from harness.statistics import mean_sd
from harness.types import DataError, UsageError

Record = Mapping[str, Any]

MISSING = "·"  # no run
EMPTY = "–"  # a run, but nothing to measure (a group without classes), or nothing published
OTHER = "†"  # grouped by another rule than the one shown

PROFILES = {
    "mini": "mini, the embedded world: small drawn images, not the real data set; compare these "
    "numbers with each other, never with the published ones",
    "smoke": "smoke, mini cut down to test the machinery; these numbers mean nothing",
    "paper": "paper, the real data set with the paper's hyper-parameters",
}


@dataclass(frozen=True)
class Measured:
    """Mean over seeds, a fraction; sd with n - 1, None for one seed; mean None: nothing there."""

    mean: float | None
    sd: float | None
    n: int
    expected: int
    best: bool = False


@dataclass(frozen=True)
class Printed:
    """A published number; None where there is none. `other`: not by the rule shown."""

    number: Number | None
    other: bool = False
    best: bool = False


@dataclass(frozen=True)
class Line:
    method: str
    label: str
    ours: bool
    measured: dict[str, Measured]  # by column
    printed: dict[str, Printed]


@dataclass(frozen=True)
class Part:
    block: Block
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    paper: Paper
    profile: str
    rule: str
    select: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]


# ---------------------------------------------------------------- the structure


def table(
    paper: Path | Paper,
    records: Iterable[Record],
    profile: str,
    rule: str = "A",
    select: str = "last",
) -> Table:
    """The published rows in their order, with our runs of `profile` beside them.

    `rule`: how classes are grouped (harness.metrics.RULES); `select`: which epoch of each run.
    DataError when runs that differ in more than method and seed would share a table.
    """
    rule_named(rule)
    if isinstance(paper, Path):
        paper = published.read(paper)
    if paper.kind != "runs":
        raise UsageError(f"{paper.file} holds {paper.kind}, no runs; it has no leaderboard")
    here = [r for r in records if (r["profile"], r["dataset"]) == (profile, paper.dataset)]
    used = _of_table(paper, here)
    _check_same(used)
    seeds = len({r["seed"] for r in used})
    parts = tuple(_part(paper, b, used, rule, select, seeds) for b in paper.blocks)
    notes = tuple(_notes(paper, used, len(here) - len(used), profile, rule, select))
    return Table(paper, profile, rule, select, parts, notes)


def _of_table(paper: Paper, records: Sequence[Record]) -> list[Record]:
    methods = {row.method for row in paper.rows}
    ratios = {block.imbalance for block in paper.blocks}
    return [
        r
        for r in records
        if r["method"] in methods
        and r["imbalance"] in ratios
        and paper.backbone in (None, r["backbone"])
    ]


def _check_same(records: Sequence[Record]) -> None:
    """Same recipe for all runs, same images for all of one imbalance, each run once."""
    first: dict[Any, Record] = {}
    seen = set()
    for r in records:
        for name in _recipe(r):
            _compare(first.setdefault(name, r), r, _recipe)
        _compare(first.setdefault(("index", r["imbalance"]), r), r, _index)
        if _run(r) in seen:
            raise DataError(f"two records of {_run(r)}, expected one")
        seen.add(_run(r))


def _compare(one: Record, other: Record, part: Any) -> None:
    a, b = part(one), part(other)
    differing = [name for name in sorted(a.keys() & b.keys()) if a[name] != b[name]]
    if differing:
        name = differing[0]
        raise DataError(
            f"records of {_run(one)} and {_run(other)} differ in {name} ({a.get(name)} and "
            f"{b.get(name)}), expected the same in one table: run the older one again"
        )


def _recipe(r: Record) -> dict[str, Any]:
    """What the run read of its recipe."""
    return {k: v for k, v in r["spec"]["recipe"].items() if v is not None}


def _index(r: Record) -> dict[str, Any]:
    return {"training images (index)": r["spec"]["index"], "counts": r["counts"]}


def _run(r: Record) -> str:
    ratio = "" if r["imbalance"] is None else f", imbalance {r['imbalance']}"
    return f"{r['method']}{ratio}, seed {r['seed']}"


def _part(
    paper: Paper, block: Block, records: Sequence[Record], rule: str, select: str, seeds: int
) -> Part:
    lines = []
    for row in paper.rows:
        runs = [
            r for r in records if (r["method"], r["imbalance"]) == (row.method, block.imbalance)
        ]
        cells = row.cells.get(block.key)
        measured, printed = {}, {}
        for c in paper.columns:
            measured[c.name] = _measured(runs, c.path.format(rule=rule), select, seeds)
            other = c.by_rule and cells is not None and cells.grouped_by != rule
            printed[c.name] = Printed(cells.numbers[c.name] if cells else None, other)
        lines.append(Line(row.method, row.label, row.ours, measured, printed))
    for c in paper.columns:
        rules = {row.cells[block.key].grouped_by for row in paper.rows if block.key in row.cells}
        lines = _mark(lines, c.name, comparable=not c.by_rule or len(rules) == 1)
    return Part(block, tuple(lines))


def _measured(runs: Sequence[Record], path: str, select: str, expected: int) -> Measured:
    values = [_at(r, path, select) for r in runs]
    if not values or any(v is None for v in values):
        return Measured(None, None, len(values), expected)
    mean, sd = mean_sd([v for v in values if v is not None])
    return Measured(mean, sd, len(values), expected)


def _at(r: Record, path: str, select: str) -> float | None:
    """The number at a dotted path in a record's metrics, or None where the record says so."""
    if select not in r["selection"]:
        raise UsageError(
            f"no selection {select!r} in the record of {_run(r)}; there are "
            f"{', '.join(sorted(r['selection']))}"
        )
    value: Any = r["selection"][select]
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise DataError(f"record of {_run(r)}: no {path} in its metrics")
        value = value[name]
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= 1):
        raise DataError(f"record of {_run(r)}: {path} is {value!r}, expected a number from 0 to 1")
    return None if value is None else float(value)


def _mark(lines: list[Line], column: str, comparable: bool) -> list[Line]:
    """Marks the best of a column, ours and published apart; runs with seeds to come do not vie."""
    ours = [_complete(line.measured[column]) for line in lines]
    theirs = [line.printed[column].number if comparable else None for line in lines]
    top = max((v for v in ours if v is not None), default=None)
    top_printed = max((n.value for n in theirs if n is not None), default=None)
    return [
        replace(
            line,
            measured={
                **line.measured,
                column: replace(line.measured[column], best=v is not None and v == top),
            },
            printed={
                **line.printed,
                column: replace(
                    line.printed[column], best=n is not None and n.value == top_printed
                ),
            },
        )
        for line, v, n in zip(lines, ours, theirs, strict=True)
    ]


def _complete(m: Measured) -> float | None:
    return m.mean if m.n >= m.expected else None


# ---------------------------------------------------------------- what stands under it


def _notes(
    paper: Paper, used: Sequence[Record], unlisted: int, profile: str, rule: str, select: str
) -> Iterable[str]:
    yield f"Ours: profile {PROFILES.get(profile, profile)}."
    yield f"Published: {paper.source}."
    yield (
        f"Number: {paper.metric}, percent; ours as mean ± sample standard deviation (number of "
        f"seeds). {MISSING} no run yet; {EMPTY} nothing there. * best of its column; rows marked "
        "[ours] were never published."
    )
    if any(c.by_rule for c in paper.columns):
        yield f"Groups: rule {rule}, training images per class {RULES[rule].says}."
    yield f"Selection: {select} epoch{' (chosen on the test set)' * (select == 'oracle')}."
    yield from _notes_on_runs(paper, used, rule)
    if unlisted:
        yield f"{unlisted} more records of this profile and data set are not rows of this table."
    yield from _notes_on_groupings(paper, rule)
    yield from _notes_on_v1(paper)
    yield from paper.caveats


def _notes_on_runs(paper: Paper, used: Sequence[Record], rule: str) -> Iterable[str]:
    if not used:
        return
    recipe = used[0]["spec"]["recipe"]
    seeds = ", ".join(str(s) for s in sorted({r["seed"] for r in used}))
    yield f"Backbone: {recipe['backbone']}, width {recipe['width']}. Seeds: {seeds}."
    for block in paper.blocks:
        counts = next((r["counts"] for r in used if r["imbalance"] == block.imbalance), None)
        if counts is not None and any(c.by_rule for c in paper.columns):
            sizes = "/".join(str(len(g)) for g in groups(counts, rule))
            yield f"Classes per group in our data, {block.title}: {sizes}."
    found: dict[str, set[str]] = {}
    for r in used:
        for name, number in r["versions"].items():
            found.setdefault(name, set()).add(number)
    listed = (f"{name} {' and '.join(sorted(found[name]))}" for name in sorted(found))
    yield f"Versions: {', '.join(listed)}."


def _notes_on_groupings(paper: Paper, rule: str) -> Iterable[str]:
    if not any(c.by_rule for c in paper.columns):
        return
    for block in paper.blocks:
        by: dict[str, list[str]] = {}
        for row in paper.rows:
            if block.key in row.cells:
                by.setdefault(str(row.cells[block.key].grouped_by), []).append(row.label)
        for name, labels in by.items():
            if name != rule:
                says = paper.groupings.get(name) or f"rule {name}, {RULES[name].says}"
                yield f"{OTHER} {block.title}, {', '.join(labels)}: published groups by {says}."


def _notes_on_v1(paper: Paper) -> Iterable[str]:
    for row in paper.rows:
        for block in paper.blocks:
            cells = row.cells.get(block.key)
            if cells and cells.v1:
                listed = (
                    f"{c} {n.text(paper.decimals)} (here {cells.numbers[c].text(paper.decimals)})"
                    for c, n in cells.v1.items()
                )
                yield f"Version 1 of the paper, {block.title}, {row.label}: {', '.join(listed)}."
            if cells and cells.note:
                yield f"{row.label}, {block.title}: {cells.note}"
