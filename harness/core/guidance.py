"""Guidance levels: fractions in [0, 1] in the open, whole hundredths wherever they are keys."""

from __future__ import annotations

REAL = 100  # guidance, in hundredths, of a real image; 0 is made from the text alone
TOLERANCE = 1e-6  # hundredths that a float may be off by


def hundredths(level: float) -> int:
    """A level in whole hundredths: 0.3 -> 30. `is_exact` says whether that loses nothing."""
    return round(REAL * level)


def is_exact(level: float) -> bool:
    """Whether a level has at most two decimals."""
    return abs(REAL * level - hundredths(level)) <= TOLERANCE


def fraction(level_hundredths: int) -> float:
    """A level as a fraction in [0, 1]: 30 -> 0.3."""
    return level_hundredths / REAL


def level_text(level_hundredths: int) -> str:
    """The fraction as messages print it: 30 -> "0.3"."""
    return f"{fraction(level_hundredths):g}"
