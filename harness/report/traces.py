"""Which guidance levels a run used in which epoch: from its record, or its folder where that is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from harness.core import documents
from harness.core.errors import LIBRARY_ERRORS, DataError, brief
from harness.core.guidance import hundredths
from harness.report.figures import Figure, Value, level_colour, level_name
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
    cut = f" The first {MOST} of {len(strips)} are shown." if len(strips) > MOST else ""
    caption = (
        "Guidance of the synthetic images in each epoch; an epoch with several levels is divided, "
        f"one with real images only is left blank.{cut}"
    )
    rows, places, levels = _bars([(label, _seeds(seeds), s) for (label, s), seeds in shown])
    drawn = {
        "rows": [f"{label}, {_seeds(seeds)}" for (label, _), seeds in shown],
        "places": places,
        "levels": [{"name": level_name(n), "colour": level_colour(n)} for n in levels],
    }
    head = ("Method", "Seeds", "First epoch", "Last epoch", "Guidance")
    return Figure(name, "Which level was used when", "strips", head, rows, caption, drawn), ""


def _seeds(seeds: Sequence[int]) -> str:
    numbers = ", ".join(str(seed) for seed in sorted(seeds))
    return f"seed{'s' if len(seeds) > 1 else ''} {numbers}"


def _bars(
    strips: Sequence[tuple[str, str, Trace]],
) -> tuple[list[tuple[Value, ...]], list[tuple[float, ...]], list[int]]:
    """Rows of the table; of each the strip, the part of its height and how many share it; levels.

    A place is (strip, part from 0, parts).
    """
    rows: list[tuple[Value, ...]] = []
    places: list[tuple[float, ...]] = []
    used: set[int] = set()
    for k, (label, seeds, strip) in enumerate(strips):
        begun = 0
        for levels, epochs in strip:
            for i, level in enumerate(levels):
                span = (begun + 1, begun + epochs)
                rows.append((label, seeds.partition(" ")[2], *span, level_name(level)))
                places.append((k, i, len(levels)))
                used.add(level)
            begun += epochs
    return rows, places, sorted(used)
