"""Short cuts of the generator that change its pixels: named, asked for, and part of its key.

Fewer denoising steps are one, too; they are a number of the recipe, `steps`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness import lookup
from harness.types import UsageError

NAMES = {"guidance-interval": "guidance-interval=0.2-0.8"}  # and how to write it
_SHARES = re.compile(r"(\d(?:\.\d+)?)-(\d(?:\.\d+)?)")


@dataclass(frozen=True)
class ShortCuts:
    """What of a generator is not exact.

    interval: text guidance works only at steps i of n with interval[0] <= i / n < interval[1],
    outside of it an image takes one pass per step instead of two (Kynkäänniemi et al. 2024,
    2404.07724); None: at all steps.
    """

    interval: tuple[float, float] | None = None


def parse(texts: Sequence[str]) -> ShortCuts:
    """Short cuts as the generator's spec has them; UsageError for what none of them means."""
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in NAMES:
            raise UsageError(f"unknown short cut {text!r}{lookup.nearest(name, NAMES)}")
        if name in found:
            raise UsageError(f"short cut {name} is asked for twice")
        shares = _SHARES.fullmatch(value)
        low, high = map(float, shares.groups()) if shares else (1.0, 0.0)
        if not 0 <= low < high <= 1:
            raise UsageError(f"short cut {text!r}: expected shares of the steps, as {NAMES[name]}")
        found[name] = (low, high)
    return ShortCuts(interval=found.get("guidance-interval"))
