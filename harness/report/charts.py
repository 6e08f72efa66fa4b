"""The charts of a data set: groups, class sizes and CLIPScores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.figures import (
    Figure,
    Value,
    beside,
    colour,
    dash,
    distinct,
    level_colour,
    level_name,
    percent,
    symbol,
)
from harness.results.leaderboard import Line, Part, Record, Table

if TYPE_CHECKING:
    import polars as pl

BINS = 10  # points of a line over the class sizes
DOTS = 1200  # classes, of which each may have a dot
STEPS = 48  # of the range of scores, by which a level's distribution is drawn
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # quantiles of a level's scores in the table


def groups(name: str, table: Table, part: Part) -> Figure | None:
    """Ours and the published number of each method and column; None where there is none."""
    labels = _labels(part)
    rows: list[tuple[Value, ...]] = []
    for column in table.paper.columns:
        for label, line in zip(labels, part.lines, strict=True):
            pair = (*_ours(line, column.name), *_printed(line, column.name))
            rows.append((column.name, label, *pair))
    if all(value is None for row in rows for value in row[2:]):
        return None
    head = ("Column", "Method", "Ours, %", "± sd", "Published, %", "± sd")
    caption = "Bars: standard deviation over seeds." if any(r[3] or r[5] for r in rows) else ""
    title = _title(table, part)
    return Figure(name, title, "groups", head, rows, _beside(table, rows, caption))


def plane(name: str, table: Table, part: Part) -> Figure | None:
    """The two columns of a table against each other, as ID and OOD; None for other tables."""
    if len(table.paper.columns) != 2:
        return None
    second, first = (c.name for c in table.paper.columns)
    rows: list[tuple[Value, ...]] = []
    for label, line in zip(_labels(part), part.lines, strict=True):
        ours = (*_ours(line, first), *_ours(line, second))
        printed = (*_printed(line, first), *_printed(line, second))
        rows.append((label, *ours, *printed))
    if not any(None not in (row[i], row[i + 2]) for row in rows for i in (1, 5)):
        return None
    head = ["Method"]
    for whose in ("ours", "published"):
        head += [f"{first}, {whose}, %", "± sd", f"{second}, {whose}, %", "± sd"]
    drawn = {
        "x": f"{first}, %",
        "y": f"{second}, %",
        "colours": [colour(i) for i in range(len(rows))],
        "symbols": [symbol(i) for i in range(len(rows))],
    }
    title = f"{second} against {first}, {_title(table, part)}"
    either = [(*row[:2], *row[1:3], *row[5:7]) for row in rows]
    return Figure(name, title, "plane", tuple(head), rows, _beside(table, either, ""), drawn)


def _title(table: Table, part: Part) -> str:
    """Of a table, with the name of the block where the table's own does not hold it."""
    title, block = table.paper.title, part.block.title
    return title if block in title else f"{title}, {block}"


def _beside(table: Table, rows: Sequence[tuple[Value, ...]], caption: str) -> str:
    """The caption of a chart; where both are shown, what sets ours and the published apart."""
    both = all(any(row[i] is not None for row in rows) for i in (2, 4))
    return f"{caption} {beside(table.profile)}".strip() if both else caption


def _labels(part: Part) -> list[str]:
    return distinct([line.label for line in part.lines], [line.method for line in part.lines])


def _ours(line: Line, column: str) -> tuple[float | None, float | None]:
    """Percent and standard deviation."""
    cell = line.measured[column]
    mean, sd = (None if v is None else round(100 * v, 3) for v in (cell.mean, cell.sd))
    return mean, None if mean is None else sd


def _printed(line: Line, column: str) -> tuple[float | None, float | None]:
    number = line.printed[column].number
    return (None, None) if number is None else (number.value, number.sd)


