"""What the page opens with: whether synthetic data helps, and the chart that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.figures import Figure, Value, colour
from harness.results.findings import (
    FAILS,
    HOLDS,
    LEVEL,
    NO_RUNS,
    OPEN,
    Comparison,
    Finding,
    Findings,
)
from harness.results.findings_text import p_of_claim

SAYS = {  # of data sets by the verdict on their claims
    HOLDS: "It does on {}.",
    FAILS: "It does not on {}.",
    OPEN: "It is undecided on {}.",
    NO_RUNS: "No runs answer it on {}.",
}
UNCLAIMED = "The paper makes no claim about {}: see the leaderboards."


@dataclass(frozen=True)
class Answer:
    """says: in a sentence or two; meaning: each claim behind it, with its verdicts."""

    says: str
    meaning: tuple[str, ...]
    figure: Figure | None


def answer(findings: Findings, datasets: Sequence[str]) -> Answer:
    """Of the claims that say whether synthetic data helps on these data sets."""
    claims = [f for name in datasets for f in findings.results if _answers(f, name)]
    verdicts = {name: _verdict([f for f in claims if f.claim.dataset == name]) for name in datasets}
    sentences = [
        text.format(_listed(name for name in datasets if verdicts[name] == verdict))
        for verdict, text in SAYS.items()
        if verdict in verdicts.values()
    ]
    unclaimed = [name for name, verdict in verdicts.items() if verdict is None]
    if unclaimed:
        sentences.append(UNCLAIMED.format(_listed(unclaimed)))
    return Answer(" ".join(sentences), tuple(_meaning(claims)), _figure(claims))


def _answers(finding: Finding, dataset: str) -> bool:
    return finding.claim.answer and finding.claim.dataset == dataset


def _verdict(claims: Sequence[Finding]) -> str | None:
    """Of all claims about a data set: they hold, one does not, or neither; None without claims."""
    verdicts = {f.verdict for f in claims}
    if not verdicts:
        return None
    if len(verdicts) == 1 and verdicts <= {HOLDS, NO_RUNS}:
        return verdicts.pop()
    return FAILS if FAILS in verdicts else OPEN


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _meaning(claims: Sequence[Finding]) -> Iterable[str]:
    """What the claims say, each after its verdicts: a claim alone would read as a result."""
    about: dict[str, dict[str, list[str]]] = {}
    for finding in claims:
        verdicts = about.setdefault(finding.claim.says, {})
        verdicts.setdefault(finding.verdict, []).append(finding.claim.dataset)
    for says, verdicts in about.items():
        where = [f"{verdict} on {_listed(names)}" for verdict, names in verdicts.items()]
        yield f"{', '.join(where)}: {says}"


def _figure(claims: Sequence[Finding]) -> Figure | None:
    """Every comparison of the claims with its interval; None where nothing was measured."""
    rows: list[tuple[Value, ...]] = []
    labels, heads = [], []
    for finding in claims:
        head = f"{finding.claim.dataset}: {finding.verdict}{p_of_claim(finding)}"
        several = len(finding.claim.blocks) > 1
        for test in finding.tests:
            d = test.difference
            if d is None:
                continue
            about = (finding.claim.dataset, test.says, test.block.title, test.column.name)
            points = (round(100 * v, 3) for v in (d.value, d.low, d.high))
            rows.append((*about, *points, d.p if d.p is None else round(d.p, 4)))
            labels.append(_short(test, several))
            heads.append(head)
    if not rows:
        return None
    series = list(dict.fromkeys(str(row[3]) for row in rows))
    drawn = {
        "labels": labels,
        "heads": heads,
        "series": [{"name": name, "colour": colour(i)} for i, name in enumerate(series)],
        "x": "difference in points",
    }
    columns = ("Data set", "Difference", "Where", "Column", "Points", "From", "To", "p")
    title = "With synthetic data minus without, in points"
    caption = (
        "Right of zero: better with synthetic data. Bars: 95 % intervals, each of its comparison "
        f"alone; a verdict takes all of its claim, p below {LEVEL:g} after correction. Its "
        "control: the same steps without synthetic images."
    )
    differences = [t.difference for f in claims for t in f.tests if t.difference is not None]
    if any(len(d.seeds) < 2 for d in differences):
        caption += " With one seed, an interval holds the spread of test images only."
    label = f"Answer: {title}"
    return Figure("answer-chart", title, "intervals", columns, rows, caption, drawn, label)


def _short(test: Comparison, several: bool) -> str:
    """The rows of a comparison by their terms; of several blocks, this one."""
    names = [_term(row, test.rows[0]) for row in test.rows]
    label = " − ".join(names[:2]) if len(names) == 2 else test.says
    return f"{label}, {test.block.title}" if several else label


def _term(row: str, first: str) -> str:
    """An expression without arguments; its own start without synthetic images is its control."""
    if "control=True" in row and row != first:
        return "its control"
    return row.partition("(")[0] if row.endswith(")") and row.count("(") == 1 else row
