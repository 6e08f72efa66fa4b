"""A plan as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.core.guidance import fraction
from harness.planning.costs import Plan, Run, number
from harness.planning.dataset_sizes import DatasetSizes

WIDTH = 100  # in characters


def render(plan: Plan) -> str:
    """For the terminal: tables, then what they rest on."""
    pieces = [f"Plan of {plan.dataset}, profile {plan.profile}"]
    pieces[0] += "".join(f"\n{_about(sizes)}" for sizes in plan.facts)
    if plan.pool:
        pieces.append(f"Synthetic images of {plan.sources:,} hard images\n\n{_images(plan)}")
    for sizes in plan.facts:
        at = "" if sizes.imbalance is None else f" at imbalance ratio {sizes.imbalance}"
        runs = [run for run in plan.runs if run.imbalance == sizes.imbalance]
        pieces.append(f"Runs{at}\n\n{_runs(plan, runs)}")
    if plan.refused:
        why = (f"{method}: {reason}" for method, reason in plan.refused.items())
        pieces.append("\n".join(["Rows that will not run:", *_bullets(why)]))
    pieces.append(_sums(plan))
    pieces.append("\n".join(["Missing here:", *_bullets(plan.missing or ("nothing",))]))
    pieces.append("\n".join(["Assumptions:", *_bullets(plan.assumed)]))
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


def _images(plan: Plan) -> str:
    head = ["kind", "guidance", "images", "steps", "TFLOP each", "PFLOP", "GPU-h"]
    body = []
    for level in plan.pool:
        hours = plan.gpu_h(level.pflop, False)
        each = "-" if level.tflop is None else f"{level.tflop:.1f}"
        cells = (f"{level.images:,}", level.steps, each, number(level.pflop), number(hours))
        body.append([level.kind, f"{fraction(level.guidance):.2f}", *cells])
    total, images = plan.generation_pflop, sum(level.images for level in plan.pool)
    sums = ["all", "", f"{images:,}", "", "", number(total), number(plan.gpu_h(total, False))]
    return _grid(head, [*body, sums])


def _runs(plan: Plan, runs: Sequence[Run]) -> str:
    head = ["method", "for", "runs", "epochs", "images/epoch", "batches"]
    head += ["PFLOP/run", "GPU-h/run", "GPU-h"]
    body = []
    for run in runs:
        (low, high), batches = run.passes.images, f"{run.passes.batches:,}"
        images = f"{low:,}" if low == high else f"{low:,}-{high:,}"
        shown = (images, batches) if high else ("-", "-")
        each = plan.gpu_h(run.pflop, True) or 0.0
        more = "+" if run.fitted_pflop is None else ""  # at least so much
        cost = [number(value) + more for value in (run.pflop, each, each * len(run.seeds))]
        body.append([run.method, run.why, len(run.seeds), run.passes.epochs, *shown, *cost])
    return _grid(head, body, left=2)


def _sums(plan: Plan) -> str:
    generation, training = plan.generation_pflop, plan.training_pflop
    runs = sum(len(run.seeds) for run in plan.runs)
    body = [["training", f"{runs:,} runs", number(training), number(plan.gpu_h(training, True))]]
    if plan.pool:
        images = f"{sum(level.images for level in plan.pool):,} images"
        body.insert(
            0, ["generation", images, number(generation), number(plan.gpu_h(generation, False))]
        )
    sums = _grid(["in all", "", "PFLOP", "GPU-h"], body)
    disk = [[what, f"{number(gb)}"] for what, gb in plan.disk_gb.items()]
    total = number(sum(plan.disk_gb.values()))
    return f"{sums}\n\n{_grid(['disk', 'GB'], [*disk, ['all', total]])}"


def _grid(head: list[str], body: Sequence[Sequence[Any]], left: int = 1) -> str:
    from tabulate import tabulate

    align = ["left"] * left + ["right"] * (len(head) - left)
    return tabulate(body, head, "simple", disable_numparse=True, colalign=align)


def _bullets(texts: Iterable[str]) -> Iterator[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    for text in texts:
        yield textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", **options)