def class_sizes(
    name: str, table: Table, part: Part, records: Sequence[Record], classes: Sequence[str] | None
) -> Figure | None:
    """Accuracy of each class by its training images, a line of averages and dots per method.

    classes: names by label where they are known. None where records have no accuracy by class.
    """
    means: dict[str, list[float]] = {}
    methods, counts = [], []
    for label, line in zip(_labels(part), part.lines, strict=True):
        runs = [r for r in records if _is(r, line.method, part, table)]
        accuracies = [r["selection"][table.select].get("per_class") for r in runs]
        if accuracies and all(accuracies):
            columns = zip(*accuracies, strict=True)
            means[label] = [sum(values) / len(values) for values in columns]
            methods.append(line)
            counts = list(runs[0]["counts"])
    if not means:
        return None
    last = table.paper.columns[-1].name
    best = next((line for line in methods if line.measured[last].best), methods[-1])
    lines = [[(x, round(100 * y, 2)) for x, y in _averages(counts, m)] for m in means.values()]
    dots = len(counts) <= DOTS
    drawn = {
        "methods": list(means),
        "shown": [line in (methods[0], best) for line in methods],
        "colours": [colour(i) for i in range(len(means))],
        "dashes": [dash(i) for i in range(len(means))],
        "lines": lines,
        "dots": dots,
    }
    head = ("Class" if dots else "Classes", "Training images", *(f"{label}, %" for label in means))
    rows = _class_rows(counts, means, classes) if dots else _group_rows(lines, len(counts))
    caption = (
        f"{'Dots: classes, averaged over seeds; lines' if dots else 'Lines'}: means over {BINS} "
        "groups of classes of similar size. Choose methods by their names."
    )
    title = f"Accuracy by class size, {part.block.title}"
    return Figure(name, title, "sizes", head, rows, caption, drawn)


def _class_rows(
    counts: Sequence[int], means: dict[str, list[float]], classes: Sequence[str] | None
) -> list[tuple[Value, ...]]:
    """A row per class: its name, its images, and percent by method."""
    names = list(classes) if classes else [f"class {i}" for i in range(len(counts))]
    accuracy = zip(*(percent(values) for values in means.values()), strict=True)
    return [(*row[:2], *row[2]) for row in zip(names, counts, accuracy, strict=True)]


def _group_rows(
    lines: Sequence[Sequence[tuple[float, float]]], classes: int
) -> list[tuple[Value, ...]]:
    """A row per group of classes: how many, their mean size, and percent by method."""
    parts = len(lines[0])
    sizes = [(k + 1) * classes // parts - k * classes // parts for k in range(parts)]
    return [
        (f"{sizes[k]:,} classes", lines[0][k][0], *(points[k][1] for points in lines))
        for k in range(parts)
    ]


def _is(record: Record, method: str, part: Part, table: Table) -> bool:
    backbone = table.paper.backbone in (None, record["backbone"])
    return backbone and (record["method"], record["imbalance"]) == (method, part.block.imbalance)


def _averages(counts: Sequence[int], values: Sequence[float]) -> Iterable[tuple[float, float]]:
    """Mean size and mean value of up to BINS groups of classes of similar size."""
    order = sorted(range(len(counts)), key=lambda i: counts[i])
    parts = min(BINS, len(order))
    for k in range(parts):
        group = order[k * len(order) // parts : (k + 1) * len(order) // parts]
        yield (
            round(sum(counts[i] for i in group) / len(group), 2),
            sum(values[i] for i in group) / len(group),
        )


def scores(
    name: str, rows: pl.DataFrame, column: str, threshold: float | None, title: str, unit: str
) -> Figure:
    """The distribution of scores per guidance level; a line at the threshold where there is one.

    rows: a spectrum table. Drawn as a histogram of STEPS steps, whatever its size.
    """
    import numpy as np

    known = rows[column].drop_nulls().to_numpy()
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, max(high, low + 1e-3), STEPS + 1)
    drawn: dict[str, Any] = {"edges": edges.round(4).tolist(), "levels": []}
    drawn |= {"threshold": threshold, "unit": unit}
    lines: list[tuple[Value, ...]] = []
    for level in sorted(rows["guidance"].unique().to_list()):
        values = rows.filter(rows["guidance"] == level)[column].drop_nulls().to_numpy()
        heights = np.histogram(values, edges)[0].tolist()
        drawn["levels"].append({"colour": level_colour(level), "heights": heights})
        lines.append((level_name(level), len(values), *_summary(values, threshold)))
    share = () if threshold is None else (f"From {threshold:g}, %",)
    head = ("Guidance", "Images", *share, "Lowest", "Lower quartile", "Median")
    caption = f"{len(rows):,} images. Bars: quartiles; dots: medians."
    if threshold is not None:
        shares = (f"{line[0]}: {line[2]:.0f} %" for line in lines if line[2] is not None)
        caption += f" Line: threshold {threshold:g}, which keeps, by guidance, {', '.join(shares)}."
    columns = (*head, "Upper quartile", "Highest")
    return Figure(name, title, "violins", columns, lines, caption, drawn)


def _summary(values: Any, threshold: float | None) -> tuple[float | None, ...]:
    """Percent from the threshold on where there is one; quantiles."""
    import numpy as np

    size = len(PARTS) + (threshold is not None)
    if not len(values):
        return (None,) * size
    share = () if threshold is None else (round(100 * float((values >= threshold).mean()), 1),)
    return (*share, *(round(float(v), 4) for v in np.quantile(values, PARTS)))
