"""How far repeated runs of the same code lie apart, and what may therefore be called a change.

Rows of a table repeat a training a few times each. The variance of one row alone is known badly, so
the variances of comparable rows are pooled: each one is drawn towards their common value as far as
they agree with each other (moderated variances: Smyth 2004, Statistical Applications in Genetics
and Molecular Biology 3(1), section 6).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.results.statistics import student

if TYPE_CHECKING:
    import numpy as np

FLOOR = 0.001  # standard deviation below which runs agree by the coarseness of what is measured


@dataclass(frozen=True)
class Spread:
    """Standard deviation of one run about the mean of its row, and its degrees of freedom."""

    sd: float
    df: float


@dataclass(frozen=True)
class Prior:
    """What comparable rows say together: their variance, how much that says about each of them
    (df 0: nothing, infinite: all), and the degrees of freedom that all rows have.
    """

    variance: float
    df: float
    total: float


Rows = Sequence[Sequence[float]]  # comparable rows, each as the values of its runs


def priors(families: Sequence[Rows], floor: float = FLOOR) -> list[Prior]:
    """The common variance of each family of comparable rows (Smyth 2004, section 6.2).

    Families differ in their variance; how far rows differ from their family's is one number for
    all families, because few rows would say little about it. UsageError where no row was run twice.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    logs, halves = [], []
    for rows in families:
        repeated = [row for row in rows if len(row) > 1]
        if not repeated:
            raise UsageError("no spread of runs: no row of a column was run twice")
        half = np.array([(len(row) - 1) / 2 for row in repeated])
        s2 = np.maximum([_variance(row) for row in repeated], floor**2)
        logs.append(np.log(s2) - digamma(half) + np.log(half))
        halves.append(half)
    squares = sum(float(((e - e.mean()) ** 2).sum()) for e in logs)
    free = sum(len(e) - 1 for e in logs)
    chance = float(np.average(polygamma(1, np.concatenate(halves))))
    excess = squares / free - chance if free else 0.0
    df = 2 * _trigamma_inverse(excess) if excess > 0 else math.inf
    if math.isinf(df):  # all rows of a family have its variance
        pooled = [
            float(np.average(np.exp(e + digamma(half)) / half, weights=half))
            for e, half in zip(logs, halves, strict=True)
        ]
    else:
        shift = float(digamma(df / 2)) - math.log(df / 2)
        pooled = [float(np.exp(e.mean() + shift)) for e in logs]
    return [
        Prior(variance, df if free else 0.0, float(2 * half.sum()))
        for variance, half in zip(pooled, halves, strict=True)
    ]


def _trigamma_inverse(value: float) -> float:
    """The x above 0 whose trigamma is `value` (Newton's method on its reciprocal)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        slope = float(polygamma(1, x))
        step = slope * (1 - slope / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def moderated(row: Sequence[float], common: Prior, floor: float = FLOOR) -> Spread:
    """A row's spread, drawn towards the common one; a row that was run once has that one."""
    df = len(row) - 1
    own = max(_variance(row), floor**2) if df else 0.0
    if math.isinf(common.df):
        return Spread(math.sqrt(common.variance), common.total)
    total = common.df + df
    if total == 0:
        raise UsageError("no spread of runs: a single run, and nothing to compare it with")
    variance = (common.df * common.variance + df * own) / total
    return Spread(math.sqrt(variance), min(total, max(common.total, df)))


def pooled(families: Sequence[Rows], floor: float = FLOOR) -> list[list[Spread]]:
    """The spread of every row of every family, from repeated runs."""
    common = priors(families, floor)
    return [
        [moderated(row, each, floor) for row in rows]
        for rows, each in zip(families, common, strict=True)
    ]


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


# ---------------------------------------------------------------- what may be called a change


def tolerance(spread: Spread, before: int, now: int, alpha: float) -> float:
    """How far a mean of `now` runs may lie from one of `before` runs, to one side.

    alpha: probability of a larger one-sided difference when nothing has changed.
    """
    return student(spread.df, 1 - alpha) * spread.sd * math.sqrt(1 / before + 1 / now)


def detectable(spread: Spread, before: int, now: int, alpha: float, power: float = 0.9) -> float:
    """The change of a mean that is found with probability `power` at this tolerance."""
    from scipy.special import ndtri

    error = spread.sd * math.sqrt(1 / before + 1 / now)
    return tolerance(spread, before, now, alpha) + float(ndtri(power)) * error


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of a rate (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, confidence))


@dataclass(frozen=True)
class Simulated:
    """Of simulated checks: how many flagged anything, and what drop was found in 9 of 10.

    factor: how many times `detectable` that drop was; it knows the spreads no better than the
    calibration does.
    """

    checks: int
    flagged: int
    factor: float

    @property
    def rate_at_most(self) -> float:
        """Upper 95 % bound of the rate of false alarms."""
        return upper_bound(self.flagged, self.checks)


def simulate(families: Sequence[Rows], now: int, alpha: float, checks: int, seed: int) -> Simulated:
    """Whole checks of unchanged code, calibration included; in one row each, taken in turn, the
    drop that would have been found.

    Every check draws true variances of the rows, given what their runs say; runs the calibration
    anew; and judges the means of `now` new runs of every row, to both sides with `alpha` each.
    """
    import numpy as np

    rng, flagged, factors = np.random.default_rng(seed), 0, []
    sizes = [np.array([len(row) for row in rows]) for rows in families]
    fitted = [s for spreads in pooled(families) for s in spreads]
    n = np.concatenate(sizes)
    for check in range(checks):
        sds = np.array([s.sd * math.sqrt(s.df / rng.chisquare(s.df)) for s in fitted])
        runs = [rng.normal(0, sd, size) for sd, size in zip(sds, n, strict=True)]
        means, news = np.array([r.mean() for r in runs]), rng.normal(0, sds / math.sqrt(now))
        cuts = np.cumsum([len(size) for size in sizes])[:-1]
        again = [s for spreads in pooled(_split(runs, cuts)) for s in spreads]
        allowed = np.array(
            [tolerance(s, int(k), now, alpha) for s, k in zip(again, n, strict=True)]
        )
        flagged += bool((np.abs(news - means) > allowed).any())
        at = check % len(fitted)
        drop = detectable(fitted[at], int(n[at]), now, alpha)
        factors.append(float(allowed[at] + news[at] - means[at]) / drop)
    return Simulated(checks, flagged, float(np.quantile(factors, 0.9)))


def _split(runs: Sequence[np.ndarray], cuts: np.ndarray) -> list[list[list[float]]]:
    edges = [0, *cuts.tolist(), len(runs)]
    return [[r.tolist() for r in runs[a:b]] for a, b in itertools.pairwise(edges)]
