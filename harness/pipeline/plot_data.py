"""The data behind DVC's plots of a leaderboard, as CSV files whose columns .dvc/plots names.

leaderboard.csv and groups.csv are from records, curves.csv from the histories of runs, scores.csv
from the scored pool; a file without anything to show has its header alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from harness.core import cells, documents
from harness.core.files import write_atomic
from harness.core.guidance import fraction
from harness.pipeline.jobs import scored
from harness.pipeline.run_record import HISTORY
from harness.pipeline.workspace import Workspace
from harness.results.leaderboard import Table
from harness.results.table_data import headline_column

HEADS = {
    "leaderboard": ("block", "method", "numbers", "value", "low", "high"),
    "groups": ("block", "method", "group", "value", "low", "high"),
    "curves": ("block", "method", "epoch", "loss", "accuracy"),
    "scores": ("guidance", "low", "median", "high", "mean", "used", "images"),
}
Row = Mapping[str, Any]


def write(folder: Path, table: Table, records: Sequence[Row], workspace: Workspace) -> None:
    """All four files into a folder."""
    rows: dict[str, Iterable[Row]] = {
        "leaderboard": _leaderboard(table),
        "groups": _groups(table),
        "curves": _curves(table, records, workspace.runs),
        "scores": _scores(workspace),
    }
    for name, head in HEADS.items():
        write_atomic(folder / f"{name}.csv", _text(head, rows[name]).encode())


def _text(head: Sequence[str], rows: Iterable[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, head, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cells.safe(row[name]) for name in head} for row in rows)
    return buffer.getvalue()


def _leaderboard(table: Table) -> Iterator[Row]:
    """The headline column in percent: ours with mean ± sd, and what was published."""
    name = headline_column(table)
    for part in table.parts:
        for line in part.lines:
            about: dict[str, Any] = {"block": part.block.title, "method": line.label}
            ours, number = line.measured[name], line.printed[name].number
            if ours.mean is not None:
                yield about | {"numbers": "ours"} | _spread(100 * ours.mean, 100 * (ours.sd or 0))
            if number is not None:
                yield about | {"numbers": "published"} | _spread(number.value, number.sd or 0)


def _groups(table: Table) -> Iterator[Row]:
    """Ours in every column, in percent."""
    for part in table.parts:
        for line in part.lines:
            for column in table.paper.columns:
                ours = line.measured[column.name]
                if ours.mean is not None:
                    about = {"block": part.block.title, "method": line.label, "group": column.name}
                    yield about | _spread(100 * ours.mean, 100 * (ours.sd or 0))


def _spread(value: float, sd: float) -> dict[str, Any]:
    numbers = {"value": value, "low": value - sd, "high": value + sd}
    return {name: round(number, 3) for name, number in numbers.items()}


def _curves(table: Table, records: Sequence[Row], runs: Path) -> Iterator[Row]:
    """Loss and accuracy (percent) by epoch, means over the seeds whose runs are here."""
    for part in table.parts:
        for line in part.lines:
            histories = [
                documents.json_lines(path, "history of a run")
                for record in records
                if (record["method"], record["imbalance"]) == (line.method, part.block.imbalance)
                if (path := runs / str(record["key"])[:16] / HISTORY).is_file()
            ]
            for epoch, entries in enumerate(zip(*histories, strict=False), 1):
                about = {"block": part.block.title, "method": line.label, "epoch": epoch}
                yield {
                    **about,
                    "loss": _mean([entry["loss"] for entry in entries]),
                    "accuracy": _mean([entry["accuracy"] for entry in entries], 100),
                }


def _mean(values: Sequence[float | None], factor: float = 1) -> float | None:
    known = [value for value in values if value is not None]
    whole = known and len(known) == len(values)
    return round(factor * sum(known) / len(known), 4) if whole else None


def _scores(workspace: Workspace) -> Iterator[Row]:
    """CLIPScores by guidance: quantiles 0.1, 0.5 and 0.9, and the share that training may use."""
    if not (workspace.work / "spectrum.parquet").is_file():
        return
    score = pl.col("text_score")
    table = scored(workspace).group_by("guidance").agg(
        score.quantile(0.1).alias("low"),
        score.median().alias("median"),
        score.quantile(0.9).alias("high"),
        score.mean().alias("mean"),
        (score >= workspace.recipe.threshold).mean().alias("used"),
        pl.len().alias("images"),
    )  # fmt: skip
    for row in table.sort("guidance").iter_rows(named=True):
        numbers = {name: round(value, 4) for name, value in row.items() if name != "guidance"}
        yield numbers | {"guidance": fraction(row["guidance"])}
