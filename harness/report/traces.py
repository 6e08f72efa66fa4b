"""Which guidance levels a run used in which epoch: from its record, or its folder where that is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from harness.core import documents
from harness.core.errors import LIBRARY_ERRORS, DataError, brief
from harness.core.guidance import hundredths
from harness.report.figures import (
    Figure,
    axis,
    level_colour,
    level_name,
    rows_px,
    text,
    wrapped,
)
from harness.results.leaderboard import Record

Trace = tuple[tuple[tuple[int, ...], int], ...]  # levels in hundredths, epochs in a row
MOST = 30  # strips of one chart


def trace(record: Record, runs: Path) -> Trace | None:
    """Levels by epoch of a run, run-length; None where neither record nor folder tells.

    runs: the folder of the data set's runs. DataError for a history that cannot be read.
    """
    levels_by_epoch = record.get("levels")
    if levels_by_epoch is not None:
        return tuple((tuple(levels), int(n)) for levels, n in levels_by_epoch)
    path = runs / str(record["key"])[:16] / "epochs.jsonl"
    if not path.is_file():
        return None
    try:
        entries = documents.json_lines(path, "history of a run")
        chosen = [tuple(hundredths(level) for level in entry["levels"]) for entry in entries]
    except LIBRARY_ERRORS as error:
        raise DataError(f"{path}: not the history of a run ({brief(error)})") from error
    return tuple((levels, len(list(same))) for levels, same in itertools.groupby(chosen))


def curricula(
    name: str, labelled: Sequence[tuple[str, Record]], runs: Path
) -> tuple[Figure | None, str]:
    """Strips of epochs coloured by guidance, one for each method and what its seeds share.

    labelled: records with the name of their method. Without a figure, the text says why.
    """
    strips: dict[tuple[str, Trace], list[int]] = {}
    unknown = 0
    for label, record in labelled:
        strip = trace(record, runs)
        if strip is None:
            unknown += 1
        elif any(levels for levels, _ in strip):
            strips.setdefault((label, strip), []).append(int(record["seed"]))
    if not strips:
        why = "No run here follows a curriculum."
        if unknown:
            why = (
                f"{unknown} records do not say which levels were used, and the folders of their "
                f"runs are not in {runs}."
            )
        return None, why
    shown = list(strips.items())[:MOST]
    rows = [(f"{wrapped(label)}<br>{_seeds(seeds)}", strip) for (label, strip), seeds in shown]
    cut = f" The first {MOST} of {len(strips)} are shown." if len(strips) > MOST else ""
    caption = (
        "Guidance of the synthetic images in each epoch; an epoch with several levels is divided, "
        f"one with real images only is left blank.{cut}"
    )
    tall = rows_px((label for label, _ in rows), 110)
    title = "Which level was used when"
    return Figure(name, title, caption, _bars(rows), _layout(rows), tall), ""


def _seeds(seeds: Sequence[int]) -> str:
    numbers = ", ".join(str(seed) for seed in sorted(seeds))
    return f"seed{'s' if len(seeds) > 1 else ''} {numbers}"


def _bars(rows: Sequence[tuple[str, Trace]]) -> list[dict[str, object]]:
    """A trace of bars per level: begin, length, row and thickness of each."""
    bars: dict[int, list[tuple[int, int, float, float]]] = {}
    for row, (_, strip) in enumerate(rows):
        begun = 0
        for levels, epochs in strip:
            for i, level in enumerate(levels):
                thick = 0.72 / len(levels)
                middle = row - 0.36 + thick * (i + 0.5)
                bars.setdefault(level, []).append((begun, epochs, middle, thick))
            begun += epochs
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": text(level_name(level)),
            "base": [b[0] for b in bars[level]],
            "x": [b[1] for b in bars[level]],
            "y": [b[2] for b in bars[level]],
            "width": [b[3] for b in bars[level]],
            "marker": {"color": level_colour(level)},
            "hovertext": [
                f"guidance {level_name(level)}, epochs {b[0] + 1} to {b[0] + b[1]}"
                for b in bars[level]
            ],
            "hoverinfo": "text",
        }
        for level in sorted(bars)
    ]


def _layout(rows: Sequence[tuple[str, Trace]]) -> dict[str, object]:
    return {
        "barmode": "overlay",
        "xaxis": axis("epochs"),
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": [label for label, _ in rows],
            "range": [len(rows) - 0.5, -0.5],
            "automargin": True,
            "showgrid": False,
        },
    }
