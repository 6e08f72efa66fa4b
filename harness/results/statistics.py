"""Means over seeds, and what can be said about a difference of two methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

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
    """What is known about a number; p: two-sided, of its being zero."""

    low: float
    high: float
    p: float


def crossed(
    value: float, seeds: np.ndarray, resampled: np.ndarray, confidence: float = 0.95
) -> Interval:
    """Interval of a mean over seeds S that were all tested on the same images.

    seeds: (S,) the number of each seed; resampled: (B, S) the same on B resamples of the test
    images, each shared by all seeds. Both seeds and images are taken as random. The variance is
    that of the seeds' mean, which holds each seed's own luck with the images, plus the covariance
    of two seeds over the resamples, which is the luck they share; it is at least that over the
    resamples alone. Student's t, with Satterthwaite's degrees of freedom. One seed: images only.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1")
    n = len(seeds)
    images = float(resampled.mean(1).var(ddof=1))
    between, variance, free = 0.0, images, math.inf
    if n > 1:
        between = float(np.var(seeds, ddof=1)) / n
        shared = np.cov(resampled, rowvar=False)
        covariance = float(shared.sum() - np.trace(shared)) / (n * (n - 1))
        variance = max(between + max(covariance, 0.0), images)
        free = (n - 1) * (variance / between) ** 2 if between else math.inf
    if variance < ROUNDING**2:
        return Interval(value, value, 1.0 if value == 0 else 0.0)
    free, error = min(free, 1e9), math.sqrt(variance)
    half = float(stdtrit(free, (1 + confidence) / 2)) * error
    return Interval(value - half, value + half, 2 * float(stdtr(free, -abs(value) / error)))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for how many there are (Holm 1979); None stays and does not count."""
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        corrected[i] = least
    return corrected
