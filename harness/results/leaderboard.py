"""Our results beside the published ones: one structure, which harness.results.tables prints.

Imports neither torch nor polars: a table is on the screen in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.metrics import rule_named
from harness.results import budget, footnotes, published
from harness.results.budget import UNKNOWN, Budget, Budgets
from harness.results.footnotes import EMPTY as EMPTY
from harness.results.footnotes import MISSING as MISSING
from harness.results.footnotes import OTHER as OTHER
from harness.results.footnotes import PROFILE_TEXTS as PROFILE_TEXTS
from harness.results.measures import NoSuchClasses, accuracy, score
from harness.results.published_table import Block, Number, Paper
from harness.results.records import SELECTIONS
from harness.results.same_recipe import check_same, of_table, run_name
from harness.results.statistics import mean_sd

Record = Mapping[str, Any]
COLUMNS = ("ours", "paper", "both")  # whose numbers a table shows


@dataclass(frozen=True)
class Measured:
    """Mean over seeds, a fraction; sd with n - 1, None for one seed; mean None: nothing there."""

    mean: float | None
    sd: float | None
    n: int
    expected: int
    best: bool = False
    by_seed: Mapping[int, float | None] = field(default_factory=dict)  # the fractions behind it

    @property
    def whole(self) -> float | None:
        """The mean, unless seeds are to come."""
        return self.mean if self.n >= self.expected else None


@dataclass(frozen=True)
class Printed:
    """A published number; None where there is none. `other`: not by the rule shown.

    target: False for numbers known to be wrong.
    """

    number: Number | None
    other: bool = False
    best: bool = False
    target: bool = True


@dataclass(frozen=True)
class Line:
    method: str
    label: str
    ours: bool
    measured: dict[str, Measured]  # by column
    printed: dict[str, Printed]
    budget: Budget | None = None

    def difference(self, column: str) -> float | None:
        """Ours minus the published number, in points; None where the two are not of one kind."""
        ours, printed = self.measured[column].whole, self.printed[column]
        if ours is None or printed.number is None or printed.other or not printed.target:
            return None
        return 100 * ours - printed.number.value


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
    backbone: str | None = None  # of our runs; None without runs
    width: int | None = None
    seeds: tuple[int, ...] = ()
    versions: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of what the runs used
    budgeted: bool = False  # whether people are shown the budgets of its lines
    columns: str = "both"  # of COLUMNS

    @property
    def comparable(self) -> bool:
        """Whether ours less the published numbers means something: on the paper's data alone."""
        return self.profile == "paper" and self.paper.compared


# ---------------------------------------------------------------- the structure


def table(
    paper: Path | Paper,
    records: Iterable[Record],
    profile: str,
    rule: str = "A",
    select: str = "last",
    notes: Sequence[str] = (),
    planned: Budgets | None = None,
) -> Table:
    """The published rows in their order, with our runs of `profile` beside them.

    notes: on where the records come from; they stand first under the table. planned: what rows
    without records would take, where the table is to show what each row takes.
    `rule`: how classes are grouped (harness.core.metrics.RULES); `select`: which epoch of each run.
    DataError when runs that differ in more than method and seed would share a table.
    """
    rule_named(rule)
    registry.one_of("selection", select, SELECTIONS)
    if isinstance(paper, Path):
        paper = published.read(paper)
    if paper.kind == "pool":
        raise UsageError(f"{paper.file} counts synthetic images; `harness hard` prints it")
    here = [r for r in records if (r["profile"], r["dataset"]) == (profile, paper.dataset)]
    used = of_table(paper, here)
    check_same(used)
    seeds = tuple(sorted({r["seed"] for r in used}))
    runs: dict[tuple[str, int | None], list[Record]] = {}
    for r in used:
        runs.setdefault((r["method"], r["imbalance"]), []).append(r)
    recipe = used[0]["spec"]["recipe"] if used else {"backbone": None, "width": None}
    budgets = _budgets(here, planned or {})
    return Table(
        paper,
        profile,
        rule,
        select,
        tuple(
            _with_budgets(_part(paper, b, runs, rule, select, len(seeds)), budgets)
            for b in paper.blocks
        ),
        (
            *notes,
            *footnotes.notes(paper, used, len(here) - len(used), profile, rule, select, budgets),
        ),
        backbone=recipe["backbone"],
        width=recipe["width"],
        seeds=seeds,
        versions=footnotes.versions(used),
        budgeted=planned is not None,
    )


def _budgets(records: Iterable[Record], planned: Budgets) -> Budgets:
    """What stands behind rows: by their records, else by the plan."""
    recorded = budget.of_records(records)
    return {
        name: recorded.get(name, UNKNOWN).or_else(planned.get(name, UNKNOWN))
        for name in {**planned, **recorded}
    }


