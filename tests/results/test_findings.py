"""Claims as data, and what records say of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import drawn_records
import numpy as np
import pytest

from harness.cli.main import main
from harness.core.errors import DataError
from harness.pipeline.workspace import Workspace
from harness.results import (
    claims,
    deciding,
    findings,
    findings_text,
    power,
    published,
    reasons,
)
from harness.results.comparison import Difference
from harness.results.findings import FAILS, HOLDS, IMPOSSIBLE, NO_RUNS, OPEN

SET = "cifar100-lt"
SMALL = """
version = 1
[[claims]]
id = "few"
says = "DisCL lifts the few."
source = "Table 2"
dataset = "cifar100-lt"
table = "table2"
columns = ["Few", "Overall"]
blocks = ["ir100"]
compare = [["CE+DisCL", "CE"]]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "findings.toml"
    file.write_text(SMALL)
    return file


def runs(seeds: int = 3, **lifts: float) -> list[dict[str, Any]]:
    """Runs of CE, DisCL over CE, ... at imbalance 100; lift in chances of a right guess."""
    workspace = Workspace(SET, "mini")
    names = {"disc": "CE+DisCL", "cuda": "CE+CUDA", "ce": "CE", "control": "CE(control=True)"}
    return [
        drawn_records.run(workspace, names[name], seed, 100, 0.3, lift)
        for name, lift in lifts.items()
        for seed in range(seeds)
    ]


def judged(file: Path, runs: list[dict[str, Any]], **changes: Any) -> findings.Finding:
    return findings.find(claims.read(file), {SET: runs}, "mini", **changes).results[0]


# ---------------------------------------------------------------- the claims themselves


def test_every_published_effect_supports_its_claim() -> None:
    """A claim the paper's own tables contradict would be a typing error here."""
    results = findings.find(claims.read(), {c.dataset: [] for c in claims.read()}, "mini")
    effects = 0
    for finding in results.results:
        assert finding.verdict == NO_RUNS
        for test in finding.tests:
            if test.published is None:
                continue
            effects += 1
            within = finding.claim.within
            supports = test.published > 0 if within is None else abs(test.published) <= within
            assert supports, (
                finding.claim.id,
                test.says,
                test.column,
                test.published,
            )
    assert effects > 60


def test_effects_are_computed_from_the_tables() -> None:
    results = findings.find(claims.read(), {c.dataset: [] for c in claims.read()}, "mini")
    by_id = {f.claim.id: f for f in results.results}
    few = by_id["base-imagenet-lt"].tests[0]
    assert (few.column.name, few.published) == ("Few", pytest.approx(23.64 - 4.40))
    assert few.other  # grouped by rules A and B
    gain = by_id["worst-imagenet-lt"].tests[0]
    assert (gain.column.name, gain.published) == ("k = 10", 7.6)
    larger = [t.published for t in by_id["base-imagenet-lt-resnet34"].tests]
    assert larger == [pytest.approx(3.54), None]  # BS there is CE+CUDA's numbers printed again
    assert all(t.published is None for t in by_id["amount-imagenet-lt"].tests)
    assert all(t.published is None for t in by_id["control-cifar100-lt"].tests)


def test_the_file_of_claims_is_no_table() -> None:
    assert claims.FILE.is_file()
    assert claims.FILE not in published.files()


# ---------------------------------------------------------------- verdicts


def test_a_clear_difference_holds(small: Path) -> None:
    finding = judged(small, runs(ce=0.0, disc=0.5))
    few = finding.tests[0]
    assert (finding.verdict, few.verdict) == (HOLDS, HOLDS)
    assert few.difference is not None
    assert few.difference.value > 0.2
    assert few.difference.seeds == (0, 1, 2)
    assert few.difference.images == drawn_records.CLASSES * drawn_records.TESTED


def test_the_contrary_does_not_hold(small: Path) -> None:
    finding = judged(small, runs(ce=0.5, disc=0.0))
    assert finding.verdict == FAILS
    assert finding.tests[0].difference is not None
    assert finding.tests[0].difference.value < 0


def test_no_difference_is_undecided(small: Path) -> None:
    assert judged(small, runs(ce=0.2, disc=0.2)).verdict == OPEN


def test_missing_runs_are_no_verdict(small: Path) -> None:
    finding = judged(small, runs(ce=0.2))
    assert finding.verdict == NO_RUNS
    assert finding.tests[0].why == "no runs of CE+DisCL, imbalance ratio 100"
    assert finding.tests[0].difference is None


