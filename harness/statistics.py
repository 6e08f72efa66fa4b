"""Means over seeds, and what can be said about a difference of two methods."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.types import UsageError


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); the latter is None for a single value."""
    if not values:
        raise UsageError("no values: a mean of nothing was asked for")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    squares = math.fsum((v - mean) ** 2 for v in values)
    return mean, math.sqrt(squares / (len(values) - 1))


def paired_difference(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95
) -> tuple[float, float | None, float | None, float | None]:
    """Mean of a - b over pairs (same seed), its t interval (lo, hi), and the two-sided p.

    Student's t with n - 1 degrees of freedom. One pair has no interval: lo, hi and p are None.
    Differences without any spread give lo = hi = mean, and p = 1 if they are all 0, else 0.
    """
    if len(a) != len(b):
        raise UsageError(f"{len(a)} values against {len(b)}: a paired difference needs pairs")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1")
    mean, sd = mean_sd([x - y for x, y in zip(a, b, strict=True)])
    if sd is None:
        return mean, None, None, None
    if sd == 0:
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr, stdtrit

    free = len(a) - 1
    error = sd / math.sqrt(len(a))
    half = float(stdtrit(free, (1 + confidence) / 2)) * error
    p = 2 * float(stdtr(free, -abs(mean) / error))
    return mean, mean - half, mean + half, p
