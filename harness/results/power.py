"""What the findings could decide: the smallest effect they would show, and what it would take."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from harness.results.deciding import MOST_SEEDS, POWER, Size, level, margin, needed, smallest
from harness.results.findings import LEVEL, Comparison, Findings


@dataclass(frozen=True)
class Power:
    """Of one comparison. smallest: the effect, a fraction, that its claim would see with POWER.

    effect: what the claim is about, a fraction: the published difference, or the limit of a claim
    of no difference; None where nothing is published. margin: how far what was seen is from where
    the claim changes. size, size_seen: what it takes to see these two; None where more than
    MOST_SEEDS seeds and 100 times the images would not do.
    """

    claim: str
    comparison: Comparison
    smallest: float
    effect: float | None
    margin: float
    size: Size | None
    size_seen: Size | None


def powers(findings: Findings) -> Iterator[Power]:
    """Of every comparison that was measured with two seeds or more."""
    alpha = level(findings.claims)
    for finding in findings.results:
        for test in finding.tests:
            d, within = test.difference, finding.claim.within
            if d is None or len(d.seeds) < 2 or not d.error:
                continue
            published = within if within is not None else test.published
            effect = None if published is None or test.other else abs(published) / 100
            size = needed(d, effect, alpha) if effect else None
            seen = margin(test, within)
            size_seen = needed(d, abs(seen), alpha) if seen else None
            yield Power(finding.claim.id, test, smallest(d, alpha), effect, seen, size, size_seen)


def to_text(findings: Findings) -> str:
    """A line per comparison, in points, and what the numbers mean."""
    from tabulate import tabulate

    head = ["claim", "rows", "where", "smallest", "effect", "takes", "seen", "takes"]
    body = [_line(p) for p in powers(findings)]
    align = ("left", "left", "left", "right", "right", "right", "right", "right")
    grid = tabulate(body, head, "simple", disable_numparse=True, colalign=align)
    notes = (
        f"smallest: the difference, in points, that is seen with a probability of {POWER:.0%} "
        f"at {LEVEL:g}, corrected for {findings.claims} claims.",
        "effect: the published difference, or the limit of a claim of no difference. seen: ours, "
        "or how far ours is within that limit. takes: with how many seeds x test images that "
        "would be seen if it were the true one "
        f"(–: nothing is published, or more than {MOST_SEEDS} seeds and 100 times the images).",
    )
    return "\n\n".join([grid, "\n".join(textwrap.fill(note, 100) for note in notes)])


def _line(p: Power) -> list[str]:
    where = f"{p.comparison.column.name}, {p.comparison.block.title}"
    effect = "–" if p.effect is None else f"{100 * p.effect:.1f}"
    seen, takes = f"{100 * p.margin:+.1f}", (_size(p.size), _size(p.size_seen))
    smallest_ = f"{100 * p.smallest:.1f}"
    return [p.claim, p.comparison.says, where, smallest_, effect, takes[0], seen, takes[1]]


def _size(size: Size | None) -> str:
    return "–" if size is None else f"{size.seeds} x {size.images:,}"
