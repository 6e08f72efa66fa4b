"""Approximations of the generator that change its pixels: named, asked for, and part of its key.

Fewer denoising steps are one, too; they are a number of the recipe, `steps`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core import registry
from harness.core.errors import UsageError

NAMES = {  # and how to write it
    "guidance-interval": "guidance-interval=0.2-0.8",
    "deep-cache": "deep-cache=2",
    "fp8-linears": "fp8-linears",
}
MOST = 10  # steps on the deep features of one
_SHARES = re.compile(r"(\d(?:\.\d+)?)-(\d(?:\.\d+)?)")


@dataclass(frozen=True)
class Approximations:
    """What of a generator is not exact.

    interval: text guidance works only at steps i of n with interval[0] <= i / n < interval[1],
    outside of it an image takes one pass per step instead of two (Kynkäänniemi et al. 2024,
    2404.07724); None: at all steps.
    every: the deep blocks of the UNet are computed at every so many steps of an image, and those
    between take what the last one left (harness.generation.deepcache); 1: at all steps.
    fp8: the UNet's linear layers multiply in 8 bits (harness.generation.fp8).
    """

    interval: tuple[float, float] | None = None
    every: int = 1
    fp8: bool = False


def parse(texts: Sequence[str]) -> Approximations:
    """Approximations as the generator's spec has them; UsageError for what none of them means."""
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in NAMES:
            raise UsageError(f"unknown approximation {text!r}{registry.nearest(name, NAMES)}")
        if name in values:
            raise UsageError(f"approximation {name} is asked for twice")
        values[name] = value
    interval, every = values.get("guidance-interval"), values.get("deep-cache")
    if interval is not None and every is not None:  # a pass would find features of another step
        raise UsageError("approximations deep-cache and guidance-interval do not go together")
    if values.get("fp8-linears"):
        raise UsageError(f"approximation 'fp8-linears={values['fp8-linears']}': it takes no value")
    return Approximations(
        interval=None if interval is None else _shares(interval),
        every=1 if every is None else _steps(every),
        fp8="fp8-linears" in values,
    )


def _shares(value: str) -> tuple[float, float]:
    shares = _SHARES.fullmatch(value)
    low, high = map(float, shares.groups()) if shares else (1.0, 0.0)
    if not 0 <= low < high <= 1:
        example = NAMES["guidance-interval"]
        what = f"approximation 'guidance-interval={value}'"
        raise UsageError(f"{what}: expected shares of the steps, as {example}")
    return low, high


def _steps(value: str) -> int:
    every = int(value) if re.fullmatch(r"\d{1,3}", value) else 0
    if not 2 <= every <= MOST:
        what = f"approximation 'deep-cache={value}'"
        raise UsageError(f"{what}: expected 2 to {MOST} steps, as {NAMES['deep-cache']}")
    return every
