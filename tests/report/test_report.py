"""The page: what it says, that nothing in it runs or loads, and what is told where data lack."""

import html
import re
from pathlib import Path
from typing import Any

import drawn_records
import pytest
import scored_pools
from page_text import found_figures, stored, visible

from harness import report
from harness.cli.main import main
from harness.pipeline.workspace import Workspace
from harness.report import boards
from harness.results import records

SET = "cifar100-lt"


# ---------------------------------------------------------------- the whole


def test_all_data_sets_in_one_file(page: str, home: Path) -> None:
    words = visible(page)
    runs = sum(1 for _ in (home / "results/records").rglob("*.json"))
    assert (
        f"cifar100-lt, imagenet-lt, inaturalist2018, iwildcam: profile mini, {runs} runs." in words
    )
    assert "the built-in world" in words  # whose numbers these are
    for title in ("Table 1: ImageNet-LT", "Table 2", "Table 3", "Table 5: iWildCam"):
        assert title in words
    for what in ("Groups rule A", "Selection last epoch", "torch 2.0", "Seeds 0, 1, 2"):
        assert what in words


def test_equal_records_give_equal_pages(page: str, home: Path) -> None:
    assert report.make(report.workspaces("mini", home, ())) == page


def test_nothing_is_loaded_and_nothing_else_runs(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    content = html.unescape(policy[1])
    assert "default-src 'none'" in content
    assert "img-src data:" in content
    assert "unsafe-eval" not in content
    assert re.search(r"script-src 'sha256-\S+' 'sha256-\S+' 'sha256-\S+';", content)
    marks = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!#|data:)', marks)
    assert "@import" not in marks
    assert "url(" not in marks


def test_a_class_name_that_is_a_script_is_text(page: str) -> None:
    assert scored_pools.HOSTILE not in page
    assert scored_pools.HOSTILE in stored(page, f"gallery-{SET}")["classes"]


def test_records_that_hold_html_are_text(tmp_path: Path) -> None:
    workspace = Workspace(SET, "mini", tmp_path)
    method = 'CE+DisCL(curriculum="<b>&</script>")'
    drawn_records.write(tmp_path, [drawn_records.run(workspace, method, 0, 100)])
    page = report.make([workspace])
    assert method in visible(page)
    assert "&lt;b&gt;&amp;&lt;/script&gt;" in page
    assert "<b>&</script>" not in page


def test_parts_without_data_say_what_makes_them(page: str) -> None:
    words = visible(page)
    assert (
        "work/mini/imagenet-lt/spectrum.parquet is not there yet; `harness score` makes it" in words
    )
    assert "records do not say which levels were used" in words
    assert "The records here hold no accuracy by class." in words  # iwildcam's


# ---------------------------------------------------------------- leaderboards


def test_cells_of_a_board(home: Path) -> None:
    runs = records.read_all("mini", "iwildcam", home / "results/records")
    table = boards.tables("iwildcam", runs, "mini", "A", "last")[0]
    board = boards.board(table, "x")
    entry = next(e for e in board.grids[0].entries if e.method == "FLYP")
    ours, paper = entry.cells[:2]
    line = next(x for x in table.parts[0].lines if x.method == "FLYP")
    mean, sd = line.measured["OOD"].mean, line.measured["OOD"].sd
    assert mean is not None
    assert sd is not None
    assert (ours.text, ours.sd, ours.value) == (f"{100 * mean:.1f}", f"{100 * sd:.1f}", mean)
    assert (paper.text, paper.sd, paper.ours) == ("35.5", "1.1", False)
    assert entry.seeds == "3"


def test_missing_runs_are_marks_that_sort_last() -> None:
    board = boards.board(boards.tables(SET, [], "mini", "A", "last")[0], "x")
    cells = board.grids[0].entries[0].cells
    assert [(c.text, c.value) for c in cells[:2]] == [("·", None), ("52.86", 52.86)]


def test_further_runs_get_a_board_of_their_own(page: str) -> None:
    words = visible(page)
    assert boards.FURTHER in words
    assert "CE+DisCL(threshold=0.4)" in words


def test_other_tables_are_shown_where_something_was_run(tmp_path: Path) -> None:
    workspace = Workspace(SET, "mini", tmp_path)
    runs = drawn_records.table(workspace, "table7", seeds=[0])
    tables = boards.tables(SET, runs, "mini", "A", "last")
    assert [t.paper.title[:7] for t in tables] == ["Table 2", "Table 7"]
    assert boards.further(tables, runs) == []


def test_further_runs_of_every_backbone_are_listed(tmp_path: Path) -> None:
    workspace, expression = Workspace(SET, "mini", tmp_path), "CE+DisCL(threshold=0.4)"
    records = [
        *drawn_records.table(workspace, seeds=[0]),
        *(drawn_records.run(workspace, expression, 0, 100, backbone=b) for b in (None, "vit")),
        drawn_records.run(workspace, "CE", 0, 100, backbone="vit"),
    ]
    tables = boards.tables(SET, records, "mini", "A", "last")
    own, other = boards.further(tables, records)
    assert own.paper.title == boards.FURTHER
    assert [line.method for line in own.parts[0].lines] == [expression]
    assert own.backbone == tables[0].backbone
    assert other.paper.title == f"{boards.FURTHER}, vit"
    lines = {line.method: line for line in other.parts[0].lines}
    assert sorted(lines) == ["CE", expression]  # CE stands in the table of another backbone
    assert all(m.n == 1 for line in lines.values() for m in line.measured.values())


# ---------------------------------------------------------------- the command


def test_the_command_writes_the_page(home: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "sub" / "page.html"
    arguments = ["report", "--home", str(home), "--dataset", SET, "--out", str(out)]
    assert main(arguments) == 0
    assert f"report: {out}, " in capsys.readouterr().err
    assert "imagenet-lt" not in visible(out.read_text())


def test_the_command_takes_fields_of_the_recipe(home: Path, tmp_path: Path) -> None:
    def threshold(*settings: str) -> Any:
        out = tmp_path / "page.html"
        arguments = ["report", "--home", str(home), "--dataset", SET, "--out", str(out)]
        assert main([*arguments, *settings]) == 0
        figure = found_figures(out.read_text(), f"{SET}-scores-text").popitem()[1]
        return figure["drawn"]["threshold"]

    assert threshold("--set", "threshold=0.125") == 0.125
    assert threshold() == Workspace(SET, "mini", home).recipe.threshold


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "cifar10-lt"], "did you mean 'cifar100-lt'"),
        (["--profile", "minni"], "minni"),
        (["--rule", "E"], "no grouping rule 'E'"),
        (["--select", "best"], "'best'"),
        (["--set", "treshold=0.5"], "did you mean 'threshold'?"),
        (["--set", "threshold"], "expected NAME=VALUE"),
        (["--pictures", "0"], "'0' is not a whole number from 1"),
    ],
)
def test_bad_requests(
    home: Path, tmp_path: Path, capsys: Any, arguments: list[str], says: str
) -> None:
    out = tmp_path / "page.html"
    try:
        code = main(["report", "--home", str(home), "--out", str(out), *arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_a_page_names_records_of_other_parameters(tmp_path: Path) -> None:
    """They are not shown, and the page says by what they differ."""
    workspace = Workspace("cifar100-lt", "mini", tmp_path, settings=(("width", 8),))
    page = report.make([workspace], pictures=1)
    assert "made with other parameters" in page
    assert "width 16 there, 8 here" in page
    assert "reference results" in report.make([Workspace("cifar100-lt", "mini", tmp_path)])
