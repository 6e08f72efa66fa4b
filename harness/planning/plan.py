"""What a comparison costs, computed without data: images, runs, FLOPs, GPU-hours, disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import SMALL_UP_TO_PX
from harness.generation.schedule import denoising_steps
from harness.methods.terms import Method
from harness.models.identity import named
from harness.pipeline import stages
from harness.pipeline.jobs import (
    MethodRun,
    check_text,
    kinds_read,
    levels_read,
    method_runs,
    needs_hard,
)
from harness.pipeline.untrained import is_untrained
from harness.pipeline.workspace import Workspace
from harness.planning import doctor, memory
from harness.planning.assumptions import assumptions
from harness.planning.costs import Images, Plan, Run
from harness.planning.dataset_sizes import DatasetSizes, facts, hard_sources, published_share
from harness.planning.dry_run import DryRun
from harness.planning.flops import (
    PRECISIONS,
    PREDICTION_B,
    RATES,
    REFINER,
    REFINER_PARAMETERS,
    ROW_KB,
    Network,
    image_tflop,
    network,
    picture_kb,
    shape_of,
)
from harness.planning.hardware import Hardware, hardware
from harness.planning.memory import TrainingMemory
from harness.planning.stage_costs import stage_costs
from harness.planning.unit_costs import UnitCosts, shipped

ROLES = {"start": "start", "reference": "consulted", "merges": "merged"}  # as a plan names them


def plan(
    workspace: Workspace,
    rows: Sequence[str],
    imbalances: Sequence[int | None] | None = None,
    seeds: Sequence[int] | None = None,
    tflops: float | None = None,
    share: float | None = None,
    machines: Hardware | None = None,
    units: UnitCosts | None = None,
) -> Plan:
    """What these rows (expressions) take, with the runs and synthetic images that they need.

    imbalances, seeds: None takes the recipe's. tflops: TFLOP/s of generation and training; None
    takes RATES. share: share of the synthetic images above the threshold, in [0, 1]; None takes the
    published one. machines: that its stages are to run on; None takes `hardware`'s. units: costs
    of CPU work; None takes those shipped. Nothing is read but the lists of `harness index` and
    `harness hard`, if they are there. UsageError for unknown rows and ratios and numbers out of
    range, DataError for sizes that nobody knows.
    """
    _check(rows, tflops, share)
    recipe, methods = workspace.recipe, _methods(workspace, rows)
    ratios = workspace.imbalances(cast("Sequence[int] | None", imbalances))
    sizes = {
        ratio: facts(workspace, ratio)
        for ratio in dict.fromkeys((*workspace.imbalances(), *ratios))
    }
    sources = hard_sources(workspace, [sizes[ratio] for ratio in workspace.imbalances()])
    run_seeds = tuple(recipe.run_seeds if seeds is None else seeds)
    refused: dict[str, str] = {}
    runs = [
        run
        for ratio in ratios
        for run in _runs(workspace, methods, sizes[ratio], run_seeds, share, refused)
    ]
    terms = [run.method for run in methods.values()]
    kinds = kinds_read(terms)
    levels = levels_read(workspace, terms)
    pool = [level for kind in kinds for level in _pool(workspace, kind, levels, sources)]
    rates = (RATES[PRECISIONS[workspace.dtype]], RATES[recipe.precision])
    draft = Plan(
        dataset=workspace.module.NAME,
        profile=workspace.profile,
        facts=tuple(sizes[ratio] for ratio in ratios),
        sources=sources,
        pool=tuple(pool),
        runs=tuple(runs),
        tflops=rates if tflops is None else (float(tflops), float(tflops)),
        disk_gb=_disk(workspace, pool, runs, sizes[ratios[0]]),
        refused=refused,
        missing=doctor.missing(workspace),
        generator=named(recipe.generator).model,
        machines=hardware(workspace) if machines is None else machines,
        units=shipped(workspace) if units is None else units,
    )
    draft = replace(draft, stages=stage_costs(draft, workspace))
    return replace(draft, assumed=tuple(assumptions(draft, workspace, tflops, share)))


def _check(rows: Sequence[str], tflops: float | None, share: float | None) -> None:
    if not rows:
        raise UsageError("a plan needs rows: expressions such as CE or BS+CUDA")
    if tflops is not None and not 0 < tflops < math.inf:
        raise UsageError(f"{tflops:g} TFLOP/s is not allowed; a number above 0")
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"a share of {share:g} of the images is not allowed; a number in [0, 1]")


# ---------------------------------------------------------------- runs


def _methods(workspace: Workspace, rows: Sequence[str]) -> dict[str, MethodRun]:
    """The rows and the runs they need, by expression, needed ones first."""
    runs = method_runs(workspace, rows)
    for run in runs.values():
        check_text(run.method, workspace)
    return runs


def _judges(workspace: Workspace, methods: dict[str, MethodRun]) -> dict[str, MethodRun]:
    """The run that says which images are hard, and those it needs, where one of `methods` asks."""
    by = workspace.of_own_backbone.hard_by
    if by is None or not any(needs_hard(run.method) for run in methods.values()):
        return {}
    runs = method_runs(workspace, [by])
    return {
        name: replace(run, role="hard images") if run.role == "row" else run
        for name, run in runs.items()
    }


def _runs(
    workspace: Workspace,
    methods: dict[str, MethodRun],
    sizes: DatasetSizes,
    seeds: tuple[int, ...],
    share: float | None,
    refused: dict[str, str],
) -> Iterator[Run]:
    """The methods at an imbalance ratio; why one will not run goes to `refused`."""
    own, judges = workspace.of_own_backbone, _judges(workspace, methods)
    same = own.recipe.backbone == workspace.recipe.backbone
    of_judges = tuple(own.recipe.run_seeds)
    every = tuple(dict.fromkeys((*seeds, *of_judges)))
    work = [
        (workspace, node, every if same and name in judges else seeds)
        for name, node in methods.items()
    ]
    work += [
        (own, node, of_judges) for name, node in judges.items() if not (same and name in methods)
    ]
    for place, node, some in work:
        why = ROLES.get(node.role, node.role)
        try:
            run = _run(place, node, why, sizes, some, share)
        except (UsageError, DataError) as error:  # what the run itself would say
            refused[node.method.expression] = brief(error)
        else:
            yield run


def _run(
    workspace: Workspace,
    node: MethodRun,
    why: str,
    sizes: DatasetSizes,
    seeds: tuple[int, ...],
    share: float | None,
) -> Run:
    method, recipe, grid = node.method, workspace.recipe, None
    if method.reads is not None:
        grid = stages.grid(workspace, stages.PoolPart(method.reads, method.levels))
    passing = published_share(workspace, sizes.imbalance) if share is None else share
    cost = network(shape_of(recipe, len(sizes.counts)))
    passes = DryRun(method, recipe, sizes, cost.features, grid, passing).passes()
    trains = method.merges is None and passes.trained > 0
    return Run(
        imbalance=sizes.imbalance,
        method=method.expression,
        why=why,
        seeds=seeds,
        passes=passes,
        train_pflop=(passes.trained * cost.train + passes.texts * cost.text) / 1e6,
        forward_pflop=passes.forward * cost.forward / 1e6,
        fitted_pflop=None if passes.fitted_tflop is None else passes.fitted_tflop / 1e3,
        weights_gb=0.0 if method.merges else 4 * cost.parameters / 1e9,
        objective=type(method.objective).__name__,
        reads=method.reads,
        needs=tuple(node.needs.values()),
        computed=1 if is_untrained(method, recipe) else len(seeds),
        memory=_memory(workspace, method, cost, sizes) if trains else None,
    )


def _memory(
    workspace: Workspace, method: Method, cost: Network, sizes: DatasetSizes
) -> TrainingMemory:
    recipe = workspace.recipe
    onward = recipe.onward if method.start is not None else None
    captions = len(workspace.module.captions("thing")) * len(sizes.counts)
    return memory.training(method, recipe, cost, (onward or recipe.scratch).batch, captions)


# ---------------------------------------------------------------- synthetic images and disk


def _pool(workspace: Workspace, kind: str, levels: Sequence[int], sources: int) -> Iterator[Images]:
    recipe = workspace.recipe
    part, model = stages.PoolPart(kind, tuple(levels)), named(recipe.generator).model
    cells = stages.grid(workspace, part)["guidance"].to_list()
    for guidance, per_source in sorted(Counter(cells).items()):
        steps, n = denoising_steps(guidance, recipe.steps), sources * per_source
        tflop = image_tflop(model, recipe.size_px, steps, recipe.height_px)
        pflop = None if tflop is None else n * tflop / 1e3
        yield Images(kind, guidance, n, steps, tflop, pflop)


def _disk(
    workspace: Workspace, pool: Sequence[Images], runs: Sequence[Run], sizes: DatasetSizes
) -> dict[str, float]:
    """What the stages leave behind and what they fetch, in GB."""
    recipe, images = workspace.recipe, sum(level.images for level in pool)
    stored_kb = picture_kb(workspace.codec, recipe.size_px, recipe.height_px) + ROW_KB
    gb = {"synthetic images": images * stored_kb / 1e6}
    if recipe.view_px <= SMALL_UP_TO_PX:
        gb["their pixels, unpacked"] = images * 3 * recipe.view_px**2 / 1e9
    gb["weights of the runs"] = sum(len(run.seeds) * run.weights_gb for run in runs)
    files = sum(len(run.seeds) for run in runs) * (2 + sizes.validated)
    gb["predictions"] = files * sum(sizes.splits.values()) * PREDICTION_B / 1e9
    generator = named(recipe.generator)
    if pool and generator.model == REFINER:
        half = generator.variant == "fp16"
        gb["generator, from the hub"] = (2 if half else 4) * REFINER_PARAMETERS / 1e9
    if recipe.pretrained is not None:
        start = network(shape_of(recipe, len(sizes.counts)))
        gb["model the runs start from"] = 4 * start.parameters / 1e9
    return gb
