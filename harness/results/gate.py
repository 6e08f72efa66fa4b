"""The gate: do the results keep up with golden numbers, does the code do what it did?

Cells are judged by statistics: a mean may lie from golden's as far as repeated training of the same
code does, with an error rate for the whole check (ALPHA). What a run does, apart from how well, is
judged by its fingerprint. In the mode "exact" keys and numbers have to be equal, which they are on
one machine with one version alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import UsageError
from harness.methods.compose import compose
from harness.results import fingerprints, golden, spread
from harness.results.fingerprints import Deviation
from harness.results.golden import ALL_ROWS, Cell, Golden, Row
from harness.results.spread import Spread

ALPHA = 0.002  # of a whole check of unchanged code: the rate of false alarms it is made for
SLOWER = 0.8  # of golden's ratio to the stock pipeline
MODES = ("statistical", "exact")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One cell that moved by more than its tolerance; fractions."""

    row: str
    path: str
    before: float
    now: float
    sd: float  # of one run
    tolerance: float

    @property
    def fell(self) -> bool:
        return self.now < self.before


@dataclass(frozen=True)
class Other:
    """A row whose first run does something else than golden's."""

    row: str
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class Speed:
    """The engine's images/s over those of the stock pipeline, in one run; None: not measured."""

    before: float | None = None
    now: float | None = None
    where: str | None = None  # how `now` was measured

    @property
    def slower(self) -> bool:
        return self.before is not None and self.now is not None and self.now < SLOWER * self.before


@dataclass(frozen=True)
class Report:
    """What a check found; whatever is in `changes` to `outdated` fails it."""

    profile: str
    mode: str = "statistical"
    cells: int = 0  # compared
    changes: tuple[Change, ...] = ()
    behaviour: tuple[Other, ...] = ()
    gone: tuple[str, ...] = ()  # rows, seeds and numbers that golden has and the records have not
    stale: tuple[str, ...] = ()  # files that are not what the records say
    outdated: tuple[str, ...] = ()  # records of other parameters
    speed: Speed = field(default_factory=Speed)
    new: tuple[str, ...] = ()  # rows that golden does not have
    notes: tuple[str, ...] = ()
    # the drop that is caught with 90 % power, median over cells: of a row's, of all rows' mean
    detectable: float | None = None
    detectable_by_all: float | None = None

    @property
    def failures(self) -> int:
        lists = (self.changes, self.behaviour, self.gone, self.stale, self.outdated)
        return sum(map(len, lists)) + self.speed.slower


def judge(
    known: Golden,
    records: Sequence[Record],
    datasets: Sequence[str] = (),
    mode: str = "statistical",
    partial: bool = False,
) -> Report:
    """Records against golden numbers, of all data sets or of some.

    partial: rows and seeds without records are not missed. UsageError for an unknown mode.
    """
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}; available: {', '.join(MODES)}")
    now = _rows_now(known, records)
    runs = {(*golden.name_of(r), r["seed"]): r for r in records}
    before = [row for row in known.rows if not datasets or row.dataset in datasets]
    before = [row for row in before if not partial or row.name in now]
    alpha = ALPHA / 2 / max(1, sum(len(row.cells) for row in before))
    verdicts = []
    for row in before:
        first = runs.get((*row.name, row.seeds[0]))
        verdicts.append(_judge_row(row, now.get(row.name), first, alpha, mode, partial))
    listed = {row.name for row in known.rows}
    new = tuple(r.text() for n, r in now.items() if n not in listed and r.method != ALL_ROWS)
    of_all = [row.method == ALL_ROWS for row in before]
    return Report(
        known.profile,
        mode,
        cells=sum(v.cells for v in verdicts),
        changes=tuple(change for v in verdicts for change in v.changes),
        behaviour=tuple(v.other for v in verdicts if v.other is not None),
        gone=tuple(text for v in verdicts for text in v.gone),
        new=new,
        detectable=_median(verdicts, [not mean for mean in of_all], known),
        detectable_by_all=_median(verdicts, of_all, known),
    )


@dataclass(frozen=True)
class _Verdict:
    """Of one row; drops: that would be caught, by cell."""

    cells: int = 0
    changes: tuple[Change, ...] = ()
    gone: tuple[str, ...] = ()
    other: Other | None = None
    drops: tuple[float, ...] = ()


def _judge_row(
    row: Row, now: Row | None, first: Record | None, alpha: float, mode: str, partial: bool
) -> _Verdict:
    """A row of golden's against the present one; first: the run whose fingerprint is compared."""
    missing = _missing(row, now, partial)
    if missing or now is None:
        return _Verdict(gone=tuple(missing))
    known = {path: cell for path, cell in row.cells.items() if path in now.cells}
    compared = [_compare(row, now, path, cell, alpha, mode) for path, cell in known.items()]
    deviations = _deviations(row, first, mode)
    return _Verdict(
        len(row.cells),
        tuple(change for change, _ in compared if change is not None),
        tuple(f"{row.text()}: no {path}" for path in row.cells if path not in known),
        Other(row.text(), deviations) if deviations else None,
        tuple(drop for _, drop in compared),
    )


