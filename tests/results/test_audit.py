"""What `harness audit` says of the published tables, in its formats."""

import json

import pytest

from harness.cli.audit_text import render, sections
from harness.core.errors import UsageError
from harness.results import audit, published

PAPERS = [published.read(file) for file in published.files()]

# The rows that are more than 0.15 off under rule A; by which rule they add up; what is left then.
OFF = """
table1      all    CE                                         +0.25  B     +0.06
table1      all    CE+LDMLR                                   +0.20  B     +0.03
table1      all    CE+CUDA                                    -0.22  C     +0.00
table1      all    BS                                         -0.24  C     -0.07
table1      all    BS+CUDA                                    -0.18  C     +0.00
table1      all    CE+DisCL(curriculum="text-only")           +0.16  B     +0.01
table1      all    CE+DisCL(curriculum="adaptive")            +0.15  B     +0.00
table1      all    CE+DisCL(curriculum="specific-to-diverse") +0.16  B     +0.00
table1      all    CE+DisCL(filter="low")                     -0.41  none  -0.34
table2,v1   ir100  CE+CUDA                                    -0.83  none  -0.62
table2      ir100  CE+DisCL                                   +0.18  none  +0.18
table2,v1   ir100  CE+DisCL                                   +8.28  none  +8.28
table2      ir50   CE+DisCL                                   -2.53  X     +0.00
table2      ir50   BS+DisCL                                   -1.50  none  +0.36
table3      all    CE+CUDA                                    -0.23  C     +0.00
table3      all    BS+DisCL                                   +0.25  C     -0.01
table7      ir100  CE+DisCL                                   +0.45  none  +0.45
table7      ir50   CE                                         -3.55  X     +0.09
table7      ir50   CE+DisCL                                   -3.28  X     +0.06
table7      ir50   BS                                         -2.16  X     -0.02
table7      ir50   BS+DisCL                                   -1.63  X     +0.15
table8      all    CE                                         +0.15  B     -0.01
table8      all    CE+DisCL                                   +0.25  B     +0.09
table8      all    BS+DisCL                                   -0.31  none  -0.18
"""


def test_exactly_these_rows_are_off_and_this_explains_them() -> None:
    rows = sections(PAPERS)[0].rows
    listed = [
        (t.replace(", ", ","), b, r, off, by, left.removesuffix(" *"))
        for t, b, r, _, _, off, by, left, _ in rows
    ]
    assert listed == [tuple(line.split()) for line in OFF.strip().splitlines()]


def test_alternatives_are_shown_and_residuals_above_rounding_marked() -> None:
    findings = [f for f in audit.audit(PAPERS) if not f.v1]
    assert len(findings) == 45
    assert sum(len(f.fits) > 1 for f in findings) == 19
    assert sum(f.above_rounding for f in findings) == 23
    for f in findings:
        assert f.explained == bool(f.fits)
        assert f.fits[:1] == ((f.best,) if f.explained else ())
    rows = {row[:3]: row[-2:] for row in sections(PAPERS, every=True)[0].rows}
    assert rows["table1", "all", "CE"] == ("+0.06", "–")  # one decimal
    assert rows["table1", "all", "BS"] == ("-0.07 *", "–")
    assert rows["table1", "all", "BS+DisCL"] == ("+0.00", "A +0.09")
    assert rows["table2", "ir100", "CE+DisCL"] == ("+0.18 *", "–")
    assert rows["table2", "ir100", "BS"][1] == "–"  # rule B has the same classes there as A


def test_rows_grouped_by_another_tables_classes() -> None:
    _, foreign, *_ = sections(PAPERS)
    of_table7 = [("table7", "ir50", m, "X") for m in ("CE", "CE+DisCL", "BS", "BS+DisCL")]
    of_table2 = [("table2", "ir50", m, "X") for m in ("CE+DisCL", "BS+DisCL")]
    assert [row[:4] for row in foreign.rows] == [*of_table2, *of_table7]
    assert "X: the IR100 split (35/35/30 classes) applied to IR50" in foreign.says


def test_rows_printed_twice() -> None:
    one, other = audit.equal_rows(PAPERS)
    assert (one.table, one.rows) == ("table4", ("CLIP zero-shot", "CLIP zero-shot, WE"))
    assert (other.table, other.rows) == ("table8", ("CE+CUDA", "BS"))
    assert "an error of the paper" in other.notes[0]


def test_version_1_against_version_4() -> None:
    changes = audit.changes(PAPERS)
    labels = [(c.row, c.v1) for c in changes if c.what == "label"]
    assert labels[:2] == [("CE+LDMLR", "CE + CUDA"), ("CE+CUDA", "CE + LDMLR")]
    assert len(labels) == 4
    numbers = [(c.row, c.what, c.v1, c.v4) for c in changes if c.what != "label"]
    assert numbers == [
        ("CE+CUDA", "Overall", "29.02", "29.85"),
        ("CE+DisCL", "Few", "13.65", "10.65"),
        ("CE+DisCL", "Overall", "39.91", "30.91"),
    ]
    offs = [(c.v1_off, c.v4_off) for c in changes if c.what == "Overall"]
    assert offs[0] == (pytest.approx(-0.83, abs=0.005), pytest.approx(0, abs=0.005))
    assert offs[1] == (pytest.approx(8.28, abs=0.005), pytest.approx(0.18, abs=0.005))


def test_statistics_that_do_not_multiply() -> None:
    products = {p.block: p for p in audit.products(PAPERS)}
    assert len(products) == 5
    assert not any(p.generated == p.expected for p in products.values())
    one = [block for block, p in products.items() if p.generated == p.one_level]
    assert one == [
        "CIFAR-100-LT, imbalance ratio 100",
        "CIFAR-100-LT, imbalance ratio 50",
        "iNaturalist 2018",
    ]
    assert all(p.kept_share == pytest.approx(p.rate, abs=0.005) for p in products.values())


def test_formats_say_the_same() -> None:
    parts = sections(PAPERS)
    listed = json.loads(render(parts, "json"))
    text, page = render(parts, "text"), render(parts, "markdown")
    for section, plain in zip(parts, listed, strict=True):
        assert [tuple(row.values()) for row in plain["rows"]] == [tuple(r) for r in section.rows]
        assert f"## {section.title}" in page
        for row in section.rows:
            assert all(cell in text and cell in page for cell in row)
    with pytest.raises(UsageError, match="'html' is not allowed"):
        render(parts, "html")
