"""What the difference of rows is worth: paired over seeds and test images, from records alone."""

from __future__ import annotations

import functools
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.metrics import GROUPS, RULES, groups
from harness.results import predictions
from harness.results.spread import Prior, Spread, moderated, priors
from harness.results.statistics import ROUNDING, crossed, holm

if TYPE_CHECKING:
    import numpy as np

    from harness.results.bootstrap import Score

Record = Mapping[str, Any]
DRAWS = 1000  # resamples of the test images


@dataclass(frozen=True)
class Difference:
    """A difference of rows, in the fractions of the metric (0.01 is a point).

    low, high: 95 % interval; p: two-sided, of no difference; corrected: p after Holm's correction
    for all comparisons that it was told of (None before). With one seed the interval holds the
    luck of the test images only. p is None where nothing varies: there is no interval then.
    error, df, between, shared: see statistics.Interval.
    """

    value: float
    low: float
    high: float
    p: float | None
    seeds: tuple[int, ...]
    images: int  # tested
    corrected: float | None = None
    error: float = 0.0
    df: float = math.inf
    between: float = 0.0
    shared: float = 0.0


def difference(
    a: Sequence[Record],
    b: Sequence[Record],
    path: str,
    select: str = "last",
    comparable: Sequence[Record] = (),
) -> Difference | None:
    """Row `a` minus row `b`: see `contrast`. Records of one method each, whatever their seeds."""
    return contrast([(1.0, a), (-1.0, b)], path, select, comparable)


def contrast(
    terms: Sequence[tuple[float, Sequence[Record]]],
    path: str,
    select: str = "last",
    comparable: Sequence[Record] = (),
) -> Difference | None:
    """A weighted sum of rows over the seeds that all of them have.

    path: where a record keeps the number ("overall", "rules.A.few", "ood.macro_f1",
    "worst.10": the 10 classes that are worst in the last term). comparable: records from which the
    variance between seeds is pooled, those of the terms' data set, backbone and imbalance ratio;
    none: that of these rows alone. None where the number is of a group without classes. DataError
    for rows without a common seed or of other test images.
    """
    import numpy as np

    from harness.results import bootstrap

    seeds, runs = _paired([some for _, some in terms])
    score = _score(path, runs[-1], select)
    if score.classes == ():
        return None
    splits = [predictions.of_split(r, score.split, select) for some in runs for r in some]
    if any((k["ids"], k["images"]) != (splits[0]["ids"], splits[0]["images"]) for k in splits):
        names = " and ".join(some[0]["method"] for some in runs)
        raise DataError(f"{names} were tested on other images of {score.split}; nothing to compare")
    images = tuple(splits[0]["images"])
    guessed = [predictions.unpack(r, score.split, select) for some in runs for r in some]
    points, resampled = bootstrap.scores(score, images, guessed, DRAWS)
    signs = [sign for sign, _ in terms]
    by_seed = _sum(signs, points, len(seeds)).round(12)  # equal rows differ by exactly nothing
    value = float(by_seed.mean())
    trained = bool(np.ptp(points.reshape(len(runs), -1), axis=1).any())  # some row varies
    spread = _seed_spread(by_seed, signs, path, select, runs, comparable) if trained else None
    interval = crossed(value, by_seed, _sum(signs, resampled, len(seeds)), spread=spread)
    varies = interval.high > interval.low or value == 0  # equal rows differ by nothing, with p = 1
    p = interval.p if varies else None
    about = {name: getattr(interval, name) for name in ("error", "df", "between", "shared")}
    return Difference(value, interval.low, interval.high, p, seeds, sum(images), **about)


