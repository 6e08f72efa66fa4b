"""The published tables, our results beside them, and their two renderings."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.core.errors import DataError, UsageError
from harness.core.metrics import RULES, groups
from harness.core.specs import RunSpec
from harness.datasets.cifar100_lt import MINI
from harness.datasets.subsets import class_counts
from harness.results import predictions, published, records
from harness.results.leaderboard import Table, table
from harness.results.published_table import Number
from harness.results.tables import FORMATS, render, to_markdown, to_text

TABLE2 = Path(__file__).parents[2] / "results/paper/table2.toml"
COUNTS = class_counts(200, 50, 100)

SMALL = """
version = 1
title = "Table X"
dataset = "cifar100-lt"
metric = "accuracy"
source = "a paper"
decimals = 1
caveats = ["Mind the step."]
[[columns]]
name = "Few"
path = "rules.{rule}.few"
[[columns]]
name = "All"
path = "overall"
[blocks.ir100]
title = "ratio 100"
imbalance = 100
[groupings]
X = "another split"
[[rows]]
method = "CE"
ir100 = { Few = 5, All = [29.0, 0.4], grouped_by = "A" }
[[rows]]
method = "BS"
ir100 = { Few = 14.4, All = 31.6, grouped_by = "X", v1 = { All = 13.6 }, note = "A note." }
[[rows]]
method = "CE(control=True)"
ours = true
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return file


def run(
    method: str, seed: int, few: float | None = 0.1, overall: float = 0.3, **changes: Any
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "dataset": "cifar100-lt",
        "imbalance": 100,
        "recipe": MINI,
        "index": "a" * 64,
        "pool": None,
        "start": None,
        "arguments": method,
        "reference": None,
        "pretrained": None,
        **changes,
    }
    spec = RunSpec(method=method, seed=seed, **fields)
    group = {"many": 0.5, "medium": 0.2, "few": few, "classes": [1, 2, 3]}
    scores = {"overall": overall, "per_class": [], "rules": dict.fromkeys(RULES, group)}
    oracle = {**scores, "overall": overall + 0.01}
    versions = {"torch": "2.0"}
    return records.record(spec, {"last": scores, "oracle": oracle}, COUNTS, 500, versions)


def measured(board: Table, method: str, column: str, part: int = 0) -> Any:
    return next(x for x in board.parts[part].lines if x.method == method).measured[column]


def printed(board: Table, method: str, column: str, part: int = 0) -> Any:
    return next(x for x in board.parts[part].lines if x.method == method).printed[column]


# ---------------------------------------------------------------- Table 2


def test_table2_rows_in_the_papers_order() -> None:
    paper = published.read(TABLE2)
    assert [r.method for r in paper.rows if not r.ours] == [
        "CE",
        "CE+CUDA",
        "CE+DisCL",
        "BS",
        "BS+CUDA",
        "BS+DisCL",
    ]
    assert [r.method for r in paper.rows if r.ours] == ["CE(control=True)", "BS(control=True)"]
    assert [c.name for c in paper.columns] == ["Many", "Medium", "Few", "Overall"]
    assert [b.imbalance for b in paper.blocks] == [100, 50]


# Overall minus the class-weighted mean of the groups, as the specification lists it.
IDENTITY = {
    ("CE", "ir100"): 0.00, ("CE", "ir50"): 0.01,
    ("CE+CUDA", "ir100"): 0.00, ("CE+CUDA", "ir50"): -0.03,
    ("CE+DisCL", "ir100"): 0.18, ("CE+DisCL", "ir50"): 0.00,
    ("BS", "ir100"): 0.01, ("BS", "ir50"): 0.01,
    ("BS+CUDA", "ir100"): 0.08, ("BS+CUDA", "ir50"): 0.01,
    ("BS+DisCL", "ir100"): 0.05, ("BS+DisCL", "ir50"): 0.36,
}  # fmt: skip