def _median(verdicts: Sequence[_Verdict], chosen: Sequence[bool], known: Golden) -> float | None:
    """Over the cells of the chosen rows: the drop that is caught with 90 % power."""
    pairs = zip(verdicts, chosen, strict=True)
    drops = sorted(drop for verdict, is_chosen in pairs if is_chosen for drop in verdict.drops)
    factor = float((known.calibration or {}).get("drop_factor", 1.0))
    return factor * drops[len(drops) // 2] if drops else None


def _rows_now(known: Golden, records: Sequence[Record]) -> dict[golden.Name, Row]:
    """The rows of records by name; means of all rows are over golden's rows, if all are there."""
    now = {row.name: row for row in golden.rows(records) if row.method != ALL_ROWS}
    for mean in (row for row in known.rows if row.method == ALL_ROWS):
        of = mean.name[:3]
        listed = {r.name for r in known.rows if r.name[:3] == of and r.method != ALL_ROWS}
        if listed <= now.keys():
            seeds = set.intersection(*(set(now[name].seeds) for name in listed))
            runs = [r for r in records if golden.name_of(r) in listed and r["seed"] in seeds]
            means = [r for r in golden.rows(runs, least=1) if r.method == ALL_ROWS]
            now |= {row.name: row for row in means if seeds & set(mean.seeds)}
    return now


def _missing(row: Row, now: Row | None, partial: bool) -> list[str]:
    if row.method == ALL_ROWS:
        return []
    if now is None:
        return [f"{row.text()}: no records"]
    lost = sorted(set(row.seeds) - set(now.seeds))
    if not lost or (partial and len(lost) < len(row.seeds)):
        return []
    return [f"{row.text()}: no record of seed {', '.join(map(str, lost))}"]


def _compare(
    before: Row, now: Row, path: str, cell: Cell, alpha: float, mode: str
) -> tuple[Change | None, float]:
    """A cell that moved by more than its tolerance, and the drop that would be caught."""
    values = dict(zip(now.seeds, now.cells[path].values, strict=True))
    seeds = [seed for seed in before.seeds if seed in values]
    new = math.fsum(values[seed] for seed in seeds) / len(seeds)
    if mode == "exact":
        pairs = dict(zip(before.seeds, cell.values, strict=True))
        old = math.fsum(pairs[seed] for seed in seeds) / len(seeds)
        same = all(values[seed] == pairs[seed] for seed in seeds)
        change = None if same else Change(before.text(), path, old, new, cell.sd, 0.0)
        return change, 0.0
    known = Spread(cell.sd, cell.df)
    allowed = spread.tolerance(known, cell.runs, len(seeds), alpha)
    drop = spread.detectable(known, cell.runs, len(seeds), alpha)
    if abs(new - cell.mean) <= allowed:
        return None, drop
    return Change(before.text(), path, cell.mean, new, cell.sd, allowed), drop


def _deviations(row: Row, record: Record | None, mode: str) -> tuple[Deviation, ...]:
    """What the first run does otherwise than golden's; nothing where golden does not know."""
    if row.fingerprint is None or record is None:
        return ()
    now = golden.fingerprint(record)
    if mode == "exact":
        key = record["key"][: golden.KEY_DIGITS]
        found = [*fingerprints.exact("key", row.keys[0], key)]
        found += fingerprints.exact("behaviour", row.fingerprint, now)
        return tuple(found)
    return fingerprints.deviations(row.fingerprint, now, *_nature(record))


def _nature(record: Record) -> tuple[bool, bool]:
    """Whether trained networks choose the images of the record's method, as those of an adaptive
    curriculum and ALIA's do, and whether its first batch or first weights follow from training.
    """
    try:
        method = compose(record["method"], record["dataset"], record["profile"])
    except UsageError:
        return True, True  # nobody can tell
    consults = method.reference is not None
    chosen = consults or bool(getattr(method.curriculum, "adaptive", False))
    return chosen, consults or method.finetune is not None


def false_alarms(known: Golden) -> Iterator[str]:
    """How the golden numbers were calibrated, in words."""
    about = known.calibration
    if about is None:
        yield (
            "Not calibrated: tolerances follow from the seeds alone; "
            f"`harness check --profile {known.profile} --calibrate` repeats the runs."
        )
        return
    yield (
        f"Calibrated on {about['runs']} runs of every row ({', '.join(about['arithmetic'])}); "
        f"false alarms in {about['checks']:,} simulated checks: {about['flagged']}, at most "
        f"{100 * about['rate_at_most']:.2f} % (95 %)."
    )
