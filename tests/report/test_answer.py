"""What the page opens with, and that intervals and p of findings agree."""

import html
import re
from dataclasses import replace
from pathlib import Path

import drawn_records
import pytest

from harness import report
from harness.report.answer import answer
from harness.results import claims
from harness.results.findings import FAILS, HOLDS, LEVEL, NO_RUNS, OPEN, Finding, Findings
from harness.results.findings_text import cells

SETS = ["cifar100-lt", "imagenet-lt", "inaturalist2018", "iwildcam"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Of the project's own records."""
    home = tmp_path_factory.mktemp("home")
    return report.findings_of(report.workspaces("mini", home, SETS), claims.read())


def judged(findings: Findings, **verdicts: str) -> Findings:
    """With verdicts of one's own on the claims that answer, by the start of the data set's name."""

    class Judged(Finding):
        @property
        def verdict(self) -> str:
            name = self.claim.dataset
            return next((v for k, v in verdicts.items() if name.startswith(k)), NO_RUNS)

    results = (Judged(f.claim, f.tests, f.corrected) for f in findings.results)
    return replace(findings, results=tuple(results))


def test_the_answer_is_that_of_the_findings(reference: Findings) -> None:
    by_set = {name: {f.verdict for f in reference.results if f.claim.answer
                     and f.claim.dataset == name} for name in SETS}  # fmt: skip
    says = answer(reference, SETS).says
    for name, verdicts in by_set.items():
        sentence = next(s for s in says.split(".") if name in s)
        if verdicts == {HOLDS}:
            assert sentence.strip().startswith("It does on")
        elif FAILS in verdicts:
            assert sentence.strip().startswith("It does not on")
        else:
            assert sentence.strip().startswith("It is undecided on")


def test_every_verdict_has_a_sentence(reference: Findings) -> None:
    some = judged(reference, cifar=HOLDS, image=HOLDS, inat=FAILS)
    assert answer(some, SETS).says == (
        "It does on cifar100-lt and imagenet-lt. It does not on inaturalist2018. "
        "No runs answer it on iwildcam."
    )
    assert [says.partition(": ")[0] for says in answer(some, SETS).meaning] == [
        "holds on cifar100-lt and imagenet-lt, does not hold on inaturalist2018",
        *["no runs on iwildcam"] * 2,
    ]
    some = judged(reference, cifar=OPEN)
    assert answer(some, SETS[:1]).says == "It is undecided on cifar100-lt."
    assert answer(reference, ["my-own"]).says == (
        "The paper makes no claim about my-own: see the leaderboards."
    )


def test_the_chart_shows_every_comparison_of_the_answer(reference: Findings) -> None:
    figure = answer(reference, SETS).figure
    assert figure is not None
    tests = [(f, t) for f in reference.results if f.claim.answer for t in f.tests if t.difference]
    assert len(figure.rows) == len(tests) > 15
    assert [row[0] for row in figure.rows] == sorted(row[0] for row in figure.rows)
    rows = {(row[0], row[1], row[2], row[3]): row[4:] for row in figure.rows}
    for finding, test in tests:
        d = test.difference
        assert d is not None
        where = (finding.claim.dataset, test.says, test.block.title, test.column.name)
        assert rows[where][:3] == tuple(round(100 * v, 3) for v in (d.value, d.low, d.high))
    assert {"CE+DisCL − its control, imbalance ratio 50", "FLYP+DisCL − FLYP"} <= set(
        figure.drawn["labels"]
    )
    assert answer(judged(reference), ["my-own"]).figure is None


@pytest.mark.parametrize("own", [False, True])
def test_intervals_and_p_agree(reference: Findings, tmp_path: Path, own: bool) -> None:
    """One procedure: an interval leaves out zero exactly where p is below 0.05, as printed, too."""
    findings = reference
    if own:
        drawn_records.all_sets(tmp_path)
        findings = report.findings_of(report.workspaces("mini", tmp_path, SETS), claims.read())
    seen = set()
    for finding in findings.results:
        for test in finding.tests:
            d = test.difference
            if d is None or d.p is None or d.value == 0:
                continue
            outside = d.low > 0 or d.high < 0
            assert outside == (d.p < LEVEL), (finding.claim.id, test.says)
            assert d.low <= d.value <= d.high
            printed = cells(test)
            low, high = map(float, printed["interval"].partition(" (")[0].split(" to "))
            if abs(d.p - LEVEL) > 0.005:  # else rounding decides
                assert (low > 0 or high < 0) == (d.p < LEVEL)
            seen.add(outside)
    assert seen == {True, False}


def test_the_page_opens_with_the_answer(
    tmp_path: Path, reference: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "findings_of", lambda *_: reference)  # computed once
    page = report.make(report.workspaces("mini", tmp_path, SETS), pictures=1)
    says = re.search(r'<h1>(.*?)</h1>\s*<p class="answer">(.*?)</p>', page)
    assert says is not None
    assert says[1] == "Does synthetic data help?"
    assert html.unescape(says[2]) == answer(reference, SETS).says
    for claim in answer(reference, SETS).meaning:  # never without its verdict
        assert f"<p>{claim[:1].upper()}{claim[1:]}</p>" in html.unescape(page).replace(
            ' class="lead"', ""
        )
    assert page.index('id="answer-chart"') < page.index('<nav class="contents"')
    assert "built-in world" in page[: page.index('id="answer-chart"')]
    size = len(page.encode())
    assert size < 3e6