@pytest.mark.parametrize(("method", "block"), IDENTITY)
def test_table2_numbers_add_up_by_their_rule(method: str, block: str) -> None:
    """A typing error in the file would show here: each row is bound by one identity."""
    cells = next(r for r in published.read(TABLE2).rows if r.method == method).cells[block]
    imbalance = 100 if block == "ir100" or cells.grouped_by == "X" else 50
    sizes = [len(g) for g in groups(class_counts(500, 100, imbalance))]
    assert sizes == ([35, 35, 30] if imbalance == 100 else [41, 41, 18])
    values = [cells.numbers[c].value for c in ("Many", "Medium", "Few")]
    mean = sum(n * v for n, v in zip(sizes, values, strict=True)) / 100
    assert cells.numbers["Overall"].value - mean == pytest.approx(IDENTITY[method, block], abs=6e-3)


def test_table2_keeps_what_version_1_printed() -> None:
    rows = {r.method: r for r in published.read(TABLE2).rows}
    assert rows["CE+CUDA"].cells["ir100"].v1 == {"Overall": Number(29.02)}
    assert rows["CE+DisCL"].cells["ir100"].v1 == {"Few": Number(13.65), "Overall": Number(39.91)}
    assert sum(len(c.v1) for r in rows.values() for c in r.cells.values()) == 3


def test_table2_without_any_run() -> None:
    board = table(TABLE2, [], "mini")
    assert measured(board, "CE", "Overall").n == 0
    assert printed(board, "BS+DisCL", "Few").number == Number(19.07)
    assert printed(board, "BS+DisCL", "Few").best
    assert not printed(board, "CE", "Few").other
    text = to_text(board)
    assert text.count("·") == 2 * 8 * 4 + 1  # every cell of ours, and the legend
    assert "0.00" not in text


def test_table2_marks_rows_of_another_grouping() -> None:
    board = table(TABLE2, [], "mini")
    assert [printed(board, "CE+DisCL", c, part=1).other for c in ("Few", "Overall")] == [
        True,
        False,
    ]
    assert not printed(board, "CE", "Few", part=1).other
    few = [line.printed["Few"].best for line in board.parts[1].lines]
    assert not any(few)  # not comparable within the column
    assert printed(board, "BS+DisCL", "Overall", part=1).best
    assert any("the IR100 split" in n and "CE+DisCL, BS+DisCL" in n for n in board.notes)
    assert any("Version 1" in n and "Overall 29.02 (here 29.85)" in n for n in board.notes)


# ---------------------------------------------------------------- our numbers


def test_mean_sd_and_number_of_seeds(small: Path) -> None:
    runs = [run("CE", seed, overall=x) for seed, x in enumerate((0.30, 0.31, 0.35))]
    cell = measured(table(small, runs, "mini"), "CE", "All")
    assert (cell.mean, cell.sd, cell.n, cell.expected) == (
        pytest.approx(0.32),
        pytest.approx(0.0264575),
        3,
        3,
    )
    assert "32.0 ± 2.6 (3)" in to_text(table(small, runs, "mini"))


def test_missing_runs_are_marks_and_partial_ones_say_so(small: Path) -> None:
    runs = [
        run("CE", 0),
        run("BS", 0, overall=0.9),
        *(run("CE(control=True)", s) for s in range(3)),
    ]
    board = table(small, runs[:1], "mini")
    assert measured(board, "CE", "All").sd is None
    assert measured(board, "BS", "All").mean is None
    text = to_text(board)
    assert "30.0 (1)" in text  # nothing says that more seeds are to come
    assert next(x for x in text.splitlines() if x.startswith("BS")).count("·") == 2
    board = table(small, runs, "mini")
    assert "90.0 (1 of 3)" in to_text(board)
    assert not measured(board, "BS", "All").best  # 90 %, but of one seed
    assert measured(board, "CE(control=True)", "All").best


def test_group_without_classes_is_no_missing_run(small: Path) -> None:
    runs = [run("CE", s, few=None) for s in range(3)]
    board = table(small, runs, "mini")
    assert (measured(board, "CE", "Few").n, measured(board, "CE", "Few").mean) == (3, None)
    assert measured(board, "CE", "All").mean == pytest.approx(0.3)
    assert "–" in next(x for x in to_text(board).splitlines() if x.startswith("CE "))


