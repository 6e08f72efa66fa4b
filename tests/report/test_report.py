"""The page: what it says, that nothing in it runs or loads, and what is told where data lack."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import drawn_records
import numpy as np
import polars as pl
import pytest
import scored_pools
import small_workspace

from harness import report
from harness.cli.main import main
from harness.core.errors import DataError
from harness.datasets.codec import decode
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.report import ablations, boards, charts, traces
from harness.report.gallery import SCALE, gallery, shares
from harness.results import leaderboard, published, records

SET = "cifar100-lt"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all four data sets, and a pool of one."""
    folder = tmp_path_factory.mktemp("home")
    drawn_records.all_sets(folder)
    workspace = Workspace(SET, "mini", folder)
    more = ("CE+DisCL(threshold=0.4)", "CE+DisCL(scale=2)", "CE+DisCL(scale=4)")
    drawn_records.write(
        folder, [drawn_records.run(workspace, m, s, 100) for m in more for s in range(3)]
    )
    scored_pools.pool(workspace)
    return folder


@pytest.fixture(scope="module")
def page(home: Path) -> str:
    return report.make(report.workspaces("mini", home, ()))


def stored(page: str, name: str) -> Any:
    """What the page keeps for its script under that name."""
    match = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert match is not None
    return json.loads(match[1])


def visible(page: str) -> str:
    """Text of the page without scripts, style and marks."""
    body = page[page.index("<body>") :]
    bare = re.sub(r"<script.*?</script>|<svg.*?</svg>", "", body, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))


def found_figures(page: str, prefix: str) -> dict[str, Any]:
    return {k: v for k, v in stored(page, "figures").items() if k.startswith(prefix)}


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


# ---------------------------------------------------------------- charts


def rows_of(figure: dict[str, Any], **wanted: str) -> list[dict[str, Any]]:
    """Rows of a chart's table by the names of its columns."""
    rows = [dict(zip(figure["columns"], row, strict=False)) for row in figure["rows"]]
    return [row for row in rows if all(row[k] == v for k, v in wanted.items())]


def test_every_chart_has_a_name_of_its_own_and_a_table(page: str) -> None:
    labels = re.findall(r'role="group" aria-label="(Chart: .*?)"', page)
    figures = stored(page, "figures")
    assert len(labels) == len(set(labels)) == len(figures) > 20
    assert len(re.findall(r'data-table="', page)) == len(figures)
    for figure in figures.values():
        assert figure["rows"]
        assert {len(row) for row in figure["rows"]} == {len(figure["columns"])}


def test_groups_hold_ours_and_the_published_numbers(home: Path, page: str) -> None:
    figure = found_figures(page, f"{SET}-groups-0-0")[f"{SET}-groups-0-0"]
    assert figure["columns"] == ["Column", "Method", "Ours, %", "± sd", "Published, %", "± sd"]
    few = [row for row in figure["rows"] if row[0] == "Few"]
    assert [row[4] for row in few[:2]] == [5.49, 5.43]
    assert few[0][1] == "CE"
    assert few[2][4] is None  # the control, which nobody published
    runs = records.read_all("mini", SET, home / "results/records")
    table = boards.tables(SET, runs, "mini", "A", "last")[0]
    mean = table.parts[0].lines[0].measured["Few"].mean
    assert mean is not None
    assert few[0][2] == round(100 * mean, 3)


def test_id_and_ood_have_a_plane(page: str) -> None:
    figure = found_figures(page, "iwildcam-groups-0-0-plane").popitem()[1]
    (flyp,) = rows_of(figure, Method="FLYP")
    assert (flyp["ID, published, %"], flyp["OOD, published, %"]) == (52.2, 35.5)
    assert flyp["ID, ours, %"] is not None
    assert not any("plane" in k for k in found_figures(page, SET))
    looks = list(zip(figure["drawn"]["colours"], figure["drawn"]["symbols"], strict=True))
    assert len(set(looks)) == len(looks) == len(figure["rows"]) == 28


def test_class_sizes() -> None:
    workspace = Workspace(SET, "mini")
    runs = drawn_records.table(workspace, seeds=[0, 1])
    table = boards.tables(SET, runs, "mini", "A", "last")[0]
    figure = charts.class_sizes("x", table, table.parts[0], runs, None)
    assert figure is not None
    chosen = [r for r in runs if (r["method"], r["imbalance"]) == ("CE", 100)]
    values = [r["selection"]["last"]["per_class"][3] for r in chosen]
    assert figure.columns[2] == "CE, %"
    assert figure.rows[3][:3] == ("class 3", drawn_records.counts()[3], round(50 * sum(values), 2))
    shown = [m for m, on in zip(figure.drawn["methods"], figure.drawn["shown"], strict=True) if on]
    assert shown[0] == "CE"
    assert len(shown) == 2  # and the best
    assert len(set(figure.drawn["methods"])) == len(table.parts[0].lines)


