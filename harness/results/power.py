"""What the findings could decide: the smallest effect they would show, and what it would take."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from harness.results.comparison import Difference
from harness.results.findings import LEVEL, Comparison, Findings
from harness.results.findings_text import says
from harness.results.statistics import student

POWER = 0.8
MOST_SEEDS = 100  # beyond which more test images are asked for


@dataclass(frozen=True)
class Power:
    """Of one comparison. smallest: the effect, a fraction, that its claim would see with POWER.

    effect: what the claim is about, a fraction: the published difference, or the limit of a claim
    of no difference; None where nothing is published. seeds, images: what it takes to see that;
    None where `effect` is or where more than MOST_SEEDS times the images would not do.
    """

    claim: str
    comparison: Comparison
    smallest: float
    effect: float | None
    seeds: int | None
    images: int | None


def powers(findings: Findings) -> Iterator[Power]:
    """Of every comparison that was measured with two seeds or more."""
    alpha = LEVEL / 2 / max(1, findings.claims)
    for finding in findings.results:
        for test in finding.tests:
            d, within = test.difference, finding.claim.within
            if d is None or len(d.seeds) < 2 or not d.error:
                continue
            published = within if within is not None else test.published
            effect = None if published is None or test.other else abs(published) / 100
            need = (None, None) if not effect else needed(d, effect, alpha)
            yield Power(finding.claim.id, test, smallest(d, alpha), effect, *need)


def smallest(d: Difference, alpha: float) -> float:
    """The difference that is significant at one-sided `alpha` with POWER."""
    return (student(d.df, 1 - alpha) + student(1e9, POWER)) * d.error


def needed(d: Difference, effect: float, alpha: float) -> tuple[int | None, int | None]:
    """Seeds and test images with which `effect` would be seen: few seeds first, then images.

    The luck with images that seeds share falls with their number, as does a part of that of a seed;
    that part is not counted, so that the images are rather too many.
    """
    factor = student(1e9, 1 - alpha) + student(1e9, POWER)
    allowed = (effect / factor) ** 2
    for times in (1, 2, 5, 10, 20, 50, 100):
        left = allowed - d.shared / times
        if left > 0 and (seeds := max(2, math.ceil(d.between / left))) <= MOST_SEEDS:
            return seeds, times * d.images
    return None, None


def to_text(findings: Findings) -> str:
    """A line per comparison, in points, and what the numbers mean."""
    from tabulate import tabulate

    head = ["claim", "rows", "where", "smallest", "effect", "seeds", "images"]
    body = [_line(p) for p in powers(findings)]
    align = ("left", "left", "left", "right", "right", "right", "right")
    grid = tabulate(body, head, "simple", disable_numparse=True, colalign=align)
    notes = (
        f"smallest: the difference, in points, that is seen with a probability of {POWER:.0%} "
        f"at {LEVEL:g}, corrected for {findings.claims} claims.",
        "effect: the published difference, or the limit of a claim of no difference; seeds and "
        "images: what it would take to see that (–: nothing is published, or more than "
        f"{MOST_SEEDS} seeds and 100 times the images).",
    )
    return "\n\n".join([grid, "\n".join(textwrap.fill(note, 100) for note in notes)])


def _line(p: Power) -> list[str]:
    where = f"{p.comparison.column.name}, {p.comparison.block.title}"
    effect = "–" if p.effect is None else f"{100 * p.effect:.1f}"
    seeds = "–" if p.seeds is None else f"{p.seeds}"
    images = "–" if p.images is None else f"{p.images:,}"
    return [p.claim, says(p.comparison), where, f"{100 * p.smallest:.1f}", effect, seeds, images]