def test_selection_and_rule(small: Path) -> None:
    r = run("CE", 0)
    r["selection"]["last"]["rules"]["C"] = {"many": 0.5, "medium": 0.2, "few": 0.7}
    assert measured(table(small, [r], "mini", select="oracle"), "CE", "All").mean == 0.31
    board = table(small, [r], "mini", rule="C")
    assert measured(board, "CE", "Few").mean == 0.7
    assert printed(board, "CE", "Few").other
    assert any("rule C" in n and "<=20" in n for n in board.notes)
    with pytest.raises(UsageError, match=r"'best' is not allowed.*best_val, last, oracle"):
        table(small, [r], "mini", select="best")
    with pytest.raises(UsageError, match="there are A, B, C, D"):
        table(small, [r], "mini", rule="E")


@pytest.mark.parametrize(
    ("every", "share", "words"),
    [
        (1, 1.0, "."),
        (3, 0.2, ": best of every third epoch, on one fifth of the test images."),
        (12, 1.0, ": best of every 12th epoch."),
        (1, 0.5, ": best epoch, on half of the test images."),
        (1, 0.3, ": best epoch, on 30 % of the test images."),
    ],
)
def test_the_selection_says_what_it_looks_at(
    small: Path, every: int, share: float, words: str
) -> None:
    r = run("CE", 0, recipe=replace(MINI, look_every=every, look_share=share))
    notes = table(small, [r], "mini", select="oracle").notes
    assert f"Selection: oracle epoch (chosen on the test set){words}" in notes
    assert "Selection: last epoch." in table(small, [r], "mini").notes


def test_a_run_whose_epoch_nothing_selects_is_a_mark(small: Path) -> None:
    """Merged weights have no best epoch; the other rows keep theirs."""
    runs = [run("CE", 0), run("BS", 0)]
    del runs[1]["selection"]["oracle"]
    board = table(small, runs, "mini", select="oracle")
    assert measured(board, "CE", "All").mean == 0.31
    assert (measured(board, "BS", "All").n, measured(board, "BS", "All").mean) == (1, None)
    assert "No epoch of BS is chosen: the weights are merged ones." in board.notes


def test_differences_from_what_is_published(small: Path) -> None:
    runs = [run(m, s) for m in ("CE", "BS", "CE(control=True)") for s in range(2)]
    ce, bs, control = table(small, runs, "mini").parts[0].lines
    assert (ce.difference("Few"), ce.difference("All")) == (pytest.approx(5), pytest.approx(1))
    assert bs.difference("Few") is None  # grouped by another rule
    assert bs.difference("All") == pytest.approx(-1.6)
    assert control.difference("All") is None  # never published
    ce, _, _ = table(small, runs[1:], "mini").parts[0].lines
    assert ce.difference("All") is None  # a seed is to come
    small.write_text(SMALL.replace("Few = 5,", "Few = 5, target = false,"))
    ce, _, _ = table(small, runs, "mini").parts[0].lines
    assert ce.difference("All") is None


GAINS = """
version = 1
kind = "gains"
title = "Gains"
dataset = "cifar100-lt"
metric = "gain on the k worst classes"
source = "a paper"
decimals = 1
[[columns]]
name = "k = 2"
path = "naive_worst.2"
unit = "points"
[[columns]]
name = "k = 60"
path = "naive_worst.60"
unit = "points"
[blocks.all]
title = "all"
imbalance = 100
[[rows]]
method = "BS+DisCL"
over = "BS"
all = { "k = 2" = 7.6, "k = 60" = 4.5 }
"""


def give(record: dict[str, Any], per_class: list[float], images: int) -> None:
    """Gives a run predictions of these accuracies, the right ones first."""
    right = [round(p * images) for p in per_class]
    rows = pl.DataFrame(
        [
            ("test", images * c + i, c, c if i < n else (c + 1) % len(right))
            for c, n in enumerate(right)
            for i in range(images)
        ],
        schema=["split", "id", "label", "prediction"],
        orient="row",
    )
    record["selection"]["last"] = {"overall": 0.3, "per_class": per_class}
    record["predictions"] = predictions.pack({"last": rows}, len(right))