def _seed_spread(
    by_seed: np.ndarray,
    signs: Sequence[float],
    path: str,
    select: str,
    runs: Sequence[Sequence[Record]],
    comparable: Sequence[Record],
) -> Spread | None:
    """The spread between seeds of a contrast, drawn towards that of comparable ones.

    None where there is nothing to pool: one seed, or no two comparable rows of two seeds.
    """
    if len(by_seed) < 2:
        return None
    about = {(r["dataset"], r["backbone"], r["imbalance"]) for some in runs for r in some}
    rows: dict[str, dict[int, float]] = {}
    for r in comparable:
        value = _value(r, path, select)
        if value is not None and (r["dataset"], r["backbone"], r["imbalance"]) in about:
            rows.setdefault(r["method"], {})[r["seed"]] = value
    pairs = [
        [a[s] - b[s] for s in sorted(a.keys() & b.keys())]
        for a, b in itertools.combinations(rows.values(), 2)
    ]
    pairs = [pair for pair in pairs if len(pair) > 1 and max(pair) - min(pair) > ROUNDING]
    if len(about) != 1 or len(pairs) < 2:
        return None
    (common,) = priors([pairs])
    # the pairs of M rows over S seeds tell no more than (M - 1)(S - 1) independent contrasts
    each = max(map(len, pairs)) - 1
    independent = float((len(rows) - 1) * each)
    scale = sum(sign**2 for sign in signs) / 2
    # this contrast's own variance counts beside that of the others, unless all have the same
    df = common.df if math.isinf(common.df) else min(common.df, independent - each)
    common = Prior(scale * common.variance, df, independent)
    return moderated(by_seed.tolist(), common)


def _value(record: Record, path: str, select: str) -> float | None:
    """The number at a path of a record's metrics; None where it has none such."""
    value: Any = record["selection"].get(select)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _sum(signs: Sequence[float], scores: Any, seeds: int) -> Any:
    """(..., terms x seeds) -> (..., seeds)."""
    parts = (slice(i * seeds, (i + 1) * seeds) for i in range(len(signs)))
    return sum(sign * scores[..., part] for sign, part in zip(signs, parts, strict=True))


def _paired(rows: Sequence[Sequence[Record]]) -> tuple[tuple[int, ...], list[list[Record]]]:
    """The seeds that all rows have, and the rows' records in their order."""
    by_seed = []
    for row in rows:
        records = {r["seed"]: r for r in row}
        if len(records) < len(row):
            raise DataError(f"two records of {row[0]['method']} have one seed; expected one row")
        by_seed.append(records)
    seeds = tuple(sorted(set.intersection(*(set(records) for records in by_seed))))
    if not seeds:
        names = " and ".join(row[0]["method"] if row else "a row without runs" for row in rows)
        raise DataError(f"{names} have no seed in common; nothing to pair")
    return seeds, [[records[s] for s in seeds] for records in by_seed]


def luck(record: Record, path: str, select: str = "last") -> float:
    """Standard deviation of a run's number over resamples of the test images."""
    from harness.results import bootstrap

    score = _score(path, [record], select)
    images = tuple(predictions.of_split(record, score.split, select)["images"])
    run = predictions.unpack(record, score.split, select)
    return float(bootstrap.scores(score, images, [run], DRAWS)[1].std(ddof=1))