def test_many_classes_are_shown_by_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "DOTS", 5)
    runs = drawn_records.table(Workspace(SET, "mini"), seeds=[0])
    table = boards.tables(SET, runs, "mini", "A", "last")[0]
    figure = charts.class_sizes("x", table, table.parts[0], runs, None)
    assert figure is not None
    assert not figure.drawn["dots"]
    assert len(figure.rows) == charts.BINS
    assert figure.rows[0][1:3] == figure.drawn["lines"][0][0]


def test_averages_hold_every_class_once() -> None:
    sizes, values = [5, 1, 3, 2, 4, 6, 7], [0.5, 0.1, 0.3, 0.2, 0.4, 0.6, 0.7]
    points = list(charts._averages(sizes, values))
    assert points == [(n, pytest.approx(n / 10)) for n in range(1, 8)]
    many = list(charts._averages(list(range(100)), [0.5] * 100))
    assert len(many) == charts.BINS
    assert many[0] == (4.5, 0.5)


def test_scores_by_level_and_what_the_threshold_keeps() -> None:
    rows = pl.DataFrame(
        {"guidance": [0] * 3 + [50] * 1000, "text_score": [0.1, 0.2, 0.6] + [0.7] * 1000}
    )
    figure = charts.scores("x", rows, "text_score", 0.2, "T", "score")
    assert figure.columns[:3] == ("Guidance", "Images", "From 0.2, %")
    assert figure.rows[0] == ("0 (text only)", 3, 66.7, 0.1, 0.15, 0.2, 0.4, 0.6)
    assert figure.rows[1] == ("0.5", 1000, 100.0, 0.7, 0.7, 0.7, 0.7, 0.7)
    assert [sum(level["heights"]) for level in figure.drawn["levels"]] == [3, 1000]
    assert "0 (text only): 67 %, 0.5: 100 %" in figure.caption


def test_ablations_by_threshold_and_amount(home: Path, page: str) -> None:
    figure = found_figures(page, f"{SET}-threshold-0").popitem()[1]
    unit = "CLIPScore threshold"
    few = rows_of(figure, Numbers="Few, ours, mini")
    assert [row[unit] for row in few] == [
        0.35,
        0.4,
    ]  # the recipe's where the expression does not say
    amount = found_figures(page, f"{SET}-scale-0").popitem()[1]
    points = [row[1] for row in amount["rows"] if row[0] == "Few, ours, mini"]
    assert points == [2, 4, None]  # the recipe's own amount, known from the data only
    paper = rows_of(
        found_figures(page, "imagenet-lt-threshold-0").popitem()[1], Numbers="Overall, published"
    )
    assert [row["%"] for row in paper] == [39.67, 39.82, 39.68]


def test_ours_and_published_ablations_share_their_axes() -> None:
    name = "imagenet-lt"
    runs = drawn_records.table(Workspace(name, "mini"), seeds=[0])
    runs += [drawn_records.run(Workspace(name, "mini"), "CE+DisCL(threshold=0.2)", 0, None)]
    table = boards.tables(name, runs, "mini", "A", "last")[0]
    (figure,) = ablations.ablations("x", table, runs, (0.3, 0.3), "threshold")
    names = [series["name"] for series in figure.drawn["series"]]
    assert len(set(names)) == len(names) == 8
    assert {series["hollow"] for series in figure.drawn["series"]} == {True, False}


def test_one_value_is_no_ablation() -> None:
    runs = drawn_records.table(Workspace(SET, "mini"), seeds=[0])
    table = leaderboard.table(published.of(SET), runs, "mini")
    assert ablations.ablations("x", table, runs, (0.35, 0.35), "threshold") == []


# ---------------------------------------------------------------- curricula


def test_traces_by_method_and_seed(tmp_path: Path) -> None:
    workspace = Workspace(SET, "mini", tmp_path)
    runs = [drawn_records.run(workspace, "CE+DisCL", s, 100) for s in range(3)]
    for r in runs[:2]:
        scored_pools.levels_used(workspace.runs / r["key"][:16], [[0.0], [0.0], [0.5, 1.0], []])
    figure, why = traces.curricula("x", [("DisCL", r) for r in runs], workspace.runs)
    assert why == ""
    assert figure is not None
    assert figure.drawn["rows"] == ["DisCL, seeds 0, 1"]
    assert figure.rows == [
        ("DisCL", "0, 1", 1, 2, "0 (text only)"),
        ("DisCL", "0, 1", 3, 3, "0.5"),
        ("DisCL", "0, 1", 3, 3, "1 (real)"),  # the two share the epoch
    ]
    assert figure.drawn["places"] == [(0, 0, 1), (0, 0, 2), (0, 1, 2)]