def test_gains_on_the_worst_classes_of_the_other_row(tmp_path: Path) -> None:
    file, runs = tmp_path / "gains.toml", []
    file.write_text(GAINS)
    for seed in (0, 1, 2):
        runs += [run("BS", seed), run("BS+DisCL", seed)]
        worst = [0.1, 0.5, 0.2 + 0.05 * seed, *[0.9] * 47]
        give(runs[-2], worst, 20)
        better = [0.1, 0.5, 0.5, *[0.0] * 47]  # class 0 and, by 0.25 on average, class 2
        give(runs[-1], better, 20)
    board = table(file, runs[:-1], "mini")  # one row has a seed fewer
    cell = measured(board, "BS+DisCL", "k = 2")
    assert (cell.n, cell.expected) == (2, 3)
    cell = measured(table(file, runs, "mini"), "BS+DisCL", "k = 2")
    assert (cell.mean, cell.sd, cell.n) == (pytest.approx(0.125), pytest.approx(0.025), 3)
    assert measured(board, "BS+DisCL", "k = 60").mean is None  # there are 50 classes
    shown = to_markdown(table(file, runs, "mini"))
    assert "| BS+DisCL | **12.5 ± 2.5 (3)** | **7.6** |" in shown
    file.write_text(GAINS.replace('"naive_worst.2"', '"naive_own_worst.2"'))
    own = measured(table(file, runs, "mini"), "BS+DisCL", "k = 2")  # 0.0 over 0.1 and 0.25
    assert own.mean == pytest.approx(-0.175)


def test_gains_on_worst_classes_chosen_on_other_images(tmp_path: Path) -> None:
    file, runs = tmp_path / "gains.toml", []
    file.write_text(GAINS.replace("naive_worst", "worst"))
    for seed in (0, 1):
        runs += [run("BS", seed), run("BS+DisCL", seed)]
        give(runs[-2], [0.1, 0.5, 0.2, *[0.9] * 47], 40)
        give(runs[-1], [0.1, 0.5, 0.5, *[0.0] * 47], 40)
    cell = measured(table(file, runs, "mini"), "BS+DisCL", "k = 2")
    assert (cell.mean, cell.n) == (pytest.approx(0.15), 2)  # both halves know class 0 and 2 least
    assert measured(table(file, runs, "mini"), "BS+DisCL", "k = 60").mean is None