def corrected(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """The same with p corrected for how many there are."""
    ps = holm([None if d is None else d.p for d in differences])
    return [
        None if d is None else replace(d, corrected=p) for d, p in zip(differences, ps, strict=True)
    ]


# ---------------------------------------------------------------- what a path measures


def _score(path: str, runs: Sequence[Record], select: str) -> Score:
    """How the number at a path follows from guesses; UsageError for a path that does not."""
    from harness.results.bootstrap import Score

    module, parts = _module(runs[0]["dataset"]), path.split(".")
    match parts:
        case ["overall"]:
            return Score(module.TEST)
        case ["rules", rule, group] if group in GROUPS:
            classes = groups(runs[0]["counts"], rule)
            return Score(
                module.TEST, "accuracy", tuple(classes[GROUPS.index(group)]), RULES[rule].pooled
            )
        case ["worst", k] if k.isdecimal():
            return Score(module.TEST, "accuracy", worst(runs, int(k), select), pooled=False)
        case [name, "macro_f1" | "accuracy" as kind] if name in getattr(module, "SCORED", {}):
            return Score(module.SCORED[name], kind)
    raise UsageError(f"{path!r} is no number that guesses of {module.NAME} tell")


def worst(runs: Sequence[Record], k: int, select: str = "last") -> tuple[int, ...]:
    """The k classes that a row's runs, on average, know least; ties by label."""
    by_run = [r["selection"][select]["per_class"] for r in runs]
    means = [sum(values) / len(values) for values in zip(*by_run, strict=True)]
    if k > len(means):
        raise UsageError(f"{k} worst classes of {len(means)}")
    return tuple(sorted(range(len(means)), key=lambda label: (means[label], label))[:k])


@functools.cache
def _module(dataset: str) -> Any:
    return registry.find("harness.datasets", dataset)


# ---------------------------------------------------------------- rows against rows


@dataclass(frozen=True)
class Compared:
    """One line: another row minus the first one, in one column at one imbalance ratio."""

    imbalance: int | None
    row: str
    over: str  # the first row
    column: str
    difference: Difference | None


def versus(
    records: Sequence[Record],
    rows: Sequence[str],
    columns: Mapping[str, str],
    imbalances: Sequence[int | None],
    select: str = "last",
) -> list[Compared]:
    """Each other row against the first one, p corrected for all of these comparisons together.

    records: of one backbone; columns: names and paths. DataError for rows without common seeds.
    """
    cells = [(i, row, c) for i in imbalances for row in rows[1:] for c in columns]
    differences = []
    for imbalance, row, column in cells:
        a, b = (_of(records, method, imbalance) for method in (row, rows[0]))
        differences.append(difference(a, b, columns[column], select, records))
    pairs = zip(cells, corrected(differences), strict=True)
    return [Compared(i, row, rows[0], column, d) for (i, row, column), d in pairs]


def _of(records: Sequence[Record], method: str, imbalance: int | None) -> list[Record]:
    runs = [r for r in records if (r["method"], r["imbalance"]) == (method, imbalance)]
    if not runs:
        ratio = "" if imbalance is None else f" at imbalance {imbalance}"
        raise DataError(f"no records of {method}{ratio}; nothing to compare")
    return runs


def render(compared: Sequence[Compared]) -> str:
    """As text: a line per comparison, in points, and what the numbers mean."""
    from tabulate import tabulate

    vs = f"vs. {compared[0].over}"
    head = ["IR", "Row", "Column", vs, "95 % interval", "p", "corrected p", "seeds", "n"]
    body = [_line(c) for c in compared]
    if all(c.imbalance is None for c in compared):
        head, body = head[1:], [line[1:] for line in body]
    aligned = ["left" if name in ("IR", "Row", "Column") else "right" for name in head]
    grid = tabulate(body, head, "simple", disable_numparse=True, colalign=aligned)
    tests = sum(c.difference is not None and c.difference.p is not None for c in compared)
    alone = any(c.difference is not None and len(c.difference.seeds) == 1 for c in compared)
    explanation = (
        f"{vs}: each row minus {compared[0].over}, in points (above 0: better than it), mean over "
        "the seeds that both have, paired. n: test images. The interval holds the luck of "
        f"seeds (pooled over the rows) and of test images (bootstrap within classes, {DRAWS:,} "
        "resamples). "
        f"Corrected: for {tests} comparisons, by Holm."
    )
    if alone:
        explanation += " With one seed the interval holds the luck of the test images alone."
    return f"{grid}\n\n{textwrap.fill(explanation, 100)}"


def _line(c: Compared) -> list[str]:
    ratio = "–" if c.imbalance is None else str(c.imbalance)
    if c.difference is None:
        return [ratio, c.row, c.column, *["–"] * 6]
    d = c.difference
    varies = d.high > d.low  # one seed and few test pictures may leave nothing to judge by
    interval = f"{100 * d.low:+.2f} to {100 * d.high:+.2f}" if varies else "–"
    ps = ("–" if p is None else "<0.0001" if p < 1e-4 else f"{p:.4f}" for p in (d.p, d.corrected))
    seeds, images = str(len(d.seeds)), f"{d.images:,}"
    return [ratio, c.row, c.column, f"{100 * d.value:+.2f}", interval, *ps, seeds, images]
