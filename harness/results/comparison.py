"""What the difference of rows is worth: paired over seeds and test images, from records alone."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError
from harness.results import measures, predictions
from harness.results.spread import Prior, Spread, moderated, priors
from harness.results.statistics import ROUNDING, Interval, crossed, holm

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
    error, df, between, shared: see statistics.Interval. locations: how many the test images are of
    where they are known; interval and p then resample locations, and `by_image` is what resampling
    images gives instead.
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
    locations: int | None = None
    by_image: Interval | None = None


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

    path: where a record keeps the number ("overall", "rules.A.few", "ood.macro_f1"), or
    "worst.10": the 10 classes that are worst in the last term (see measures.crossfitted).
    comparable: records from which the variance between seeds is pooled, those of the terms' data
    set, backbone and imbalance ratio; none: that of these rows alone. None where the number is of a
    group without classes. DataError for rows without a common seed or of other test images,
    measures.NoSuchClasses for more worst classes than there are.
    """
    import numpy as np

    from harness.results import bootstrap

    terms = _merged(terms)
    seeds, runs = _paired([some for _, some in terms])
    score = measures.score(path, runs[-1], select)
    if score.classes == ():
        return None
    flat, signs = [r for some in runs for r in some], [sign for sign, _ in terms]
    _check_images(flat, score.split, select)
    images = measures.guesses(flat[0], score, select)[0]
    guessed = [measures.guesses(r, score, select)[1] for r in flat]
    points, resampled = bootstrap.scores(score, images, guessed, DRAWS)
    by_seed = _sum(signs, points, len(seeds)).round(12)  # equal rows differ by exactly nothing
    value = float(by_seed.mean())
    trained = bool(np.ptp(points.reshape(len(runs), -1), axis=1).any())  # some row varies
    spread = None
    if trained:
        values = functools.partial(_value, path=path, score=score, select=select)
        spread = _seed_spread(by_seed, signs, values, runs, comparable)
    interval = crossed(value, by_seed, _sum(signs, resampled, len(seeds)), spread=spread)
    locations, by_image = _locations(flat, score, select), None
    if locations is not None:
        by_image, units = interval, int(locations.max()) + 1
        resampled = bootstrap.scores_by_location(score, locations, guessed, DRAWS)
        moved = _sum(signs, resampled, len(seeds))
        interval = crossed(value, by_seed, moved, spread=spread, units=units)
    return Difference(
        value,
        interval.low,
        interval.high,
        # equal rows differ by nothing, with p = 1
        p=interval.p if interval.high > interval.low or value == 0 else None,
        seeds=seeds,
        images=sum(images),
        **{name: getattr(interval, name) for name in ("error", "df", "between", "shared")},
        locations=None if locations is None else units,
        by_image=by_image,
    )


def _merged(
    terms: Sequence[tuple[float, Sequence[Record]]],
) -> list[tuple[float, Sequence[Record]]]:
    """The terms, those of the same records added up; the last one stays the last."""
    if len(terms) == 2:  # a row less itself is two terms that vary together
        return list(terms)
    merged: dict[tuple[int, ...], tuple[float, Sequence[Record]]] = {}
    for sign, some in terms:
        same = tuple(map(id, some))
        before, _ = merged.pop(same, (0.0, some))
        merged[same] = (before + sign, some)
    return list(merged.values())


def _check_images(runs: Sequence[Record], split: str, select: str) -> None:
    """DataError for runs that were tested on different images."""
    splits = [predictions.of_split(r, split, select) for r in runs]
    if any((k["ids"], k["images"]) != (splits[0]["ids"], splits[0]["images"]) for k in splits):
        names = " and ".join(dict.fromkeys(r["method"] for r in runs))
        raise DataError(f"{names} were tested on other images of {split}; nothing to compare")


def _locations(runs: Sequence[Record], score: Score, select: str) -> np.ndarray | None:
    """Of each image, from whichever run has them; None where none has, or there is only one.

    Nor for accuracies of some classes: few locations have images of all of them.
    """
    if score.classes is not None or not score.pooled:
        return None
    each = (predictions.locations(r, score.split, select) for r in runs)
    known = next((some for some in each if some is not None), None)
    return known if known is not None and known.max() > 0 else None


def _seed_spread(
    by_seed: np.ndarray,
    signs: Sequence[float],
    values: Callable[[Record], float | None],
    runs: Sequence[Sequence[Record]],
    comparable: Sequence[Record],
) -> Spread | None:
    """The spread between seeds of a contrast, drawn towards that of comparable ones.

    values: the number of a comparable run; None where it has none such.
    None where there is nothing to pool: one seed, or no two comparable rows of two seeds.
    """
    if len(by_seed) < 2:
        return None
    about = {(r["dataset"], r["backbone"], r["imbalance"]) for some in runs for r in some}
    rows: dict[str, dict[int, float]] = {}
    for r in comparable:
        if (r["dataset"], r["backbone"], r["imbalance"]) in about:
            value = values(r)
            if value is not None:
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


def _value(record: Record, path: str, score: Score, select: str) -> float | None:
    """The number at a path of a record's metrics; None where it has none such.

    Metrics have none of worst classes: that is computed from the predictions.
    """
    value: Any = record["selection"].get(select)
    if "worst." in path:
        return None if value is None else measures.accuracy(record, score, select)
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

    score = measures.score(path, [record], select)
    images, run = measures.guesses(record, score, select)
    return float(bootstrap.scores(score, images, [run], DRAWS)[1].std(ddof=1))


def corrected(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """The same with p corrected for how many there are."""
    ps = holm([None if d is None else d.p for d in differences])
    return [
        None if d is None else replace(d, corrected=p) for d, p in zip(differences, ps, strict=True)
    ]
