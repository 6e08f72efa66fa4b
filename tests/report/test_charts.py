"""The charts of a data set: the numbers behind them, and what tells their series apart."""

import re
from pathlib import Path
from typing import Any

import drawn_records
import polars as pl
import pytest
import scored_pools
from page_text import found_figures, stored

from harness.core.errors import DataError
from harness.pipeline.workspace import Workspace
from harness.report import ablations, boards, charts, traces
from harness.results import leaderboard, published, records

SET = "cifar100-lt"


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


def test_series_of_a_chart_differ_in_name_and_look(page: str) -> None:
    kinds = set()
    for figure in stored(page, "figures").values():
        drawn, looks = figure["drawn"], []
        if "series" in drawn:
            names = [s["name"] for s in drawn["series"]]
            looks = [(s["colour"], s.get("hollow")) for s in drawn["series"]]
        elif figure["kind"] == "sizes":
            names, looks = (
                drawn["methods"],
                list(zip(drawn["colours"], drawn["dashes"], strict=True)),
            )
        elif figure["kind"] in ("violins", "strips"):
            names = [row[0] for row in figure["rows"]] if figure["kind"] == "violins" else []
            looks = [level["colour"] for level in drawn["levels"]]
        else:
            continue
        assert len(set(names)) == len(names)
        assert len(set(looks)) == len(looks) > 0
        kinds.add(figure["kind"])
    assert kinds >= {"intervals", "lines", "sizes", "violins"}


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
