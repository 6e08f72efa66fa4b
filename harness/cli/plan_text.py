"""A plan as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.core.guidance import fraction
from harness.planning.costs import Plan, Run, number
from harness.planning.dataset_sizes import DatasetSizes

WIDTH = 100  # in characters


def render(told: Plan) -> str:
    """For the terminal: tables, then what they rest on."""
    pieces = [f"Plan of {told.dataset}, profile {told.profile}"]
    pieces[0] += "".join(f"\n{_about(sizes)}" for sizes in told.facts)
    if told.pool:
        pieces.append(f"Synthetic images of {told.sources:,} hard images\n\n{_images(told)}")
    for sizes in told.facts:
        at = "" if sizes.imbalance is None else f" at imbalance ratio {sizes.imbalance}"
        mine = [run for run in told.runs if run.imbalance == sizes.imbalance]
        pieces.append(f"Runs{at}\n\n{_runs(told, mine)}")
    if told.refused:
        why = (f"{method}: {said}" for method, said in told.refused.items())
        pieces.append("\n".join(["Rows that will not run:", *_bullets(why)]))
    pieces.append(_sums(told))
    pieces.append("\n".join(["Missing here:", *_bullets(told.missing or ("nothing",))]))
    pieces.append("\n".join(["Assumptions:", *_bullets(told.assumed)]))
    return "\n\n".join(pieces) + "\n"


def _about(sizes: DatasetSizes) -> str:
    at = "" if sizes.imbalance is None else f"Imbalance ratio {sizes.imbalance}: "
    hard = "" if sizes.hard_classes is None else f" (all of {sizes.hard_classes:,} classes)"
    tests = ", ".join(f"{n:,} ({name})" for name, n in sizes.splits.items()) or "unknown splits"
    return textwrap.fill(
        f"{at}{sizes.train:,} training images of {len(sizes.counts):,} classes, {sizes.hard:,} of "
        f"them hard{hard}; tested on {tests}",
        WIDTH,
    )


def _images(told: Plan) -> str:
    head = ["kind", "guidance", "images", "steps", "TFLOP each", "PFLOP", "GPU-h"]
    body = []
    for level in told.pool:
        hours = told.gpu_h(level.pflop, False)
        each = "-" if level.tflop is None else f"{level.tflop:.1f}"
        made = (f"{level.images:,}", level.steps, each, number(level.pflop), number(hours))
        body.append([level.kind, f"{fraction(level.guidance):.2f}", *made])
    total, images = told.generation_pflop, sum(level.images for level in told.pool)
    sums = ["all", "", f"{images:,}", "", "", number(total), number(told.gpu_h(total, False))]
    return _grid(head, [*body, sums])


def _runs(told: Plan, mine: Sequence[Run]) -> str:
    head = ["method", "for", "runs", "epochs", "images/epoch", "batches"]
    head += ["PFLOP/run", "GPU-h/run", "GPU-h"]
    body = []
    for run in mine:
        (low, high), batches = run.passes.images, f"{run.passes.batches:,}"
        images = f"{low:,}" if low == high else f"{low:,}-{high:,}"
        shown = (images, batches) if high else ("-", "-")
        each = told.gpu_h(run.pflop, True) or 0.0
        more = "+" if run.fitted_pflop is None else ""  # at least so much
        cost = [number(value) + more for value in (run.pflop, each, each * len(run.seeds))]
        body.append([run.method, run.why, len(run.seeds), run.passes.epochs, *shown, *cost])
    return _grid(head, body, left=2)


def _sums(told: Plan) -> str:
    made, trained = told.generation_pflop, told.training_pflop
    runs = sum(len(run.seeds) for run in told.runs)
    body = [["training", f"{runs:,} runs", number(trained), number(told.gpu_h(trained, True))]]
    if told.pool:
        images = f"{sum(level.images for level in told.pool):,} images"
        body.insert(0, ["generation", images, number(made), number(told.gpu_h(made, False))])
    sums = _grid(["in all", "", "PFLOP", "GPU-h"], body)
    disk = [[what, f"{number(gb)}"] for what, gb in told.disk_gb.items()]
    total = number(sum(told.disk_gb.values()))
    return f"{sums}\n\n{_grid(['disk', 'GB'], [*disk, ['all', total]])}"


def _grid(head: list[str], body: Sequence[Sequence[Any]], left: int = 1) -> str:
    from tabulate import tabulate

    align = ["left"] * left + ["right"] * (len(head) - left)
    return tabulate(body, head, "simple", disable_numparse=True, colalign=align)


def _bullets(texts: Iterable[str]) -> Iterator[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    for text in texts:
        yield textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", **options)
