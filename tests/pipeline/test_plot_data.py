"""The data of DVC's plots, its templates and the headline numbers."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from drawn_records import table as drawn

from harness.pipeline import plot_data
from harness.pipeline.workspace import Workspace
from harness.results import leaderboard, published
from harness.results.table_data import headline_column, to_metrics

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / ".dvc/plots").glob("*.json"))


def board(home: Path, dataset: str = "cifar100-lt") -> tuple[leaderboard.Table, list, Workspace]:
    workspace = Workspace(dataset, "mini", home)
    records = drawn(workspace)
    return leaderboard.table(published.of(dataset), records, "mini"), records, workspace


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_files_of_a_leaderboard(tmp_path: Path) -> None:
    table, records, workspace = board(tmp_path)
    history = workspace.runs / records[0]["key"][:16] / "epochs.jsonl"
    history.parent.mkdir(parents=True)
    epochs = [{"loss": 2.0, "accuracy": None}, {"loss": 1.5, "accuracy": 0.25}]
    history.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    plot_data.write(tmp_path / "plots", table, records, workspace)
    for name, head in plot_data.HEADS.items():
        text = (tmp_path / "plots" / f"{name}.csv").read_text()
        assert text.splitlines()[0] == ",".join(head)
    shown = rows(tmp_path / "plots/leaderboard.csv")
    assert len(shown) == sum(len(part.lines) for part in table.parts) + 12  # published numbers
    cell = table.parts[0].lines[0].measured["Overall"]
    assert cell.mean is not None
    assert float(shown[0]["value"]) == pytest.approx(100 * cell.mean, abs=1e-3)
    groups = rows(tmp_path / "plots/groups.csv")
    assert {row["group"] for row in groups} == {"Many", "Medium", "Few", "Overall"}
    curves = rows(tmp_path / "plots/curves.csv")
    assert [(row["epoch"], row["loss"], row["accuracy"]) for row in curves] == [
        ("1", "2.0", ""),
        ("2", "1.5", "25.0"),
    ]
    assert rows(tmp_path / "plots/scores.csv") == []


@pytest.mark.parametrize("dataset", ["cifar100-lt", "imagenet-lt", "iwildcam"])
def test_one_number_per_block(tmp_path: Path, dataset: str) -> None:
    table, _, _ = board(tmp_path, dataset)
    content = json.loads(to_metrics(table))
    name = Path(table.paper.file).stem
    numbers = content[name] if len(table.parts) > 1 else {table.parts[0].block.key: content[name]}
    column = headline_column(table)
    for part in table.parts:
        (line,) = (line for line in part.lines if line.printed[column].best)
        assert "DisCL" in line.method
        mean = line.measured[column].mean
        assert mean is not None
        assert numbers[part.block.key] == round(100 * mean, table.paper.decimals)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_templates_name_columns_that_there_are(file: Path) -> None:
    def fields(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["field"]} if isinstance(value.get("field"), str) else set()
            return own.union(*map(fields, value.values()))
        return set().union(*map(fields, value)) if isinstance(value, list) else set()

    template = json.loads(file.read_text())
    assert template["data"] == {"values": "<DVC_METRIC_DATA>"}
    assert fields(template) <= {*plot_data.HEADS[file.stem], "rev"}


def test_every_table_has_every_plot() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["table"]["do"]
    plots = {Path(path).stem: about for plot in stage["plots"] for path, about in plot.items()}
    assert plots.keys() == plot_data.HEADS.keys() == {file.stem for file in TEMPLATES}
    assert all(about["template"] == name for name, about in plots.items())


def test_the_page_of_plots_fetches_nothing() -> None:
    page = (ROOT / ".dvc/page.html").read_text()
    assert "http" not in page
    for name in ("vega", "vega-lite", "vega-embed"):
        assert f'src="../.dvc/vega/{name}.min.js"' in page
        assert (ROOT / f".dvc/vega/{name}.min.js").stat().st_size > 10_000
