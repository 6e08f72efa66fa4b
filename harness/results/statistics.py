"""Means over seeds, and what can be said about a difference of two methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from harness.results.spread import Spread

ROUNDING = 1e-6  # a spread below this is that of the arithmetic


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); the latter is None for a single value."""
    if not values:
        raise UsageError("no values: a mean of nothing was asked for")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    squares = math.fsum((v - mean) ** 2 for v in values)
    return mean, math.sqrt(squares / (len(values) - 1))


@dataclass(frozen=True)
class Interval:
    """What is known about a number; p: two-sided, of its being zero.

    error: its standard error; df: of Student's t. The error's square is between / seeds + shared,
    or more: `between` is the variance of one seed, `shared` the luck with the test images that all
    seeds share.
    """

    low: float
    high: float
    p: float
    error: float = 0.0
    df: float = math.inf
    between: float = 0.0
    shared: float = 0.0


def crossed(
    value: float,
    seeds: np.ndarray,
    resampled: np.ndarray,
    confidence: float = 0.95,
    spread: Spread | None = None,
    units: float = math.inf,
) -> Interval:
    """Interval of a mean over seeds S that were all tested on the same images.

    seeds: (S,) the number of each seed; resampled: (B, S) the same on B resamples of the test
    images, each shared by all seeds. Both seeds and images are taken as random. The variance is
    that of the seeds' mean, which holds each seed's own luck with the images, plus the covariance
    of two seeds over the resamples, which is the luck they share; it is at least that over the
    resamples alone. spread: of a seed, pooled over comparable numbers (harness.results.spread);
    None takes the variance of these seeds alone. units: how many were resampled, where these are
    few (locations): the variance over them has one degree of freedom fewer; infinite for images.
    Student's t, with Satterthwaite's degrees of freedom. One seed: images only.
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1")
    n = len(seeds)
    images = float(resampled.mean(1).var(ddof=1))
    between, shared, variance, df = 0.0, images, images, units - 1
    if n > 1:
        covariances = np.cov(resampled, rowvar=False)
        covariance = float(covariances.sum() - np.trace(covariances)) / (n * (n - 1))
        shared = max(covariance, 0.0)
        between = float(np.var(seeds, ddof=1)) if spread is None else spread.sd**2
        variance = max(between / n + shared, images)
        own = n - 1 if spread is None else spread.df
        # a pooled variance is taken one standard error larger: degrees of freedom follow from its
        # share of the whole, and explode where it is small by luck
        most = between / n * (1 if spread is None else 1 + math.sqrt(2 / own))
        whole = variance if spread is None else most + shared
        share = most**2 / own + (variance - between / n) ** 2 / (units - 1)
        df = whole**2 / share if share else math.inf
    if variance < ROUNDING**2:
        return Interval(value, value, 1.0 if value == 0 else 0.0)
    df, error = min(df, 1e9), math.sqrt(variance)
    half = student(df, (1 + confidence) / 2) * error
    p = 2 * tail(-abs(value) / error, df)
    return Interval(value - half, value + half, p, error, df, between, shared)


def student(df: float, probability: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if df > 1e6 else stdtrit(df, probability))


def tail(t: float, df: float) -> float:
    """The probability that Student's t is below `t`."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(t) if df > 1e6 else stdtr(df, t))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for how many there are (Holm 1979); None stays and does not count."""
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        corrected[i] = least
    return corrected
