"""The charts of a data set: groups, class sizes, CLIPScores, and ablations over one argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.figures import (
    Figure,
    axis,
    colour,
    level_colour,
    level_name,
    percent,
    rows_px,
    symbol,
    text,
    wrapped,
)
from harness.results.leaderboard import Part, Record, Table

if TYPE_CHECKING:
    import polars as pl

BINS = 10  # points of a line over the class sizes
DOTS = 1200  # classes, of which each may have a dot
QUANTILES = 400  # of a level's scores, from which its violin is drawn


def groups(name: str, table: Table, part: Part, ours: bool) -> Figure | None:
    """A dot per method and column, ours with the standard deviation; None where there is none."""
    points = [(line, _values(line, ours)) for line in part.lines]
    if not any(values for _, values in points):
        return None
    labels = [wrapped(line.label) for line, _ in points]
    data = []
    for i, column in enumerate(table.paper.columns):
        values = [cells.get(column.name, (None, None)) for _, cells in points]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text(column.name),
                "x": [v for v, _ in values],
                "y": labels,
                "error_x": {"array": [sd for _, sd in values], "thickness": 1, "width": 0},
                "marker": {"color": colour(i), "symbol": symbol(i), "size": 9},
                "hovertemplate": "%{y}: %{x:.2f}<extra>" + text(column.name) + "</extra>",
            }
        )
    whose = f"ours, {table.profile}" if ours else "published"
    layout: dict[str, Any] = {
        "xaxis": axis("%"),
        "yaxis": {"automargin": True, "type": "category"},
    }
    layout["yaxis"] |= {"categoryarray": labels, "range": [len(labels) - 0.5, -0.5]}
    title = f"{_capitalised(part.block.title)}: {whose}"
    bars = any(sd is not None for _, values in points for _, sd in values.values())
    caption = "Bars: standard deviation over seeds." if bars else ""
    return Figure(name, title, caption, data, layout, rows_px(labels, 110))


def _capitalised(title: str) -> str:
    """With a capital letter."""
    return title[:1].upper() + title[1:]


def _values(line: Any, ours: bool) -> dict[str, tuple[float | None, float | None]]:
    """Percent and standard deviation by column."""
    if ours:
        means = {k: (m.mean, m.sd) for k, m in line.measured.items() if m.mean is not None}
        return {
            k: (round(100 * v, 3), None if sd is None else round(100 * sd, 3))
            for k, (v, sd) in means.items()
        }
    printed = {k: p.number for k, p in line.printed.items()}
    return {k: (n.value, n.sd) for k, n in printed.items() if n is not None}


def plane(name: str, table: Table, part: Part, ours: bool) -> Figure | None:
    """The two columns of a table against each other, as ID and OOD; None for other tables."""
    if len(table.paper.columns) != 2:
        return None
    second, first = (c.name for c in table.paper.columns)
    data = []
    for i, line in enumerate(part.lines):
        cells = _values(line, ours)
        if len(cells) < 2:
            continue
        (x, sd_x), (y, sd_y) = cells[first], cells[second]
        point: dict[str, Any] = {"type": "scatter", "mode": "markers", "x": [x], "y": [y]}
        point |= {"name": wrapped(line.label, 34)}
        point |= {"error_x": {"array": [sd_x], "thickness": 1, "width": 0}}
        point |= {"error_y": {"array": [sd_y], "thickness": 1, "width": 0}}
        point["marker"] = {"color": colour(i), "symbol": symbol(i // 4), "size": 10}
        data.append(point)
    if not data:
        return None
    whose = f"ours, {table.profile}" if ours else "published"
    layout = {"xaxis": axis(f"{first}, %"), "yaxis": axis(f"{second}, %")}
    rows = 20 * len(data)  # of the legend, which stands below
    return Figure(name, f"{second} against {first}, {whose}", "", data, layout, 300 + rows)


def class_sizes(
    name: str, table: Table, part: Part, records: Sequence[Record], classes: Sequence[str] | None
) -> Figure | None:
    """Accuracy of each class by its training images, a line of averages and dots per method.

    classes: names by label where they are known. None where records have no accuracy by class.
    """
    data: list[dict[str, Any]] = []
    last = table.paper.columns[-1].name
    best = next((x.method for x in part.lines if x.measured[last].best), part.lines[-1].method)
    for line in part.lines:
        runs = [r for r in records if _is(r, line.method, part, table)]
        accuracies = [r["selection"][table.select].get("per_class") for r in runs]
        if not accuracies or not all(accuracies):
            continue
        counts = runs[0]["counts"]
        mean = [sum(values) / len(values) for values in zip(*accuracies, strict=True)]
        i = len({trace["legendgroup"] for trace in data})
        visible = line.method in (part.lines[0].method, best)
        about = {"legendgroup": str(i), "visible": True if visible else "legendonly"}
        data += _class_traces(counts, mean, classes, line.label, colour(i), about)
    if not data:
        return None
    layout = {
        "xaxis": axis("training images of the class", type="log", tickvals=_decades()),
        "yaxis": axis("accuracy of the class, %", rangemode="tozero"),
    }
    dots = "Dots: classes, averaged over seeds; lines" if len(counts) <= DOTS else "Lines"
    caption = (
        f"{dots}: means over {BINS} groups of classes of similar size. Choose methods in the "
        "legend."
    )
    title = _capitalised(part.block.title)
    return Figure(name, title, caption, data, layout, 380 + 9 * len(data))


def _decades() -> list[int]:
    return [n * 10**k for k in range(5) for n in (1, 2, 5)]


def _is(record: Record, method: str, part: Part, table: Table) -> bool:
    backbone = table.paper.backbone in (None, record["backbone"])
    return backbone and (record["method"], record["imbalance"]) == (method, part.block.imbalance)


def _class_traces(
    counts: Sequence[int],
    accuracy: Sequence[float],
    classes: Sequence[str] | None,
    label: str,
    shade: str,
    about: dict[str, Any],
) -> list[dict[str, Any]]:
    names = [classes[i] if classes else f"class {i}" for i in range(len(counts))]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": wrapped(label, 40),
        "showlegend": False,
        "x": list(counts),
        "y": percent(accuracy),
        "text": [text(n) for n in names],
        "hovertemplate": "%{text}: %{y:.1f} %, %{x} images<extra>" + text(label) + "</extra>",
        "marker": {"color": shade, "size": 5, "opacity": 0.4},
        **about,
    }
    x, y = zip(*_averages(counts, accuracy), strict=True)
    lines = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": wrapped(label, 40),
        "x": x,
        "y": percent(y),
        "hoverinfo": "skip",
        "line": {"color": shade, "width": 2},
        "marker": {"color": shade, "size": 6},
        **about,
    }
    return [dots, lines] if len(counts) <= DOTS else [lines]


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
    """A violin of scores per guidance level; a line at the threshold where there is one.

    rows: a spectrum table. Drawn from QUANTILES quantiles of each level, whatever its size.
    """
    import numpy as np

    data: list[dict[str, Any]] = []
    shares = []
    for level in sorted(rows["guidance"].unique().to_list()):
        values = rows.filter(rows["guidance"] == level)[column].drop_nulls().to_numpy()
        at = (np.arange(QUANTILES) + 0.5) / QUANTILES
        drawn = values if len(values) <= QUANTILES else np.quantile(values, at)
        data.append(
            {
                "type": "violin",
                "name": text(level_name(level)),
                "y": [round(float(v), 4) for v in drawn],
                "points": False,
                "box": {"visible": True, "width": 0.2},
                "spanmode": "hard",
                "line": {"color": level_colour(level), "width": 1.5},
                "hoveron": "violins",
                "hoverinfo": "y+name",
            }
        )
        if threshold is not None:
            share = float((values >= threshold).mean()) if len(values) else 0.0
            shares.append(f"{level_name(level)}: {100 * share:.0f} %")
    layout: dict[str, Any] = {"xaxis": axis("guidance", type="category"), "yaxis": axis(unit)}
    layout["showlegend"] = False
    caption = f"{len(rows):,} images."
    if threshold is not None:
        layout["shapes"] = [_level_line(threshold)]
        caption += f" Line: threshold {threshold:g}, which keeps, by guidance, {', '.join(shares)}."
    return Figure(name, title, caption, data, layout, 360)


def _level_line(y: float) -> dict[str, Any]:
    ends: dict[str, Any] = {"xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
    return {"type": "line", **ends, "line": {"width": 1.5, "dash": "dash", "color": "#e45756"}}
