"""The paper's claims, each tested on the records of a profile: what holds, what does not."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.errors import DataError, UsageError
from harness.results import comparison
from harness.results.claims import Claim
from harness.results.comparison import Difference
from harness.results.leaderboard import PROFILE_TEXTS, Record
from harness.results.markdown import escape, grid
from harness.results.published_table import Block, Column

HOLDS, FAILS, OPEN, NO_RUNS = "holds", "does not hold", "undecided", "no runs"
VERDICTS = (HOLDS, FAILS, OPEN, NO_RUNS)
LEVEL = 0.05  # of the corrected p
WEIGHTS = {2: (1.0, -1.0), 4: (1.0, -1.0, -1.0, 1.0)}  # of a claim's expressions
WIDTH = 100


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim in one block and column; effects in points (percent).

    published: computed from the table; None where it prints nothing. other: its groups are by
    another rule than the one asked for. why: what stands in the way of a verdict.
    """

    rows: tuple[str, ...]
    block: Block
    column: Column
    published: float | None
    other: bool
    difference: Difference | None
    verdict: str
    why: str


@dataclass(frozen=True)
class Finding:
    claim: Claim
    tests: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """Of all tests together: one that fails decides; all must hold for it to hold."""
        verdicts = [test.verdict for test in self.tests]
        if FAILS in verdicts:
            return FAILS
        for same in (HOLDS, NO_RUNS):
            if all(v == same for v in verdicts):
                return same
        return OPEN


@dataclass(frozen=True)
class Findings:
    profile: str
    rule: str
    select: str
    results: tuple[Finding, ...]


def find(
    claims: Sequence[Claim],
    records: Mapping[str, Sequence[Record]],
    profile: str,
    rule: str = "A",
    select: str = "last",
) -> Findings:
    """Tests every claim about these data sets.

    records: of the profile, by data set. p-values are corrected (Holm) for all tests together.
    """
    tested_claims = [claim for claim in claims if claim.dataset in records]
    places = [
        (claim, block, column, rows)
        for claim in tested_claims
        for block in claim.blocks
        for column in claim.columns
        for rows in claim.compare
    ]
    measured = [
        _measured(records[claim.dataset], claim, block, column.path.format(rule=rule), rows, select)
        for claim, block, column, rows in places
    ]
    # a claim of no difference is told by its interval, and one seed tells nothing: no p for these
    tested = [
        None if claim.within or d is None or len(d.seeds) < 2 else d
        for (claim, *_), (d, _) in zip(places, measured, strict=True)
    ]
    corrected = comparison.corrected(tested)
    tests: dict[str, list[Comparison]] = {claim.id: [] for claim in tested_claims}
    for (claim, block, column, rows), (raw, why), p in zip(
        places, measured, corrected, strict=True
    ):
        difference = p or raw
        verdict, why = _verdict(difference, claim.within, why)
        effect, other = _published(claim, block, column, rows, rule)
        tests[claim.id].append(
            Comparison(rows, block, column, effect, other, difference, verdict, why)
        )
    results = tuple(Finding(claim, tuple(tests[claim.id])) for claim in tested_claims)
    return Findings(profile, rule, select, results)


def _measured(
    records: Sequence[Record],
    claim: Claim,
    block: Block,
    path: str,
    rows: Sequence[str],
    select: str,
) -> tuple[Difference | None, str]:
    """The contrast, or why there is none."""
    runs_by_row = [
        [
            r
            for r in records
            if (r["method"], r["imbalance"]) == (row, block.imbalance)
            and claim.paper.backbone in (None, r["backbone"])
        ]
        for row in rows
    ]
    missing = [row for row, runs in zip(rows, runs_by_row, strict=True) if not runs]
    if missing:
        names = " and ".join(dict.fromkeys(missing))
        return None, f"no runs of {names}, {block.title}"
    try:
        terms = list(zip(WEIGHTS[len(rows)], runs_by_row, strict=True))
        difference = comparison.contrast(terms, path, select)
    except (DataError, UsageError) as error:  # more worst classes than there are, other images
        return None, str(error)
    return difference, "" if difference is not None else "a group without classes"


def _verdict(d: Difference | None, within: float | None, why: str) -> tuple[str, str]:
    if d is None:
        return (NO_RUNS if why.startswith("no runs") else OPEN), why
    if len(d.seeds) < 2:
        return OPEN, "one seed tells nothing of the spread between runs"
    if d.p is None:
        return OPEN, "neither seeds nor test images vary: there is no interval"
    if within is not None:
        if -within / 100 <= d.low and d.high <= within / 100:
            return HOLDS, ""
        outside = d.low > within / 100 or d.high < -within / 100
        return (FAILS, "") if outside else (OPEN, f"the interval is wider than {within:g} points")
    if d.corrected is None or d.corrected >= LEVEL:
        return OPEN, ""
    return (HOLDS if d.value > 0 else FAILS), ""


def _published(
    claim: Claim, block: Block, column: Column, rows: Sequence[str], rule: str
) -> tuple[float | None, bool]:
    """The effect in points by the table's own numbers, and whether these are grouped otherwise."""
    if claim.paper.kind == "gains":
        gains = [r for r in claim.paper.rows if (r.method, r.over) == tuple(rows)]
        cells = gains[0].cells.get(block.key) if gains else None
        return (cells.numbers[column.name].value if cells else None), False
    by_method = {row.method: row for row in claim.paper.rows}
    printed = [by_method[r].cells.get(block.key) if r in by_method else None for r in rows]
    effect, other = 0.0, False
    for weight, cells in zip(WEIGHTS[len(rows)], printed, strict=True):
        if cells is None or not cells.target:
            return None, False
        effect += weight * cells.numbers[column.name].value
        other |= column.by_rule and cells.grouped_by != rule
    return round(effect, 6), other


# ---------------------------------------------------------------- told


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
        p = "–" if d.corrected is None else _p(d.corrected)
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
        "Effects in points. Paired over the seeds that all rows have and over the test images; p "
        "is two-sided, corrected (Holm) for all tests here. A claim holds where all of its tests "
        f"are significant at {LEVEL:g} in its direction, and does not where one is in the other; "
        "a claim of no difference by whether the interval lies within its limits.",
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
        head = f"{finding.verdict.upper()}: {claim.says}"
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
        head = f"**{finding.verdict}**: {escape(claim.says)}"
        about = f"{claim.dataset}; {claim.source}; {claim.paper.title} (`{claim.id}`)"
        rows = [[escape(c) for c in cells(test).values()] for test in finding.tests]
        table = grid(list(HEAD.values()), rows, left=3)
        pieces += [f"{head}\n\n{escape(about)}", table, *map(escape, _whys(finding))]
    pieces.append("\n".join(f"- {escape(note)}" for note in notes(findings)))
    return "\n\n".join(pieces) + "\n"


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
            "difference": None if test.difference is None else asdict(test.difference),
        }
