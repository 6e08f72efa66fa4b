"""Rows against the first one, as `harness compare --rows` prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import DataError
from harness.results.comparison import DRAWS, Difference, Record, corrected, difference
from harness.results.statistics import Interval


@dataclass(frozen=True)
class Compared:
    """One line: another row minus the first one, in one column at one imbalance ratio."""

    imbalance: int | None
    row: str
    over: str  # the first row
    column: str
    difference: Difference | None


def versus(
    records: Sequence[Record],
    rows: Sequence[str],
    columns: Mapping[str, str],
    imbalances: Sequence[int | None],
    select: str = "last",
) -> list[Compared]:
    """Each other row against the first one, p corrected for all of these comparisons together.

    records: of one backbone; columns: names and paths. DataError for rows without common seeds.
    """
    cells = [(i, row, c) for i in imbalances for row in rows[1:] for c in columns]
    differences = []
    for imbalance, row, column in cells:
        a, b = (_of(records, method, imbalance) for method in (row, rows[0]))
        differences.append(difference(a, b, columns[column], select, records))
    pairs = zip(cells, corrected(differences), strict=True)
    return [Compared(i, row, rows[0], column, d) for (i, row, column), d in pairs]


def _of(records: Sequence[Record], method: str, imbalance: int | None) -> list[Record]:
    runs = [r for r in records if (r["method"], r["imbalance"]) == (method, imbalance)]
    if not runs:
        ratio = "" if imbalance is None else f" at imbalance {imbalance}"
        raise DataError(f"no records of {method}{ratio}; nothing to compare")
    return runs


def render(compared: Sequence[Compared]) -> str:
    """As text: a line per comparison, in points, and what the numbers mean."""
    from tabulate import tabulate

    vs = f"vs. {compared[0].over}"
    lines = [_line(c) for c in compared]
    shown = [name for name in lines[0] if name not in _left_out(compared)]
    head = [vs if name == "vs." else name for name in shown]
    body = [[line[name] for name in shown] for line in lines]
    aligned = ["left" if name in ("IR", "Row", "Column") else "right" for name in head]
    grid = tabulate(body, head, "simple", disable_numparse=True, colalign=aligned)
    tests = sum(c.difference is not None and c.difference.p is not None for c in compared)
    alone = any(c.difference is not None and len(c.difference.seeds) == 1 for c in compared)
    explanation = (
        f"{vs}: each row minus {compared[0].over}, in points (above 0: better than it), mean over "
        "the seeds that both have, paired. n: test images. The interval holds the luck of "
        f"seeds (pooled over the rows) and of test images (bootstrap within classes, {DRAWS:,} "
        "resamples). "
        f"Corrected: for {tests} comparisons, by Holm."
    )
    if _by_location(compared):
        explanation += (
            " Where the locations of the test images are known, interval and p resample these "
            "(Student's t with one degree of freedom fewer than locations); by image: the interval "
            "that resamples images, which says nothing of other locations."
        )
    if alone:
        explanation += " With one seed the interval holds the luck of the test images alone."
    return f"{grid}\n\n{textwrap.fill(explanation, 100)}"


def _by_location(compared: Sequence[Compared]) -> bool:
    return any(c.difference is not None and c.difference.locations for c in compared)


def _left_out(compared: Sequence[Compared]) -> set[str]:
    """Columns that say nothing of these comparisons."""
    empty = {"IR"} if all(c.imbalance is None for c in compared) else set()
    return empty if _by_location(compared) else empty | {"by image", "locations"}


def _line(c: Compared) -> dict[str, str]:
    """The cells of a line by column."""
    about = {"IR": "–" if c.imbalance is None else str(c.imbalance), "Row": c.row}
    about["Column"] = c.column
    names = ("vs.", "95 % interval", "by image", "p", "corrected p", "seeds", "n", "locations")
    d = c.difference
    if d is None:
        return about | dict.fromkeys(names, "–")
    ps = ("–" if p is None else "<0.0001" if p < 1e-4 else f"{p:.4f}" for p in (d.p, d.corrected))
    by_image = "–" if d.by_image is None else _interval(d.by_image)
    counts = (str(len(d.seeds)), f"{d.images:,}", str(d.locations or "–"))
    cells = (f"{100 * d.value:+.2f}", _interval(d), by_image, *ps, *counts)
    return about | dict(zip(names, cells, strict=True))


def _interval(d: Difference | Interval) -> str:
    varies = d.high > d.low  # one seed and few test pictures may leave nothing to judge by
    return f"{100 * d.low:+.2f} to {100 * d.high:+.2f}" if varies else "–"
