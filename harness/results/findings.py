"""The paper's claims, each tested on the records of a profile: what holds, what does not."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.core.errors import DataError, UsageError
from harness.results import comparison
from harness.results.claims import Claim
from harness.results.comparison import Difference
from harness.results.leaderboard import PROFILE_TEXTS, Record
from harness.results.markdown import escape, grid
from harness.results.published_table import Block, Column
from harness.results.statistics import holm, tail

HOLDS, FAILS, OPEN, NO_RUNS = "holds", "does not hold", "undecided", "no runs"
VERDICTS = (HOLDS, FAILS, OPEN, NO_RUNS)
LEVEL = 0.05  # of the corrected p
WEIGHTS = {2: (1.0, -1.0), 4: (1.0, -1.0, -1.0, 1.0)}  # of a claim's expressions
WIDTH = 100


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim in one block and column; effects in points (percent).

    published: computed from the table; None where it prints nothing. other: its groups are by
    another rule than the one asked for. verdict: what this comparison says alone, at LEVEL. why:
    what stands in the way of a verdict. for_claim, against_claim: one-sided p of the direction that
    the claim needs, and of the contrary; None without a verdict.
    """

    rows: tuple[str, ...]
    block: Block
    column: Column
    published: float | None
    other: bool
    difference: Difference | None
    verdict: str
    why: str
    for_claim: float | None = None
    against_claim: float | None = None


@dataclass(frozen=True)
class Finding:
    """A claim and its comparisons, all of which it needs.

    p: of the claim as a whole, two-sided; corrected: for all claims (Holm). A claim that needs all
    of its comparisons is an intersection-union test (Berger 1982): the p of its holding is the
    largest of theirs. It does not hold where one of them is the other way round: the p of that is
    the smallest, times their number. The smaller one decides, doubled for having two chances.
    """

    claim: Claim
    tests: tuple[Comparison, ...]
    corrected: float | None = None

    @property
    def p(self) -> float | None:
        holds, fails = self._ps()
        known = [p for p in (holds, fails) if p is not None]
        return min(1.0, 2 * min(known)) if known else None

    @property
    def verdict(self) -> str:
        if all(test.verdict == NO_RUNS for test in self.tests):
            return NO_RUNS
        if self.corrected is None or self.corrected >= LEVEL:
            return OPEN
        holds, fails = self._ps()
        return HOLDS if holds is not None and (fails is None or holds < fails) else FAILS

    def _ps(self) -> tuple[float | None, float | None]:
        """p of holding, None where a comparison is missing, and of not holding."""
        ups = [test.for_claim for test in self.tests]
        downs = [test.against_claim for test in self.tests if test.against_claim is not None]
        whole = [p for p in ups if p is not None]
        holds = max(whole) if len(whole) == len(ups) and whole else None
        return holds, min(1.0, len(self.tests) * min(downs)) if downs else None


@dataclass(frozen=True)
class Findings:
    profile: str
    rule: str
    select: str
    results: tuple[Finding, ...]
    claims: int = 0  # for which p was corrected, those of other data sets too


def find(
    claims: Sequence[Claim],
    records: Mapping[str, Sequence[Record]],
    profile: str,
    rule: str = "A",
    select: str = "last",
    datasets: Sequence[str] | None = None,
) -> Findings:
    """Tests every claim about the data sets of `records` (of the profile, by data set).

    datasets: those whose findings are returned (default: all). p is corrected for all claims that
    were tested (Holm 1979), whether returned or not: a verdict does not depend on what is shown.
    """
    tested = [claim for claim in claims if claim.dataset in records]
    results = [Finding(claim, _tests(claim, records, rule, select)) for claim in tested]
    corrected = holm([finding.p for finding in results])
    whole = [replace(f, corrected=p) for f, p in zip(results, corrected, strict=True)]
    shown = [f for f in whole if datasets is None or f.claim.dataset in datasets]
    return Findings(profile, rule, select, tuple(shown), sum(p is not None for p in corrected))


def _tests(
    claim: Claim, records: Mapping[str, Sequence[Record]], rule: str, select: str
) -> tuple[Comparison, ...]:
    """Its comparisons: by block, column and pair of rows."""
    tests = []
    for block in claim.blocks:
        for column in claim.columns:
            for rows in claim.compare:
                path = column.path.format(rule=rule)
                d, why = _measured(records[claim.dataset], claim, block, path, rows, select)
                up, down, why = _one_sided(d, claim.within, why)
                verdict = _verdict(up, down, why)
                effect, other = _published(claim, block, column, rows, rule)
                about = (rows, block, column, effect, other, d, verdict, why, up, down)
                tests.append(Comparison(*about))
    return tuple(tests)


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
        difference = comparison.contrast(terms, path, select, records)
    except (DataError, UsageError) as error:  # more worst classes than there are, other images
        return None, str(error)
    return difference, "" if difference is not None else "a group without classes"


def _one_sided(
    d: Difference | None, within: float | None, why: str
) -> tuple[float | None, float | None, str]:
    """p of what the claim says of a difference, p of the contrary; or why there are none.

    within: in points; a difference is then claimed to be smaller than that, whatever its sign (two
    one-sided tests, Schuirmann 1987), and the contrary is that it is larger.
    """
    if d is None:
        return None, None, why
    if len(d.seeds) < 2:
        return None, None, "one seed tells nothing of the spread between runs"
    if d.p is None:
        return None, None, "neither seeds nor test images vary: there is no interval"
    if not d.error:  # equal rows
        return (0.0, 1.0, "") if within else (1.0, 1.0, "")
    if within is None:
        return tail(-d.value / d.error, d.df), tail(d.value / d.error, d.df), ""
    inside = (abs(d.value) - within / 100) / d.error
    wide = f"the interval is wider than {within:g} points" if d.high - d.low > within / 50 else ""
    return tail(inside, d.df), tail(-inside, d.df), wide


def _verdict(up: float | None, down: float | None, why: str) -> str:
    """What one comparison says alone."""
    if up is None or down is None:
        return NO_RUNS if why.startswith("no runs") else OPEN
    return HOLDS if 2 * up < LEVEL else FAILS if 2 * down < LEVEL else OPEN


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
