"""Findings as text, Markdown and JSON, and the short answer that they give."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from harness.results.deciding import Need, need
from harness.results.findings import LEVEL, NO_RUNS, VERDICTS, Comparison, Finding, Findings
from harness.results.leaderboard import PROFILE_TEXTS
from harness.results.markdown import escape, grid
from harness.results.reasons import sentences

WIDTH = 100
EFFECTS = 4  # of a claim in the short form


def cells(test: Comparison) -> dict[str, str]:
    """What a line of a table holds, as text."""
    d = test.difference
    effect = interval = n = p = "·"
    if d is not None:
        effect, interval = f"{100 * d.value:+.2f}", f"{100 * d.low:+.2f} to {100 * d.high:+.2f}"
        n = f"{len(d.seeds)} x {d.images:,}"
        if d.by_image is not None:
            low, high = 100 * d.by_image.low, 100 * d.by_image.high
            interval += f" (by image {low:+.2f} to {high:+.2f})"
            n += f" at {d.locations}"
        p = "–" if test.for_claim is None or d.p is None else _p(d.p)
    published = "–" if test.published is None else f"{test.published:+.2f}{'†' * test.other}"
    return {
        "verdict": test.verdict,
        "rows": test.says,
        "where": f"{test.column.name}, {test.block.title}",
        "effect": effect,
        "interval": interval,
        "n": n,
        "p": p,
        "published": published,
    }


def p_of_claim(finding: Finding) -> str:
    """The corrected p of a claim in brackets; nothing where there is none."""
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
        *_on_locations(findings),
        *_on_pools(findings),
        "A claim holds where all of its comparisons do: its p is the largest of theirs "
        "(intersection-union test). It does not hold where one of them is the other way round: the "
        f"smallest p, times their number. Verdicts at {LEVEL:g} after Holm's correction for all "
        f"{findings.claims} claims that have runs, shown here or not.",
        "† published for other groups of classes than this; · no runs; – nothing there.",
    ]
    remarks += [f"{f.claim.id}: {f.claim.note}" for f in findings.results if f.claim.note]
    return remarks


def _on_locations(findings: Findings) -> Iterator[str]:
    """Which intervals are by location, and which should be."""
    known: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for finding in findings.results:
        for test in finding.tests:
            if test.difference is not None and test.column.path.endswith("macro_f1"):
                some = unknown if test.difference.locations is None else known
                some[finding.claim.dataset] = None
    if known:
        yield (
            f"{', '.join(known)}: locations of cameras are resampled, not images, because the "
            "claims are about locations; seeds x images at so many locations. Student's t has one "
            "degree of freedom fewer than locations for this part of the variance. By image: what "
            "resampling images gives, which says nothing of other locations."
        )
    if unknown:
        yield (
            f"{', '.join(unknown)}: these records do not say at which location a test image was "
            "taken; their intervals resample images, and say nothing of other locations. Delete "
            "the records, and `harness train` writes them anew, from the stored predictions."
        )


def _on_pools(findings: Findings) -> Iterator[str]:
    yield (
        "A third source of variance is in no interval: all seeds share one pool of synthetic "
        "images, one set of hard images and one validation set. docs/leaderboards.md says how to "
        "measure it with further pools."
    )
    yield from findings.pools


def to_text(findings: Findings) -> str:
    """For the terminal: a paragraph and a small table per claim, then the notes."""
    from tabulate import tabulate

    pieces = []
    for finding in findings.results:
        claim = finding.claim
        head = f"{finding.verdict.upper()}{p_of_claim(finding)}: {claim.says}"
        about = f"{claim.dataset}; {claim.source}; {claim.paper.title} [{claim.id}]"
        body = [list(cells(test).values()) for test in finding.tests]
        align = ("left",) * 3 + ("right",) * 5
        table = tabulate(body, list(HEAD.values()), "plain", disable_numparse=True, colalign=align)
        why = [
            textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="  ")
            for line in _whys(finding, findings.claims)
        ]
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
        head = f"**{finding.verdict}**{p_of_claim(finding)}: {escape(claim.says)}"
        about = f"{claim.dataset}; {claim.source}; {claim.paper.title} (`{claim.id}`)"
        rows = [[escape(c) for c in cells(test).values()] for test in finding.tests]
        table = grid(list(HEAD.values()), rows, left=3)
        pieces += [f"{head}\n\n{escape(about)}", table]
        pieces += map(escape, _whys(finding, findings.claims))
    pieces.append("\n".join(f"- {escape(note)}" for note in notes(findings)))
    return "\n\n".join(pieces) + "\n"


def to_short(findings: Findings) -> str:
    """Whether synthetic data helps, a sentence per data set: the claims that answer it.

    Effects are in points: of the claim's first column in all of its blocks, and of the others while
    there are at most EFFECTS of them.
    """
    lines = []
    for finding in findings.results:
        claim = finding.claim
        if claim.answer:
            size = len(claim.blocks) * len(claim.compare)
            effects = {}
            for column in claim.columns[: max(1, EFFECTS // size)]:
                for block in claim.blocks:
                    some = [t for t in finding.tests if (t.column, t.block) == (column, block)]
                    effects[f"{column.name}, {block.title}"] = ", ".join(map(_effect, some))
            head = f"- **{claim.dataset}**, {finding.verdict}{p_of_claim(finding)}"
            numbers = "; ".join(f"{where}: {some}" for where, some in effects.items())
            lines.append(f"{head}: {claim.says.rstrip('.')} – {numbers}.")
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _effect(test: Comparison) -> str:
    d = test.difference
    if d is None:
        return f"{test.rows[0]}: {test.why}"
    return f"`{test.says}` {100 * d.value:+.1f} ({100 * d.low:.1f} to {100 * d.high:.1f})"


def _whys(finding: Finding, claims: int) -> list[str]:
    """Why there is no verdict, or not on all comparisons."""
    missing = dict.fromkeys(t.why for t in finding.tests if t.verdict == NO_RUNS)
    return [*(f"{why[:1].upper()}{why[1:]}." for why in missing), *sentences(finding, claims)]


def plain(findings: Findings) -> dict[str, Any]:
    """For machines: fractions stay fractions, missing is null."""
    return {
        "profile": findings.profile,
        "rule": findings.rule,
        "select": findings.select,
        "notes": notes(findings),
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
                "why": " ".join(sentences(f, findings.claims)) or None,
                "to_decide": _plain_need(need(f, findings.claims)),
                "tests": list(_plain_tests(f.tests)),
            }
            for f in findings.results
        ],
    }


def _plain_need(takes: Need | None) -> dict[str, Any] | None:
    if takes is None:
        return None
    about = {"verdict": takes.verdict, "rows": list(takes.test.rows), "margin": takes.margin}
    sizes = takes.size and asdict(takes.size)
    return about | {"column": takes.test.column.name, "block": takes.test.block.key, "size": sizes}


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
            "difference": None if test.difference is None else _finite(asdict(test.difference)),
        }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: degrees of freedom without an end are null."""
    return {
        name: _finite(value) if isinstance(value, dict) else None if value == math.inf else value
        for name, value in values.items()
    }