def test_traces_from_the_record_itself(tmp_path: Path) -> None:
    record = {"key": "a" * 64, "levels": [[[0], 2], [[], 1]]}
    assert traces.trace(record, tmp_path) == (((0,), 2), ((), 1))
    assert traces.trace({"key": "a" * 64}, tmp_path) is None


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 16)
    folder.mkdir()
    (folder / "epochs.jsonl").write_text('{"epoch": 0}\n')
    with pytest.raises(DataError, match=r"epochs\.jsonl: not the history of a run"):
        traces.trace({"key": "a" * 64}, tmp_path)


# ---------------------------------------------------------------- gallery


def test_the_gallery_shows_whole_spectra(home: Path) -> None:
    shown = gallery(Workspace(SET, "mini", home), 3 * 8)
    assert (shown.levels, shown.seeds) == (scored_pools.LEVELS, scored_pools.SEEDS)
    assert (shown.shown, shown.total, shown.sources) == (24, 160, 20)
    assert "The real pictures are not shown" in shown.note
    names = [shown.plain["classes"][s["class"]] for s in shown.plain["sources"]]
    assert len(set(names)) == 3  # the classes in turn
    source = shown.plain["sources"][0]
    assert source["scores"][1][1] == 6500 - 1  # 0.65 as float32 is below 0.65, and stays so
    assert decode(base64.b64decode(source["images"][0][0])).shape == (16, 16, 3)


def test_all_scores_are_there_whatever_is_shown(home: Path) -> None:
    plain = gallery(Workspace(SET, "mini", home), 8).plain
    assert len(plain["sources"]) == 1
    cells = [[np.frombuffer(base64.b64decode(c), "<i2") for c in row] for row in plain["scores"]]
    rows = pl.read_parquet(home / "work/mini" / SET / "spectrum.parquet")
    for threshold in (0.5, 0.55, 0.62, 0.7, 0.9):
        ours = sum(int((c >= round(threshold * SCALE)).sum()) for row in cells for c in row)
        assert ours == len(rows.filter(pl.col("text_score") >= threshold))
    assert all((np.diff(c) >= 0).all() for row in cells for c in row)


def test_real_pictures_where_the_data_is(tmp_path: Path) -> None:
    workspace = small_workspace.workspace(tmp_path, small_workspace.write_data(tmp_path / "data"))
    stages.index(workspace)
    hard = stages.hard(workspace)
    scored_pools.pool(workspace, sources=2)
    spectrum = pl.read_parquet(workspace.work / "spectrum.parquet")
    old = spectrum["source"].unique().sort()
    new = hard["source"].unique().sort()[: len(old)]
    assert len(old) == 2
    # the pool's own sources are invented, so the spectrum is told of real ones
    named = spectrum.with_columns(pl.col("source").replace(old, new))
    named.write_parquet(workspace.work / "spectrum.parquet")
    shown = gallery(workspace, 100)
    assert shown.note == ""
    assert all(
        decode(base64.b64decode(s["real"])).shape == (32, 32, 3) for s in shown.plain["sources"]
    )


@pytest.mark.parametrize("pictures", [1, 7, 13, 159, 160, 5000])
def test_the_page_shows_as_many_pictures_as_it_is_asked_for(home: Path, pictures: int) -> None:
    """Also where other data sets have no pool; all of them where the pool has fewer."""
    page = report.make(report.workspaces("mini", home, ()), pictures=pictures)
    sources = stored(page, f"gallery-{SET}")["sources"]
    images = [image for s in sources for level in s["images"] for image in level]
    assert sum(image is not None for image in images) == min(pictures, 160)
    assert f"{min(pictures, 160)} of 160 synthetic images" in visible(page)


def test_pools_share_the_pictures(tmp_path: Path) -> None:
    names = (SET, "imagenet-lt", "inaturalist2018")
    workspaces = [Workspace(name, "mini", tmp_path) for name in names]
    scored_pools.pool(workspaces[0], sources=2)  # 16 images
    scored_pools.pool(workspaces[1], sources=20)  # 160
    assert shares(workspaces, 100) == [16, 84, 0]
    assert shares(workspaces, 20) == [10, 10, 0]
    assert shares(workspaces, 3) == [2, 1, 0]
    assert shares(workspaces, 1000) == [16, 160, 0]
    assert gallery(workspaces[1], 0).shown == 0


def test_large_pictures_become_thumbnails(tmp_path: Path) -> None:
    workspace = Workspace(SET, "mini", tmp_path)
    scored_pools.pool(workspace, sources=1, px=96)
    source = gallery(workspace, 8).plain["sources"][0]
    assert decode(base64.b64decode(source["images"][0][0])).shape == (64, 64, 3)


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
        (["--profile", "paper"], "no data set has records of profile paper"),
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
