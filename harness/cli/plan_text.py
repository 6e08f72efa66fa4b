"""A plan as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    pieces.append(_stages(plan))
    advice = [text for stage in plan.stages for text in stage.advice]
    if advice:
        pieces.append("\n".join(["Does not fit:", *_bullets(advice)]))
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
        cost = [number(value) + more for value in (run.pflop, each, each * run.computed)]
        seeds = len(run.seeds)
        count = f"{seeds}" if run.computed == seeds else f"{run.computed} for {seeds}"
        body.append([run.method, run.why, count, run.passes.epochs, *shown, *cost])
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


def _stages(plan: Plan) -> str:
    """What each stage takes on the machines planned for; in minutes where they have no GPU."""
    assert plan.machines is not None
    cards = plan.machines.gpus > 0
    factor, unit = (1, "h") if cards else (60, "min")

    def time(hours: float | None) -> str:
        return number(None if hours is None else hours * factor)

    head = ["stage", "GPU-h"] if cards else ["stage"]
    head += [f"core-{unit}", "read, GB", f"wall, {unit}", "limited by"]
    head += ["GPU, GiB"] if cards else []
    head += ["memory, GiB"]
    body = []
    for stage in plan.stages:
        row = [stage.name, *([number(stage.gpu_h)] if cards else [])]
        row += [time(stage.cpu_h), number(stage.read_gb), time(stage.wall_h), stage.limit]
        row += [number(stage.gpu_gib)] if cards else []
        body.append([*row, number(stage.host_gib)])
    body.append(_all_stages(plan, cards, time))
    about = textwrap.fill(f"Stages on {plan.machines}", WIDTH)
    return f"{about}\n\n{_grid(head, body)}"


def _all_stages(plan: Plan, cards: bool, time: Callable[[float | None], str]) -> list[str]:
    """Sums; a number that a stage lacks is none of all."""

    def total(values: Iterable[float | None]) -> float | None:
        known = list(values)
        return None if None in known else sum(value for value in known if value is not None)

    stages = plan.stages
    row = ["all", *([number(total(stage.gpu_h for stage in stages))] if cards else [])]
    row += [time(total(stage.cpu_h for stage in stages))]
    row += [number(sum(stage.read_gb for stage in stages))]
    row += [time(total(stage.wall_h for stage in stages)), ""]
    return [*row, *([""] if cards else []), ""]


def _grid(head: list[str], body: Sequence[Sequence[Any]], left: int = 1) -> str:
    from tabulate import tabulate

    align = ["left"] * left + ["right"] * (len(head) - left)
    return tabulate(body, head, "simple", disable_numparse=True, colalign=align)


def _bullets(texts: Iterable[str]) -> Iterator[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    for text in texts:
        yield textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", **options)
