"""What it takes to decide: the seeds and test images with which an effect would be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.results.comparison import Difference
from harness.results.findings import FAILS, HOLDS, LEVEL, OPEN, Comparison, Finding
from harness.results.statistics import student

POWER = 0.8
MOST_SEEDS = 100  # beyond which more test images are asked for
TIMES = (1, 2, 5, 10, 20, 50, 100)  # as many test images (and locations) as there are


@dataclass(frozen=True)
class Size:
    """Of an experiment. locations: of the test images, where intervals are by location."""

    seeds: int
    images: int
    locations: int | None = None


@dataclass(frozen=True)
class Need:
    """What would decide a claim if the differences seen were the true ones.

    test: the comparison that takes most, or, for a claim that would not hold, least. margin: how
    far its difference, a fraction, is from where the claim changes. verdict: HOLDS or FAILS. size:
    None where MOST_SEEDS seeds and 100 times the test images would not do.
    """

    test: Comparison
    margin: float
    verdict: str
    size: Size | None


def smallest(d: Difference, alpha: float) -> float:
    """The difference that is significant at one-sided `alpha` with POWER."""
    return (student(d.df, 1 - alpha) + student(1e9, POWER)) * d.error


def needed(d: Difference, effect: float, alpha: float) -> Size | None:
    """With what `effect` would be seen with POWER: few seeds first, then images.

    The luck with images that seeds share falls with their number (that of their locations, where
    these are resampled), as does a part of that of a seed; that part is not counted, so that the
    images are rather too many. None where MOST_SEEDS and TIMES do not suffice.
    """
    for times in TIMES:
        units = 1e9 if d.locations is None else times * d.locations - 1
        allowed = (effect / (student(units, 1 - alpha) + student(1e9, POWER))) ** 2
        left = allowed - d.shared / times
        if left > 0 and (seeds := max(2, math.ceil(d.between / left))) <= MOST_SEEDS:
            locations = None if d.locations is None else times * d.locations
            return Size(seeds, times * d.images, locations)
    return None


def level(claims: int) -> float:
    """One-sided, of a comparison, so that its claim is significant after correction for all."""
    return LEVEL / 2 / max(1, claims)


def margin(test: Comparison, within: float | None) -> float:
    """How far a difference, a fraction, is on the claim's side; below 0: on the other."""
    assert test.difference is not None
    value = test.difference.value
    return value if within is None else within / 100 - abs(value)


def need(finding: Finding, claims: int) -> Need | None:
    """Of an undecided claim; None for others, and where no number of runs would tell.

    claims: for which p is corrected. A claim that has a comparison on the other side would not
    hold; one whose comparisons have runs and are all on its side would.
    """
    if finding.verdict != OPEN:
        return None
    within, needs = finding.claim.within, []
    measured = list(_measured(finding))
    contrary = [test for test in measured if margin(test, within) < 0]
    alpha = level(claims) / (len(finding.needed) if contrary else 1)
    if not contrary and len(measured) < len(finding.needed):
        return None
    for test in contrary or open_tests(finding, claims):
        distance, d = margin(test, within), test.difference
        if d is not None and distance:
            size = needed(d, abs(distance), alpha)
            needs.append(Need(test, distance, FAILS if contrary else HOLDS, size))
    return (min if contrary else max)(needs, key=_effort) if needs else None


def open_tests(finding: Finding, claims: int) -> list[Comparison]:
    """Measured comparisons that keep a claim from holding after the correction."""
    alpha = level(claims)
    return [t for t in _measured(finding) if t.for_claim is not None and t.for_claim >= alpha]


def _measured(finding: Finding) -> Iterator[Comparison]:
    for test in finding.needed:
        if test.difference is not None and test.for_claim is not None and test.difference.error:
            yield test


def _effort(need: Need) -> tuple[float, float]:
    size = need.size
    return (math.inf, -abs(need.margin)) if size is None else (size.images, size.seeds)
