"""Guidance levels: fractions in [0, 1] in the open, whole hundredths wherever they are keys.

1 (100 hundredths) is the real image, 0 is made from the text alone.
"""

from __future__ import annotations

TOLERANCE = 1e-6  # hundredths; what a float may be off by


def hundredths(level: float) -> int:
    """The level in whole hundredths: 0.3 -> 30. `is_exact` says whether that loses nothing."""
    return round(100 * level)


def is_exact(level: float) -> bool:
    """Whether a level has at most two decimals, so that hundredths tell it from all others."""
    return abs(100 * level - hundredths(level)) <= TOLERANCE


def fraction(level_hundredths: int) -> float:
    """The level as a fraction in [0, 1]: 30 -> 0.3."""
    return level_hundredths / 100


def text(level_hundredths: int) -> str:
    """The fraction as messages print it, without trailing zeros: 30 -> "0.3"."""
    return f"{fraction(level_hundredths):g}"