def test_one_seed_decides_nothing(small: Path) -> None:
    finding = judged(small, runs(seeds=1, ce=0.0, disc=0.6))
    assert finding.verdict == OPEN
    assert "one seed" in finding.tests[0].why
    assert findings_text.cells(finding.tests[0])["p"] == "–"


def test_half_of_the_runs_is_not_enough(small: Path) -> None:
    small.write_text(SMALL.replace('"CE"]]', '"CE"], ["BS+DisCL", "BS"]]'))
    finding = judged(small, runs(ce=0.0, disc=0.5))
    assert {t.verdict for t in finding.tests} == {HOLDS, NO_RUNS}
    assert finding.verdict == OPEN


def test_one_contrary_test_decides(small: Path) -> None:
    small.write_text(SMALL.replace('"CE"]]', '"CE"], ["CE+DisCL", "CE+CUDA"]]'))
    finding = judged(small, runs(ce=0.0, disc=0.3, cuda=0.9))
    assert finding.verdict == FAILS


def test_a_claim_is_as_sure_as_its_weakest_comparison(small: Path) -> None:
    """Intersection-union: the largest one-sided p of its comparisons, doubled."""
    finding = judged(small, runs(ce=0.0, disc=0.25))
    assert len(finding.tests) > 1
    for test in finding.tests:
        d = test.difference
        assert d is not None
        assert test.for_claim == pytest.approx(d.p / 2 if d.value > 0 else 1 - d.p / 2)
    assert finding.p == pytest.approx(2 * max(t.for_claim for t in finding.tests))


def test_p_is_corrected_for_claims_and_not_for_comparisons(small: Path) -> None:
    alone = judged(small, runs(ce=0.0, disc=0.25))
    small.write_text(SMALL + SMALL.partition("version = 1")[2].replace('"few"', '"more"'))
    more = judged(small, runs(ce=0.0, disc=0.25))
    assert alone.corrected == alone.p == more.p
    assert more.corrected == pytest.approx(min(1, 2 * more.p))


def test_verdicts_do_not_depend_on_what_is_shown(small: Path) -> None:
    other = SMALL.partition("version = 1")[2].replace('"few"', '"more"').replace(SET, "imagenet-lt")
    small.write_text(SMALL + other.replace("table2", "table1").replace("ir100", "all"))
    known = claims.read(small)
    records = {SET: runs(ce=0.0, disc=0.25), "imagenet-lt": []}
    whole = findings.find(known, records, "mini")
    part = findings.find(known, records, "mini", datasets=[SET])
    assert [f.claim.dataset for f in part.results] == [SET]
    assert part.results[0] == whole.results[0]
    assert (part.claims, part.profile) == (whole.claims, whole.profile)


def test_what_it_would_take(small: Path) -> None:
    """With so many seeds and images, the effect is significant in 80 % of simulated runs."""
    found = findings.find(claims.read(small), {SET: runs(ce=0.0, disc=0.1)}, "mini")
    simulated = 0
    for p in power.powers(found):
        d = p.comparison.difference
        assert d is not None
        alpha = 0.05 / 2 / found.claims
        assert p.smallest == pytest.approx(deciding.smallest(d, alpha))
        for effect, size in ((p.effect, p.size), (p.margin, p.size_seen)):
            if effect and size:
                error = np.sqrt(d.between / size.seeds + d.shared * d.images / size.images)
                shift = np.random.default_rng(0).normal(effect, error, 20_000)
                assert (shift / error > 1.96).mean() > 0.79
                simulated += 1
    assert simulated
    text = power.to_text(found)
    assert "CE+DisCL - CE" in text
    assert "corrected for 1" in text


def test_no_difference_as_a_claim(small: Path) -> None:
    text = SMALL.replace('["Few", "Overall"]', '["Overall"]') + 'direction = "same"\nwithin = {}\n'
    runs_without_effect = runs(ce=0.2, disc=0.2)
    for within, verdict in ((90, HOLDS), (0.001, OPEN)):
        small.write_text(text.format(within))
        assert judged(small, runs_without_effect).verdict == verdict
    assert "wider than 0.001 points" in judged(small, runs_without_effect).tests[0].why
    small.write_text(text.format(1))
    assert judged(small, runs(ce=0.0, disc=0.6)).verdict == FAILS


