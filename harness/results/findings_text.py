"""Findings as text, Markdown and JSON, and the short answer that they give."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from harness.results.findings import LEVEL, VERDICTS, Comparison, Finding, Findings
from harness.results.leaderboard import PROFILE_TEXTS
from harness.results.markdown import escape, grid
from harness.results.published_table import Block, Column

WIDTH = 100


def says(test: Comparison) -> str:
    """The rows compared, as a difference."""
    if len(test.rows) == 2:
        return f"{test.rows[0]} - {test.rows[1]}"
    a, b, c, d = test.rows
    return f"({a} - {b}) - ({c} - {d})"


def cells(test: Comparison) -> dict[str, str]:
    """What a line of a table holds, as text."""
    d = test.difference
    effect = interval = n = p = "·"
    if d is not None:
        effect, interval = f"{100 * d.value:+.2f}", f"{100 * d.low:+.2f} to {100 * d.high:+.2f}"
        n = f"{len(d.seeds)} x {d.images:,}"
        p = "–" if test.for_claim is None or d.p is None else _p(d.p)
    published = "–" if test.published is None else f"{test.published:+.2f}{'†' * test.other}"
    return {
        "verdict": test.verdict,
        "rows": says(test),
        "where": f"{test.column.name}, {test.block.title}",
        "effect": effect,
        "interval": interval,
        "n": n,
        "p": p,
        "published": published,
    }


def _of_claim(finding: Finding) -> str:
    return "" if finding.corrected is None else f" (p {_p(finding.corrected)})"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


HEAD = {
    "verdict": "verdict", "rows": "rows", "where": "where", "effect": "ours",
    "interval": "95 % interval", "n": "seeds x images", "p": "p", "published": "published",
}  # fmt: skip


def notes(findings: Findings) -> list[str]:
    """What stands under every rendering."""
    n, by_verdict = len(findings.results), Counter(f.verdict for f in findings.results)
    counts = [f"{by_verdict[v]} {v}" for v in VERDICTS if by_verdict[v]]
    remarks = [
        f"{n} claim{'s' * (n != 1)}: {', '.join(counts) or 'none'}.",
        f"Ours: profile {PROFILE_TEXTS.get(findings.profile, findings.profile)}. "
        f"Groups by rule {findings.rule}; {findings.select} epoch.",
        "Effects in points, paired over the seeds that all rows have and over the test images. "
        "Interval and p of a comparison are of one procedure: Student's t, the variance between "
        "seeds pooled over the rows of its table.",
        "A claim holds where all of its comparisons do: its p is the largest of theirs "
        "(intersection-union test). It does not hold where one of them is the other way round: the "
        f"smallest p, times their number. Verdicts at {LEVEL:g} after Holm's correction for all "
        f"{findings.claims} claims that have runs, shown here or not.",
        "† published groups by another rule than this; · no runs; – nothing there.",
    ]
    remarks += [f"{f.claim.id}: {f.claim.note}" for f in findings.results if f.claim.note]
    return remarks


def to_text(findings: Findings) -> str:
    """For the terminal: a paragraph and a small table per claim, then the notes."""
    from tabulate import tabulate

    pieces = []
    for finding in findings.results:
        claim = finding.claim
        head = f"{finding.verdict.upper()}{_of_claim(finding)}: {claim.says}"
        about = f"{claim.dataset}; {claim.source}; {claim.paper.title} [{claim.id}]"
        body = [list(cells(test).values()) for test in finding.tests]
        align = ("left",) * 3 + ("right",) * 5
        table = tabulate(body, list(HEAD.values()), "plain", disable_numparse=True, colalign=align)
        why = [textwrap.indent(line, "  ") for line in _whys(finding)]
        block = [textwrap.fill(head, WIDTH), f"  {about}", textwrap.indent(table, "  "), *why]
        pieces.append("\n".join(block))
    remarks = (f"- {note}" for note in notes(findings))
    wrapped = (textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in remarks)
    return "\n\n".join([*pieces, "\n".join(wrapped)]) + "\n"


def to_markdown(findings: Findings) -> str:
    """For a page."""
    pieces = ["## Findings"]
    for finding in findings.results:
        claim = finding.claim
        head = f"**{finding.verdict}**{_of_claim(finding)}: {escape(claim.says)}"
        about = f"{claim.dataset}; {claim.source}; {claim.paper.title} (`{claim.id}`)"
        rows = [[escape(c) for c in cells(test).values()] for test in finding.tests]
        table = grid(list(HEAD.values()), rows, left=3)
        pieces += [f"{head}\n\n{escape(about)}", table, *map(escape, _whys(finding))]
    pieces.append("\n".join(f"- {escape(note)}" for note in notes(findings)))
    return "\n\n".join(pieces) + "\n"


def to_short(findings: Findings) -> str:
    """Whether synthetic data helps, a line per data set: the claims that answer it, and effects.

    In points, of the first column and the first block of a claim.
    """
    lines = []
    for finding in findings.results:
        claim = finding.claim
        if claim.answer:
            shown = [t for t in finding.tests if (t.column, t.block) == _first(finding)]
            effects = ", ".join(map(_effect, shown))
            head = f"- **{claim.dataset}**, {finding.verdict}{_of_claim(finding)}: {claim.says}"
            where = f"{_first(finding)[0].name}, {_first(finding)[1].title}"
            lines.append(f"{head} {where}: {effects}.")
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _first(finding: Finding) -> tuple[Column, Block]:
    return finding.tests[0].column, finding.tests[0].block


def _effect(test: Comparison) -> str:
    d = test.difference
    if d is None:
        return f"{test.rows[0]}: {test.why}"
    numbers = f"{100 * d.value:+.1f} ({100 * d.low:.1f} to {100 * d.high:.1f})"
    return f"`{says(test)}` {numbers}"


def _whys(finding: Finding) -> list[str]:
    whys = dict.fromkeys(test.why for test in finding.tests if test.why)
    return [f"{why}." for why in whys]


def plain(findings: Findings) -> dict[str, Any]:
    """For machines: fractions stay fractions, missing is null."""
    return {
        "profile": findings.profile,
        "rule": findings.rule,
        "select": findings.select,
        "claims": [
            {
                "id": f.claim.id,
                "says": f.claim.says,
                "source": f.claim.source,
                "dataset": f.claim.dataset,
                "table": f.claim.paper.title,
                "verdict": f.verdict,
                "p": f.p,
                "p_corrected": f.corrected,
                "tests": list(_plain_tests(f.tests)),
            }
            for f in findings.results
        ],
    }


def _plain_tests(tests: Iterable[Comparison]) -> Iterable[dict[str, Any]]:
    for test in tests:
        yield {
            "rows": list(test.rows),
            "block": test.block.key,
            "column": test.column.name,
            "verdict": test.verdict,
            "why": test.why or None,
            "published_points": test.published,
            "published_by_another_rule": test.other,
            "p_for": test.for_claim,
            "p_against": test.against_claim,
            "difference": None if test.difference is None else asdict(test.difference),
        }
