"""Findings as the page prints them, each with its interval as a small drawing."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from harness.results.findings import FAILS, HOLDS, IMPOSSIBLE, NO_RUNS, Comparison, Finding
from harness.results.findings_text import cells, p_of_claim
from harness.results.reasons import sentences

KINDS = {
    HOLDS: "holds",
    FAILS: "fails",
    NO_RUNS: "none",
    IMPOSSIBLE: "none",
}  # of style; the rest is open
WIDTH, HEIGHT, EDGE = 120, 20, 6  # of a drawing, in pixels


@dataclass(frozen=True)
class Line:
    cells: dict[str, str]
    kind: str
    why: str
    drawn: Markup


@dataclass(frozen=True)
class FindingCard:
    """A claim. p: of it as a whole, corrected, in brackets."""

    says: str
    dataset: str
    source: str
    verdict: str
    kind: str
    p: str
    remarks: tuple[str, ...]
    tests: tuple[Line, ...]


def claim(finding: Finding, claims: int) -> FindingCard:
    """For the page. claims: for which p is corrected."""
    reach = _reach(finding.tests)
    lines = (
        Line(cells(t), KINDS.get(t.verdict, "open"), t.why, _drawing(t, reach))
        for t in finding.tests
    )
    return FindingCard(
        says=finding.claim.says,
        dataset=finding.claim.dataset,
        source=finding.claim.source,
        verdict=finding.verdict,
        kind=KINDS.get(finding.verdict, "open"),
        p=p_of_claim(finding).strip(),
        remarks=tuple(_remarks(finding, claims)),
        tests=tuple(lines),
    )


def _remarks(finding: Finding, claims: int) -> list[str]:
    """The claim's note, why it is undecided, and what would decide it."""
    note = [finding.claim.note] if finding.claim.note else []
    remarks = [*note, *sentences(finding, claims)]
    return [f"{remark[:1].upper()}{remark[1:].rstrip('.')}." for remark in remarks]


def _reach(tests: tuple[Comparison, ...]) -> float:
    """Points from the middle to the edge of a claim's drawings."""
    ends = [
        abs(100 * end)
        for t in tests
        if t.difference
        for end in (t.difference.low, t.difference.high)
    ]
    return max([1.0, *ends])


def _drawing(test: Comparison, reach: float) -> Markup:
    """Zero, the interval and its middle; numbers only, so there is nothing to escape."""
    if test.difference is None:
        return Markup("")

    def x(points: float) -> str:
        return f"{WIDTH / 2 + points / reach * (WIDTH / 2 - EDGE):.1f}"

    low, middle, high = (
        100 * v for v in (test.difference.low, test.difference.value, test.difference.high)
    )
    y = HEIGHT / 2
    return Markup(
        f'<svg class="interval" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{HEIGHT}"/>'
        f'<line class="range" x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}"/>'
        f'<circle class="point" cx="{x(middle)}" cy="{y}" r="2.5"/></svg>'
    )