def test_other_profiles_data_sets_and_methods_stay_out(small: Path) -> None:
    runs = [
        run("CE", 0, recipe=replace(MINI, profile="smoke")),
        run("CE", 1, dataset="imagenet-lt"),
        run("CE", 2, imbalance=10),
        run("CE+LDMLR", 0),
    ]
    board = table(small, runs, "mini")
    assert measured(board, "CE", "All").n == 0
    assert any(n.startswith("2 more records") for n in board.notes)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (run("BS", 0, recipe=replace(MINI, width=32)), "differ in width .16 and 32."),
        (run("BS", 0, recipe=replace(MINI, backbone="resnet32")), "differ in backbone"),
        (run("BS", 0, index="b" * 64), "differ in training images"),
        (run("CE", 0), "two records of CE, imbalance 100, seed 0"),
    ],
)
def test_runs_that_do_not_belong_together(small: Path, other: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        table(small, [run("CE", 0), other], "mini")


def test_of_recipes_that_differ_only_the_fields_that_differ_are_named(small: Path) -> None:
    assert MINI.scratch is not None
    other = run("BS", 0, recipe=replace(MINI, scratch=replace(MINI.scratch, epochs=7, lr=0.25)))
    with pytest.raises(DataError) as caught:
        table(small, [run("CE", 0), other], "mini")
    scratch = MINI.scratch
    fields = (
        f"scratch.lr ({scratch.lr} and 0.25); scratch.epochs ({scratch.epochs} and 7), expected"
    )
    assert f" differ in {fields} the same in one table" in str(caught.value)


def test_the_message_about_records_that_differ_is_short(small: Path) -> None:
    file = small.parent / "long.toml"
    method = f"CE+DisCL(levels=({', '.join(['0.5'] * 90)}))"
    file.write_text(small.read_text().replace('method = "BS"', f'method = "{method}"'))
    longer = run(method, 0)
    longer["counts"] = [5] * 1000
    with pytest.raises(DataError, match=r"^records of .* differ in counts \(.*…") as caught:
        table(file, [run("CE", 0), longer], "mini")
    assert len(str(caught.value)) <= 300


def test_record_without_the_number(small: Path) -> None:
    r = run("CE", 0)
    del r["selection"]["last"]["overall"]
    with pytest.raises(DataError, match="CE, imbalance 100, seed 0: no overall in its metrics"):
        table(small, [r], "mini")
    r["selection"]["last"]["overall"] = 30.0
    with pytest.raises(DataError, match=r"overall is 30\.0, expected a number from 0 to 1"):
        table(small, [r], "mini")


def test_best_is_shared_by_ties(small: Path) -> None:
    runs = [run(m, s) for m in ("CE", "BS") for s in range(3)]
    board = table(small, runs, "mini")
    assert measured(board, "CE", "All").best
    assert measured(board, "BS", "All").best
    assert not measured(board, "CE(control=True)", "All").best


# ---------------------------------------------------------------- rendering


def test_text_says_whose_numbers_these_are(small: Path) -> None:
    text = to_text(table(small, [run("CE", s) for s in range(3)], "mini"))
    assert "ours, mini" in text
    assert "published" in text
    assert "the built-in world" in text
    assert "CE(control=True) [ours]" in text
    assert "Backbone: resnet10, width 16. Seeds: 0, 1, 2." in text
    sizes = "/".join(str(len(g)) for g in groups(COUNTS))
    assert f"ratio 100: {sizes}" in text
    assert "torch 2.0" in text
    assert "Mind the step." in text
    assert "A note." in text
    assert "†14.4" in text
    assert "29.0 ± 0.4" in text


def test_wide_text_goes_on_below(small: Path) -> None:
    shown = table(small, [run("CE", s) for s in range(3)], "mini")
    wide = to_text(shown)
    assert to_text(shown, 200) == wide
    narrow = to_text(shown, 80)
    grids = [line for line in narrow.split("\n") if line.startswith("Method")]
    assert len(grids) == 2 * len(shown.parts)
    assert all(len(line) <= 80 for line in narrow.split("\n- ")[0].splitlines())
    assert sorted(narrow.split()) != sorted(wide.split())  # labels stand twice
    assert set(narrow.split()) >= {word for word in wide.split() if not word.startswith("--")}
    assert to_text(shown, 1).count("\nMethod") == len(grids)  # no narrower than one number


def test_markdown(small: Path) -> None:
    text = to_markdown(table(small, [run("CE", s) for s in range(3)], "mini"))
    lines = text.splitlines()
    assert lines[0] == "## Table X [ours: profile mini]"
    assert lines[2] == "### ratio 100"
    assert lines[4] == (
        "| Method | Few ours, mini | Few published | All ours, mini | All published |"
    )
    assert lines[5] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[6] == "| CE | **10.0 ± 0.0 (3)** | 5.0 | **30.0 ± 0.0 (3)** | 29.0 ± 0.4 |"
    assert lines[7] == "| BS | · | †14.4 | · | **31.6** |"
    assert lines[8] == "| CE(control=True) [ours] | · | – | · | – |"
    assert text.endswith("- Mind the step.\n")


def test_differences_from_published_numbers_are_shown_where_they_mean_something(
    small: Path,
) -> None:
    """On the paper's data alone; the published numbers themselves stand in every profile."""
    runs = [run("CE", s, recipe=replace(MINI, profile="paper")) for s in range(3)]
    shown = to_markdown(table(small, runs, "paper"))
    assert "| CE | **10.0 ± 0.0 (3)** | 5.0 | +5.0 | **30.0 ± 0.0 (3)** | 29.0 ± 0.4 | +1.0 |" in (
        shown
    )
    assert "diff: ours less the published number" in shown
    for profile in ("mini", "smoke"):
        runs = [run("CE", s, recipe=replace(MINI, profile=profile)) for s in range(3)]
        board = table(small, runs, profile)
        assert not any("diff" in render(board, form) for form in ("text", "markdown", "latex"))
        assert {row["difference"] for row in json.loads(render(board, "json"))["rows"]} == {None}


def test_columns_of_one_kind(small: Path) -> None:
    board = table(small, [run("CE", s) for s in range(3)], "mini")
    ours = render(board, "markdown", columns="ours").splitlines()
    assert ours[4] == "| Method | Few ours, mini | All ours, mini |"
    assert ours[6] == "| CE | **10.0 ± 0.0 (3)** | **30.0 ± 0.0 (3)** |"
    paper = render(board, "markdown", columns="paper").splitlines()
    assert paper[4:8] == [
        "| Method | Few published | All published |",
        "| --- | ---: | ---: |",
        "| CE | 5.0 | 29.0 ± 0.4 |",
        "| BS | †14.4 | **31.6** |",
    ]
    assert not any(line.startswith("| CE(control") for line in paper)
    with pytest.raises(UsageError, match=r"columns: 'our' is not allowed.*did you mean 'ours'"):
        render(board, "text", columns="our")


def test_a_line_of_a_file_is_a_seed_a_mean_or_a_published_number(small: Path) -> None:
    """Marked by cell: a row of the paper's may hold numbers of ours and published ones."""
    runs = [run("CE", s, overall=0.3 + 0.01 * s) for s in range(3)]
    board = table(small, runs, "mini")
    lines = list(csv.DictReader(io.StringIO(render(board, "csv"))))
    cell = [row for row in lines if (row["method"], row["column"]) == ("CE", "All")]
    assert [(row["numbers"], row["seed"], row["value"], row["sd"]) for row in cell] == [
        ("ours", "0", "30.0", ""),
        ("ours", "1", "31.0", ""),
        ("ours", "2", "32.0", ""),
        ("ours", "", "31.0", "1.0"),
        ("published", "", "29.0", "0.4"),
    ]
    missing = [row for row in lines if row["method"] == "CE(control=True)"]
    assert {(row["numbers"], row["value"], row["n"]) for row in missing} == {("ours", "", "0")}
    assert len(json.loads(render(board, "json"))["rows"]) == len(lines)


EXPECTED = Path(__file__).parent / "expected"


@pytest.mark.parametrize("form", FORMATS)
def test_the_text_of_every_format(small: Path, form: str) -> None:
    """With signs that mean something in Markdown, LaTeX or HTML among the notes."""
    small.write_text(SMALL.replace("Mind the step.", "Mind <b>_1_</b> & 50 % | {x} \\\\ $y^2$."))
    runs = [run(m, s, overall=0.3 + 0.01 * s) for m in ("CE", "BS") for s in range(3)][:5]
    text = render(table(small, runs, "mini"), form)
    assert text == (EXPECTED / f"table.{form}").read_text()


def test_markdown_notes_escape_what_markdown_reads(small: Path) -> None:
    text = to_markdown(table(small, [run("CE", 0)], "mini"))
    assert r"\* or bold: best of its column" in text
    assert r"\<20" in text


# ---------------------------------------------------------------- the reader of tables


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Few = 5,", "Few = 'x',", "row CE, ir100, column Few: 'x' is neither a percentage"),
        ("Few = 5,", "Few = 105,", "row CE, ir100, column Few: 105 is neither"),
        ("Few = 5,", "Few = nan,", "row CE, ir100, column Few: nan is neither"),
        ("Few = 5,", "Few = true,", "row CE, ir100, column Few: True is neither"),
        ("[29.0, 0.4]", "[29.0, 0.4, 1]", "row CE, ir100, column All"),
        ("[29.0, 0.4]", "[]", "row CE, ir100, column All"),
        ("Few = 5,", "", "row CE, ir100, column Few: missing"),
        ("Few = 5,", "Few = 5, Fev = 6,", "row CE, ir100: unknown name 'Fev'.*mean Few"),
        ("v1 = { All", "v1 = { Al", "row BS, ir100, v1: unknown name 'Al'.*did you mean All"),
        (
            'grouped_by = "A"',
            'grouped_by = "Z"',
            "row CE, ir100: grouped_by is 'Z', expected one of",
        ),
        (', grouped_by = "A"', "", "row CE, ir100: grouped_by is None"),
        ('method = "BS"', 'method = "CE"', "row CE: occurs 2 times"),
        ('method = "BS"', "", "row 2: method is None"),
        ("ours = true", "ours = 1", "row CE.control=True.: ours is 1"),
        ("ours = true", "", "row CE.control=True.: no published numbers"),
        ("ours = true", "our = true", "row 3: unknown name 'our'.*did you mean ours"),
        ('name = "All"', 'name = "Few"', "column Few: occurs 2 times"),
        ("ir100 = { Few = 5", "ir10 = { Few = 5", "row 1: unknown name 'ir10'.*did you mean ir100"),
        ("imbalance = 100", "imbalance = '100'", "block ir100: imbalance is '100'"),
        ("version = 1", "version = 2", "version 2, expected 1"),
        ("decimals = 1", "decimals = -1", "decimals is -1"),
        ('title = "Table X"', "", "title is None, expected a text"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_wrong_table(small: Path, old: str, new: str, says: str) -> None:
    assert old in SMALL
    small.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(DataError, match=says) as caught:
        published.read(small)
    assert str(small) in str(caught.value)


def test_row_that_is_ours_has_no_published_numbers(small: Path) -> None:
    small.write_text(SMALL + 'ir100 = { Few = 1, All = 1, grouped_by = "A" }\n')
    with pytest.raises(DataError, match="is ours, so it has no published numbers, but ir100"):
        published.read(small)


def test_layout_fits_a_table_of_two_splits_with_sd(tmp_path: Path) -> None:
    file = tmp_path / "table4.toml"
    file.write_text(
        """
        version = 1
        title = "Table 4"
        dataset = "iwildcam"
        metric = "macro F1"
        source = "a paper"
        decimals = 1
        [[columns]]
        name = "OOD"
        path = "ood.macro_f1"
        [[columns]]
        name = "ID"
        path = "id.macro_f1"
        [blocks.all]
        title = "ViT-B/16"
        [[rows]]
        label = "CLIP zero-shot"
        method = "CLIP"
        all = { OOD = 11.0, ID = 8.7 }
        [[rows]]
        label = "FLYP + DisCL, easy to hard"
        method = 'FLYP+DisCL(curriculum="easy-to-hard")'
        all = { OOD = [35.2, 0.9], ID = [51.4, 0.5] }
        """
    )
    r = run("CLIP", 0, dataset="iwildcam", imbalance=None)
    r["selection"]["last"] = {"ood": {"macro_f1": 0.2}, "id": {"macro_f1": 0.1}}
    text = to_text(table(file, [r], "mini"))
    assert "35.2 ± 0.9" in text
    assert "20.0 (1)" in text
    assert "Groups:" not in text


def test_find() -> None:
    folder = TABLE2.parent
    assert published.find("table2", folder) == TABLE2
    with pytest.raises(UsageError, match=r"no table 'tabel2'.*did you mean table2"):
        published.find("tabel2", folder)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        published.read(tmp_path / "nothing.toml")


@pytest.mark.parametrize("file", published.files(), ids=lambda f: f.stem)
def test_every_published_cell_is_in_every_format(file: Path) -> None:
    paper = published.read(file)
    if paper.kind == "pool":
        with pytest.raises(UsageError, match="`harness hard` prints it"):
            table(paper, [], "paper")
        return
    board = table(paper, [], "paper")
    if not paper.compared:
        with pytest.raises(UsageError, match="no published numbers; allowed: ours, both"):
            render(board, "csv", columns="paper")
        return
    cells = list(csv.DictReader(io.StringIO(render(board, "csv", columns="paper"))))
    assert {c["numbers"] for c in cells} == {"published"}
    printed_cells = {(c["block"], c["method"], c["column"]): c["value"] for c in cells}
    shown = {form: render(board, form) for form in ("text", "markdown", "latex", "html")}
    for row in paper.rows:
        for block in paper.blocks:
            for name, number in row.cells[block.key].numbers.items() if row.cells else ():
                assert float(printed_cells[block.title, row.method, name]) == number.value
                text = number.text(paper.decimals)
                assert all(text in (shown[form]) for form in ("text", "markdown", "html"))
                value, _, sd = text.partition(" ± ")
                assert value in shown["latex"]
                assert not sd or rf"{{\tiny$\pm${sd}}}" in shown["latex"]
    listed = json.loads(render(board, "json", columns="paper"))["rows"]
    assert [str(row["value"]) for row in listed] == [c["value"] for c in cells]


def test_every_published_table_reads() -> None:
    for file in published.files():
        assert published.read(file).rows


def test_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys, pathlib; from harness.results import leaderboard, records, tables;"
        f"tables.to_text(leaderboard.table(pathlib.Path({str(TABLE2)!r}), [], 'mini'));"
        "print({'torch', 'polars', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