def test_a_difference_of_differences(small: Path) -> None:
    rows = '[["CE+DisCL", "CE", "CE+CUDA", "CE"]]'
    small.write_text(SMALL.replace('[["CE+DisCL", "CE"]]', rows))
    finding = judged(small, runs(ce=0.0, disc=0.5, cuda=0.1))
    few = finding.tests[0]
    assert few.says == "(CE+DisCL - CE) - (CE+CUDA - CE)"
    assert few.published == pytest.approx((10.65 - 5.49) - (5.43 - 5.49))
    assert finding.verdict == HOLDS


def test_a_difference_of_gains(small: Path) -> None:
    rows = '[["CE+DisCL", "CE", "CE+CUDA", "CE", "CE+DisCL", "CE"]]'
    small.write_text(SMALL.replace('[["CE+DisCL", "CE"]]', rows))
    records = runs(ce=0.0, disc=0.5, cuda=0.3)
    few = judged(small, records).tests[0]
    assert few.says == "(CE+DisCL - CE) - ((CE+CUDA - CE) - (CE+DisCL - CE))"
    small.write_text(SMALL)
    gain = judged(small, records).tests[0].difference
    small.write_text(SMALL.replace('"CE+DisCL", "CE"', '"CE+CUDA", "CE"'))
    other = judged(small, records).tests[0].difference
    assert few.difference is not None
    assert gain is not None
    assert other is not None
    assert few.difference.value == pytest.approx(2 * gain.value - other.value)


# ---------------------------------------------------------------- what is not decided

WORST = """
version = 1
[[claims]]
id = "worst"
says = "The worst classes gain."
source = "Table 10"
dataset = "imagenet-lt"
table = "table10"
columns = ["k = 10", "k = 100"]
compare = [["BS+DisCL", "BS"]]
"""


def worst_runs(lift: float) -> list[dict[str, Any]]:
    workspace = Workspace("imagenet-lt", "mini")
    rows = (("BS", 0.0), ("BS+DisCL", lift))
    return [drawn_records.run(workspace, m, s, None, 0.3, x) for m, x in rows for s in range(3)]


def test_a_comparison_that_cannot_exist_does_not_decide(small: Path) -> None:
    small.write_text(WORST)
    results = findings.find(claims.read(small), {"imagenet-lt": worst_runs(0.6)}, "mini")
    finding = results.results[0]
    assert [t.verdict for t in finding.tests] == [HOLDS, IMPOSSIBLE]
    assert (finding.verdict, finding.p) == (HOLDS, 2 * finding.tests[0].for_claim)
    says = "Not part of the verdict: k = 100, which this data set cannot have (100 worst classes of"
    assert says in " ".join(findings_text.to_text(results).split())
    assert finding.tests[0].other  # the paper prints gains on classes chosen on the same images
    small.write_text(WORST.replace('"k = 10", ', ""))
    alone = findings.find(claims.read(small), {"imagenet-lt": worst_runs(0.6)}, "mini").results[0]
    assert (alone.verdict, alone.p) == (IMPOSSIBLE, None)


def test_claims_on_worst_classes_choose_them_on_other_images() -> None:
    (claim,) = (c for c in claims.read() if c.id == "worst-imagenet-lt")
    assert {c.path for c in claim.columns} == {"worst.10", "worst.50", "worst.100"}


def reasons_of(file: Path, runs: list[dict[str, Any]]) -> str:
    results = findings.find(claims.read(file), {SET: runs}, "mini")
    return " ".join(reasons.sentences(results.results[0], results.claims))


def test_undecided_claims_say_why_and_what_it_takes(small: Path) -> None:
    small.write_text(SMALL.replace('["Few", "Overall"]', '["Overall"]'))
    open_claim = reasons_of(small, runs(ce=0.2, disc=0.22))
    assert "Undecided because its interval includes zero (Overall, imbalance" in open_claim
    assert "if the differences seen were the true ones, it would" in open_claim.lower()
    assert "seeds and" in open_claim
    assert reasons_of(small, runs(ce=0.0, disc=0.5)) == ""
    small.write_text(SMALL.replace('"CE"]]', '"CE"], ["BS+DisCL", "BS"]]'))
    assert "2 of 4 comparisons lack runs" in reasons_of(small, runs(ce=0.0, disc=0.5))
    assert "one seed tells nothing" in reasons_of(small, runs(seeds=1, ce=0.0, disc=0.5))


