"""What the gate found, as text, Markdown (for a pull request) or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from harness.core.registry import one_of
from harness.results.gate import SLOWER, Change, Report, Speed, false_alarms
from harness.results.golden import Golden
from harness.results.markdown import escape

SIGNS = "*|<_"  # that Markdown would read
FORMATS = ("text", "markdown", "json")
HEAD = ("Row", "Column", "Golden", "Now", "Change", "Tolerance", "")


def render(report: Report, form: str = "text") -> str:
    """In one of FORMATS."""
    one_of("format", form, FORMATS)
    if form == "json":
        return json.dumps(_plain(report), indent=1, ensure_ascii=False, allow_nan=False)
    return _readable(report, form == "markdown")


def verdict(report: Report) -> str:
    """In one sentence."""
    compared = f"profile {report.profile}: {report.cells} cells compared"
    if not report.failures:
        return f"{compared}, none changed"
    fallen = sum(change.fell for change in report.changes)
    parts = (
        f"{fallen} fell" if fallen else "",
        f"{len(report.changes) - fallen} rose" if len(report.changes) > fallen else "",
        f"{len(report.behaviour)} rows behave otherwise" if report.behaviour else "",
        "records of other parameters" if report.outdated else "",
        f"{len(report.gone)} gone" if report.gone else "",
        f"{len(report.stale)} files stale" if report.stale else "",
        "the generator is slower" if report.speed.slower else "",
    )
    return f"{compared}; {', '.join(part for part in parts if part)}"


def _plain(report: Report) -> dict[str, object]:
    changes = [
        {**asdict(change), "change": change.now - change.before, "fell": change.fell}
        for change in report.changes
    ]
    return {
        "passed": not report.failures,
        "failures": report.failures,
        "verdict": verdict(report),
        **asdict(report),
        "changes": changes,
        "speed": {**asdict(report.speed), "slower": report.speed.slower},
    }


def _readable(report: Report, markdown: bool) -> str:
    mark = "## " if markdown else ""
    pieces = [f"{mark}{'FAILED' if report.failures else 'Passed'}: {verdict(report)}"]
    if report.changes:
        pieces.append(_grid(report.changes, markdown))
        pieces.append(
            "Means over golden's seeds, percent; sd: of one run about its mean. Unchanged code "
            "goes beyond a tolerance in fewer than one check of a hundred."
        )
    listed = [*_listed(report)]
    if listed:
        lines = (f"- {escape(line, SIGNS) if markdown else line}" for line in listed)
        pieces.append("\n".join(lines))
    return "\n\n".join(pieces)


def _grid(changes: tuple[Change, ...], markdown: bool) -> str:
    from tabulate import tabulate

    rows = [_line(change) for change in sorted(changes, key=lambda c: not c.fell)]
    if markdown:
        rows = [[escape(cell, SIGNS) for cell in row] for row in rows]
    aligned = ("left", "left", "right", "right", "right", "right", "left")
    style = "github" if markdown else "simple"
    return tabulate(rows, HEAD, style, disable_numparse=True, colalign=aligned)


def _line(c: Change) -> list[str]:
    moved = f"{100 * (c.now - c.before):+.2f}"
    numbers = [f"{100 * c.before:.2f} ± {100 * c.sd:.2f}", f"{100 * c.now:.2f}", moved]
    return [c.row, c.path, *numbers, f"{100 * c.tolerance:.2f}", "fell" if c.fell else "rose"]


def beside(report: Report) -> str:
    """One's own results beside the project's, which ran with the same parameters."""
    head = f"Beside the project's reference results: {report.cells} cells compared"
    if not report.changes and not report.behaviour:
        return f"{head}, all as near as repeated training comes.\n"
    lines = [f"- {line}" for line in _listed(report) if line.startswith("behaves")]
    grid = [_grid(report.changes, markdown=False)] if report.changes else []
    parts = [f"{head}; these differ by more than repeated training does.", *grid, "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def calibration(golden: Golden) -> tuple[str, ...]:
    """What calibration found, in sentences."""
    return tuple(false_alarms(golden))


def _listed(report: Report) -> Iterator[str]:
    for row in report.behaviour:
        yield from (f"behaves otherwise: {row.row}: {d.text()}" for d in row.deviations)
    yield from (f"other parameters: {text}" for text in report.outdated)
    yield from (f"gone: {text}" for text in report.gone)
    yield from (f"stale: {text}" for text in report.stale)
    yield _speed(report.speed)
    yield from (f"new: {text}; golden does not have it yet" for text in report.new)
    if report.detectable:
        by_all = report.detectable_by_all
        mean = "" if by_all is None else f", of the mean of a table's rows by {100 * by_all:.1f},"
        points = f"{100 * report.detectable:.1f} points"
        yield f"a drop of a cell by {points}{mean} is caught in 9 of 10 checks (medians)"
    yield from report.notes


def _speed(speed: Speed) -> str:
    if speed.now is None:
        return "speed: not measured in this run; --speed measures it"
    sentence = f"speed: {speed.now:.2f} times the stock pipeline ({speed.where})"
    if speed.before is None:
        return f"{sentence}; golden does not have it yet"
    worse = f", less than {SLOWER:.0%} of it: slower" if speed.slower else ""
    return f"{sentence}, golden {speed.before:.2f}{worse}"