def _with_budgets(part: Part, budgets: Budgets) -> Part:
    imbalance = part.block.imbalance
    of = {line.method: budgets.get((line.method, imbalance)) for line in part.lines}
    return replace(part, lines=tuple(replace(line, budget=of[line.method]) for line in part.lines))


def _part(
    paper: Paper,
    block: Block,
    runs: Mapping[tuple[str, int | None], list[Record]],
    rule: str,
    select: str,
    seeds: int,
) -> Part:
    lines = []
    for row in paper.rows:
        own = runs.get((row.method, block.imbalance), [])
        base = runs.get((row.over, block.imbalance), []) if row.over is not None else None
        cells = row.cells.get(block.key)
        measured, printed = {}, {}
        for c in paper.columns:
            path = c.path.format(rule=rule)
            values = (
                {r["seed"]: number_at(r, path, select) for r in own}
                if base is None
                else _gains(own, base, path, select)
            )
            measured[c.name] = _measured(values, seeds)
            if base is None and _same_run(own):
                measured[c.name] = replace(measured[c.name], sd=None)
            other = c.by_rule and cells is not None and cells.grouped_by != rule
            number = cells.numbers.get(c.name) if cells else None
            target = cells.target if cells else True
            printed[c.name] = Printed(number, other, target=target)
        lines.append(Line(row.method, row.label, row.ours, measured, printed))
    for c in paper.columns:
        rules = {row.cells[block.key].grouped_by for row in paper.rows if block.key in row.cells}
        lines = mark(lines, c.name, comparable=not c.by_rule or len(rules) == 1)
    return Part(block, tuple(lines))


def _measured(values: Mapping[int, float | None], expected: int) -> Measured:
    """values: by seed."""
    known = [v for v in values.values() if v is not None]
    if not known or len(known) < len(values):
        return Measured(None, None, len(values), expected, by_seed=values)
    mean, sd = mean_sd(known)
    return Measured(mean, sd, len(values), expected, by_seed=values)


def _same_run(runs: Sequence[Record]) -> bool:
    """Whether seeds change nothing, because nothing is trained: every prediction is the same."""
    first = runs[0].get("predictions") if runs else None
    return len(runs) > 1 and bool(first) and all(r.get("predictions") == first for r in runs)


def _gains(
    runs: Sequence[Record], base: Sequence[Record], path: str, select: str
) -> dict[int, float | None]:
    """By each seed that both rows have: the gain on the k classes that the other row knows least.

    path: "worst.<k>"; "own_worst.<k>" takes of each row the k classes that it knows least itself.
    Classes are chosen on one half of the test images and scored on the other one, and the other way
    round; "naive_worst.<k>" and "naive_own_worst.<k>" choose and score on the same images.
    """
    others = {r["seed"]: r for r in base}
    pairs = [(r, others[r["seed"]]) for r in runs if r["seed"] in others]
    seeds = [r["seed"] for r, _ in pairs]
    if not pairs or any(select not in r["selection"] for pair in pairs for r in pair):
        return dict.fromkeys(seeds)
    own, chosen = "own_" in path, path.replace("own_", "")
    try:
        weakest = score(chosen, [b for _, b in pairs], select)
        weakest_of_own = score(chosen, [a for a, _ in pairs], select) if own else weakest
    except NoSuchClasses:  # the built-in world has fewer
        return dict.fromkeys(seeds)
    gains = (accuracy(a, weakest_of_own, select) - accuracy(b, weakest, select) for a, b in pairs)
    return dict(zip(seeds, gains, strict=True))


def number_at(r: Record, path: str, select: str) -> float | None:
    """The number at a dotted path in a record's metrics; None where it says that there is none.

    A run whose epochs nothing selects (its weights are merged) has no such number either.
    """
    if select not in r["selection"]:
        return None
    value: Any = r["selection"][select]
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise DataError(f"record of {run_name(r)}: no {path} in its metrics")
        value = value[name]
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= 1):
        raise DataError(
            f"record of {run_name(r)}: {path} is {value!r}, expected a number from 0 to 1"
        )
    return None if value is None else float(value)


def mark(lines: list[Line], column: str, comparable: bool) -> list[Line]:
    """Marks the best of a column, ours and published apart; runs with seeds to come do not vie."""
    ours = [line.measured[column].whole for line in lines]
    published_numbers = [line.printed[column].number if comparable else None for line in lines]
    top = max((v for v in ours if v is not None), default=None)
    top_printed = max((n.value for n in published_numbers if n is not None), default=None)
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
        for line, v, n in zip(lines, ours, published_numbers, strict=True)
    ]
