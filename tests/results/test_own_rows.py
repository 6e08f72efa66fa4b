"""Rows of ours in published tables, and leaderboards that nobody published."""

import csv
import io
import json

import drawn_records
import pytest

from harness.core.errors import UsageError
from harness.pipeline.request import Choices, resolve
from harness.pipeline.workspace import Workspace
from harness.report import boards
from harness.results import leaderboard, published, tables
from harness.results.own_rows import leaderboard_of, table_for, with_rows

OWN = "CE+DisCL(threshold=0.4)"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    workspace = Workspace("cifar100-lt", "mini", tmp_path_factory.mktemp("home"))
    return [drawn_records.run(workspace, m, s, 100) for m in ("CE", OWN) for s in range(3)]


def test_rows_that_are_published_are_not_added():
    paper = published.read(published.of("cifar100-lt"))
    assert with_rows(paper, ["CE", "CE+DisCL"]) == paper


def test_own_rows_stand_below_in_their_order_once():
    paper = table_for("cifar100-lt", ["CE", OWN, "BS+DisCL(scale=2)", OWN], [100])
    assert [row.method for row in paper.rows[-2:]] == [OWN, "BS+DisCL(scale=2)"]
    assert [row.ours for row in paper.rows[-2:]] == [True, True]
    assert paper.rows[:-2] == published.read(published.of("cifar100-lt")).rows


@pytest.mark.parametrize("form", sorted(tables.FORMATS))
def test_an_own_row_is_seen_in_every_format(records, form):
    paper = table_for("cifar100-lt", [OWN], [100])
    shown = tables.render(leaderboard.table(paper, records, "mini"), form)
    if form == "json":
        rows = [row for row in json.loads(shown)["rows"] if row["method"] == OWN]
        assert {row["numbers"] for row in rows} == {"ours"}
        assert {row["n"] for row in rows if row["block"].endswith("100")} == {3, None}
    elif form == "csv":
        lines = [r for r in csv.DictReader(io.StringIO(shown)) if r["method"] == OWN]
        assert {r["numbers"] for r in lines} == {"ours"}
        assert {r["value"] for r in lines if r["seed"]}
    elif form == "latex":
        assert rf"{OWN}\tnote{{*}}" in shown.replace(r"\allowbreak{}", "")
    else:
        assert f"{OWN} [ours]" in shown


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html"])
def test_a_leaderboard_without_published_numbers_has_no_columns_of_them(records, form):
    paper = leaderboard_of("cifar100-lt", ["CE", OWN], [100])
    shown = tables.render(leaderboard.table(paper, records, "mini"), form)
    shown = shown.replace(r"\allowbreak{}", "")
    assert OWN in shown
    notes = ("never with the published ones", "were never published")
    words = " ".join(shown.split())
    assert shown.count("published") == sum(words.count(note) for note in notes)
    assert all(note in words for note in notes)
    assert "Published: ours" not in shown
    assert "diff" not in shown.replace("different", "")


def test_columns_follow_the_metric():
    names = [c.name for c in leaderboard_of("cifar100-lt", ["CE"], [None]).columns]
    assert names == ["Many", "Medium", "Few", "Overall"]
    paper = leaderboard_of("iwildcam", ["FLYP"], [None])
    assert [c.path for c in paper.columns[:2]] == ["ood.macro_f1", "id.macro_f1"]
    assert paper.metric == "macro F1"


def test_tables_of_other_kinds_take_no_further_rows():
    with pytest.raises(UsageError, match="table10 has no place for a further row CE"):
        table_for("cifar100-lt", ["CE"], [100], name="table10")


def test_without_a_table_and_without_rows_there_is_nothing_to_show(tmp_path):
    with pytest.raises(UsageError, match="no table of cifar100-lt"):
        table_for("cifar100-lt", [], [100], folder=tmp_path)


def test_a_table_is_parsed_once_until_its_file_changes(tmp_path):
    path = tmp_path / "table2.toml"
    path.write_bytes(published.of("cifar100-lt").read_bytes())
    assert published.read(path) is published.read(path)
    path.write_text(path.read_text().replace("Table 2:", "Table Two:"))
    assert published.read(path).title.startswith("Table Two:")


def test_rows_stand_in_a_table_of_their_backbone():
    def shown(backbone):
        return table_for("cifar100-lt", ["CE", OWN], [100], backbone=backbone)

    assert shown("resnet10").file == shown(None).file == str(published.of("cifar100-lt"))
    assert shown("resnet34").backbone == "resnet34"
    other = shown("resnet32")  # nobody published a table of it
    assert (other.backbone, other.compared) == ("resnet32", False)
    assert [row.method for row in other.rows] == ["CE", OWN]
    with pytest.raises(UsageError, match="table2 is of resnet10, and these runs are of resnet34"):
        table_for("cifar100-lt", ["CE"], [100], name="table2", backbone="resnet34")


@pytest.mark.parametrize("rows", [None, ["CE"]])
def test_runs_of_another_backbone_are_not_shown_in_their_place(records, tmp_path, rows):
    choices = Choices("cifar100-lt", rows, backbone="resnet34", home=tmp_path)
    paper = resolve(choices, methods=True, table=True).paper
    lines = leaderboard.table(paper, records, "mini").parts[0].lines  # records of resnet10
    assert {cell.n for line in lines for cell in line.measured.values()} == {0}


def test_a_report_without_published_table_has_a_leaderboard_per_backbone(tmp_path, monkeypatch):
    workspace = Workspace("cifar100-lt", "mini", tmp_path)
    runs = [
        drawn_records.run(workspace, "CE", 0, 100, backbone=b) for b in ("resnet10", "resnet34")
    ]
    shown = boards.tables("cifar100-lt", runs, "mini", "A", "last", folder=tmp_path)
    assert [t.paper.title for t in shown] == [
        "cifar100-lt, resnet10",
        "cifar100-lt, resnet34",
    ]
    assert [t.parts[0].lines[0].measured["Overall"].n for t in shown] == [1, 1]
