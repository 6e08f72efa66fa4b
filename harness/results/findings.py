"""The paper's claims, each tested on the records of a profile: what holds, what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import DataError, UsageError
from harness.results import comparison, measures
from harness.results.claims import WEIGHTS, Claim
from harness.results.comparison import Difference
from harness.results.leaderboard import Record
from harness.results.published_table import Block, Column
from harness.results.statistics import holm, tail

HOLDS, FAILS, OPEN, NO_RUNS = "holds", "does not hold", "undecided", "no runs"
IMPOSSIBLE = "not on this data"  # of a comparison that no run of this data set can make
VERDICTS = (HOLDS, FAILS, OPEN, NO_RUNS, IMPOSSIBLE)
LEVEL = 0.05  # of the corrected p


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

    @property
    def says(self) -> str:
        """The rows compared, as a difference."""
        a, b, *others = self.rows
        if not others:
            return f"{a} - {b}"
        c, d, *last = others
        other = f"({c} - {d})" if not last else f"(({c} - {d}) - ({last[0]} - {last[1]}))"
        return f"({a} - {b}) - {other}"


@dataclass(frozen=True)
class Finding:
    """A claim and its comparisons, all of which it needs that this data set can make.

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
    def needed(self) -> tuple[Comparison, ...]:
        """The comparisons that decide."""
        return tuple(test for test in self.tests if test.verdict != IMPOSSIBLE)

    @property
    def verdict(self) -> str:
        if not self.needed:
            return IMPOSSIBLE
        if all(test.verdict == NO_RUNS for test in self.needed):
            return NO_RUNS
        if self.corrected is None or self.corrected >= LEVEL:
            return OPEN
        holds, fails = self._ps()
        return HOLDS if holds is not None and (fails is None or holds < fails) else FAILS

    def _ps(self) -> tuple[float | None, float | None]:
        """p of holding, None where a comparison is missing, and of not holding."""
        ups = [test.for_claim for test in self.needed]
        downs = [test.against_claim for test in self.needed if test.against_claim is not None]
        whole = [p for p in ups if p is not None]
        holds = max(whole) if len(whole) == len(ups) and whole else None
        return holds, min(1.0, len(self.needed) * min(downs)) if downs else None


@dataclass(frozen=True)
class Findings:
    profile: str
    rule: str
    select: str
    results: tuple[Finding, ...]
    claims: int = 0  # for which p was corrected, those of other data sets too
    pools: tuple[str, ...] = ()  # how far the pool moves differences, where that was measured


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
    were tested, whether returned or not: a verdict does not depend on what is shown.
    """
    results = corrected(tested(claims, records, rule, select))
    shown = [f for f in results if datasets is None or f.claim.dataset in datasets]
    return Findings(profile, rule, select, tuple(shown), count(results))


def tested(
    claims: Sequence[Claim], records: Mapping[str, Sequence[Record]], rule: str, select: str
) -> list[Finding]:
    """The claims about these data sets, each by itself."""
    known = [claim for claim in claims if claim.dataset in records]
    return [Finding(claim, _tests(claim, records, rule, select)) for claim in known]


def corrected(findings: Sequence[Finding]) -> list[Finding]:
    """The same with p corrected for how many claims they are (Holm 1979)."""
    ps = holm([finding.p for finding in findings])
    return [replace(f, corrected=p) for f, p in zip(findings, ps, strict=True)]


def count(findings: Sequence[Finding]) -> int:
    """How many claims have a p."""
    return sum(finding.p is not None for finding in findings)


def _tests(
    claim: Claim, records: Mapping[str, Sequence[Record]], rule: str, select: str
) -> tuple[Comparison, ...]:
    """Its comparisons: by block, column and pair of rows."""
    tests = []
    for block in claim.blocks:
        for column in claim.columns:
            for rows in claim.compare:
                path = column.path.format(rule=rule)
                try:
                    d, why = _measured(records[claim.dataset], claim, block, path, rows, select)
                    up, down, why = _one_sided(d, claim.within, why)
                    verdict = _verdict(up, down, why)
                except measures.NoSuchClasses as error:
                    d = up = down = None
                    why, verdict = str(error), IMPOSSIBLE
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
    """The contrast, or why there is none; NoSuchClasses where there never can be one."""
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
    except measures.NoSuchClasses:
        raise
    except (DataError, UsageError) as error:  # other images, no common seed
        return None, str(error)
    if difference is None:
        raise measures.NoSuchClasses("a group without classes")
    return difference, ""


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
        name = column.printed or column.name
        return (cells.numbers[name].value if cells else None), column.printed is not None
    by_method = {row.method: row for row in claim.paper.rows}
    printed = [by_method[r].cells.get(block.key) if r in by_method else None for r in rows]
    effect, other = 0.0, False
    for weight, cells in zip(WEIGHTS[len(rows)], printed, strict=True):
        if cells is None or not cells.target:
            return None, False
        effect += weight * cells.numbers[column.name].value
        other |= column.by_rule and cells.grouped_by != rule
    return round(effect, 6), other