def test_what_would_decide_is_about_the_comparison_in_the_way(small: Path) -> None:
    rows = '"CE"], ["CE+DisCL", "CE+CUDA"]]'
    small.write_text(SMALL.replace('["Few", "Overall"]', '["Overall"]').replace('"CE"]]', rows))
    finding = judged(small, runs(ce=0.0, disc=0.3, cuda=0.27))
    takes = deciding.need(finding, 1)
    assert takes is not None
    assert takes.test.rows == ("CE+DisCL", "CE+CUDA")
    d = takes.test.difference
    assert d is not None
    assert takes.verdict == (HOLDS if d.value > 0 else FAILS)
    if takes.size is not None:
        more = deciding.needed(d, abs(d.value), 0.025 / (1 if d.value > 0 else 2))
        assert more == takes.size


def test_equivalence_says_what_it_takes(small: Path) -> None:
    text = SMALL.replace('["Few", "Overall"]', '["Overall"]')
    small.write_text(text + 'direction = "same"\nwithin = 12\n')
    says = reasons_of(small, runs(ce=0.2, disc=0.25))
    assert "its interval reaches 12 points" in says
    assert "hold (equivalence within 12 points) with" in says


def test_few_locations_take_more_of_them() -> None:
    about = {"error": 0.02, "df": 9.0, "between": 0.0, "shared": 0.0004}
    d = Difference(0.05, 0, 0.1, 0.03, (0, 1, 2), 800, **about)
    by_location = replace(d, locations=10)
    plain, few = deciding.needed(d, 0.05, 0.001), deciding.needed(by_location, 0.05, 0.001)
    assert plain is not None
    assert few is not None
    assert few.locations == few.images // 80
    assert few.images >= plain.images
    assert deciding.needed(replace(d, shared=1.0), 0.05, 0.001) is None


def test_other_backbones_and_imbalances_stay_out(small: Path) -> None:
    workspace = Workspace(SET, "mini")
    records = runs(ce=0.0, disc=0.5)
    records += [drawn_records.run(workspace, "CE", 7, 100, 0.9, backbone="resnet34")]
    records += [drawn_records.run(workspace, "CE", s, 50, 0.9) for s in range(3)]
    few = judged(small, records).tests[0].difference
    assert few is not None
    assert few.seeds == (0, 1, 2)


def test_rule_goes_into_the_path(small: Path) -> None:
    records = runs(ce=0.0, disc=0.5)
    a, c = (judged(small, records, rule=rule).tests[0] for rule in "AC")
    assert a.difference is not None
    assert c.difference is not None
    assert (a.other, c.other) == (False, True)


# ---------------------------------------------------------------- bad claims


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"CE+DisCL", "CE"', '"CE+DisCl", "CE"', r"unknown row 'CE\+DisCl'; did you mean"),
        ('["Few", ', '["Fev", ', "unknown column 'Fev'; did you mean 'Few'"),
        ('dataset = "cifar100-lt"', 'dataset = "cifar10-lt"', "mean 'cifar100-lt'"),
        ('table = "table2"', 'table = "table22"', "no table 'table22'.*did you mean table2"),
        ('table = "table2"', 'table = "statistics"', "is of synthetic images"),
        ('["ir100"]', '["ir10"]', "unknown block 'ir10'; did you mean 'ir100'"),
        ('source = "Table 2"', 'sauce = "Table 2"', "unknown name 'sauce'; did you mean 'source'"),
        ('says = "DisCL lifts the few."', "", "says is None, expected a text"),
        ('[["CE+DisCL", "CE"]]', '["CE+DisCL", "CE"]', "expected 2, 4 or 6 expressions"),
        ('[["CE+DisCL", "CE"]]', '[["CE+DisCL"]]', "expected 2, 4 or 6 expressions"),
        ('[["CE+DisCL", "CE"]]', '[["CE+DisCL", "CE"]]\nwithin = 1', "within is 1 in direction"),
        (
            '[["CE+DisCL", "CE"]]',
            '[["CE+DisCL", "CE"]]\ndirection = "lower"',
            "unknown direction 'lower'",
        ),
        (
            '[["CE+DisCL", "CE"]]',
            '[["CE+DisCL(scale=3)", "CE+DisCL(skale=1)"]]\nunlisted = true',
            "DisCL has no argument 'skale'; did you mean 'scale'",
        ),
        (
            '[["CE+DisCL", "CE"]]',
            '[["CE+DisCL(scale=None)", "CE"]]\nunlisted = true',
            r"canonically written 'CE\+DisCL'",
        ),
        ('columns = ["Few", "Overall"]', "columns = []", "columns is .., expected a list"),
        ("version = 1", "version = 2", "version 2, expected 1"),
        ("[[claims]]", "[claims]", r"no \[\[claims\]\]"),
        ("[[claims]]", "[[claim]]", "unknown name 'claim'; did you mean 'claims'"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_bad_claims_are_refused(small: Path, old: str, new: str, says: str) -> None:
    assert old in SMALL
    small.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(DataError, match=says) as caught:
        claims.read(small)
    assert str(small) in str(caught.value)


def test_two_claims_of_one_name(small: Path) -> None:
    small.write_text(SMALL + SMALL.partition("version = 1")[2])
    with pytest.raises(DataError, match="claim 'few' occurs 2 times"):
        claims.read(small)


def test_claims_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        claims.read(tmp_path / "none.toml")


# ---------------------------------------------------------------- told


def test_text(small: Path) -> None:
    results = findings.find(claims.read(small), {SET: runs(ce=0.0, disc=0.5)}, "mini")
    lines = findings_text.to_text(results).splitlines()
    assert lines[0] == "HOLDS (p 0.001): DisCL lifts the few."
    assert lines[1] == "  cifar100-lt; Table 2; Table 2: CIFAR-100-LT, ResNet-10 [few]"
    assert (
        lines[2].split()
        == ("verdict rows where ours 95 % interval seeds x images p published").split()
    )
    assert lines[3].split()[:4] == ["holds", "CE+DisCL", "-", "CE"]
    assert lines[3].endswith("+5.16")
    assert "- 1 claim: 1 holds." in lines
    assert "built-in world" in findings_text.to_text(results)


def test_markdown(small: Path) -> None:
    small.write_text(SMALL.replace("the few.", "<few> | *all*."))
    text = findings_text.to_markdown(findings.find(claims.read(small), {SET: []}, "mini"))
    assert r"**no runs**: DisCL lifts \<few> \| \*all\*." in text
    assert "| no runs | CE+DisCL - CE | Few, imbalance ratio 100 | · | · | · | · | +5.16 |" in text


def test_json_for_machines(tmp_path: Path, capsys: Any) -> None:
    drawn_records.write(tmp_path, runs(ce=0.0, disc=0.5))
    out = tmp_path / "findings.json"
    arguments = ["findings", "--home", str(tmp_path), "--format", "json", "--out", str(out)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    content = json.loads(out.read_text())
    assert {c["dataset"] for c in content["claims"]} == {SET}
    base = next(c for c in content["claims"] if c["id"] == "base-cifar100-lt")
    few = base["tests"][0]
    assert (base["verdict"], few["verdict"], few["published_points"]) == (OPEN, HOLDS, 5.16)
    assert few["difference"]["seeds"] == [0, 1, 2]
    missing = next(t for t in base["tests"] if t["verdict"] == NO_RUNS)
    assert missing["difference"] is None
    assert "lack runs" in base["why"]
    assert any("third source of variance" in note for note in content["notes"])
    assert all(c["to_decide"] is None or c["verdict"] == OPEN for c in content["claims"])


@pytest.mark.usefixtures("no_reference")
def test_the_command_tells_what_it_lacks(tmp_path: Path, capsys: Any) -> None:
    assert main(["findings", "--home", str(tmp_path)]) == 1
    assert "no data set has records of profile mini" in capsys.readouterr().err
    assert main(["findings", "--home", str(tmp_path), "--dataset", SET]) == 0
    assert "NO RUNS: DisCL lifts" in capsys.readouterr().out


@pytest.mark.usefixtures("no_reference")
def test_the_command_takes_fields_of_the_recipe(tmp_path: Path, capsys: Any) -> None:
    command = ["findings", "--home", str(tmp_path), "--dataset", SET, "--set"]
    assert main([*command, "scratch.lr=0.05"]) == 0
    assert "NO RUNS: DisCL lifts" in capsys.readouterr().out
    assert main([*command, "scratch.lrr=0.05"]) == 2
    assert "did you mean 'scratch.lr'?" in capsys.readouterr().err
