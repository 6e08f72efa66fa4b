"""What the numbers of a plan rest on, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from harness.pipeline.workspace import Workspace
from harness.planning import memory
from harness.planning.costs import Plan
from harness.planning.dataset_sizes import published_share
from harness.planning.flops import (
    CARD,
    PRECISIONS,
    RATES,
    SHARES,
    SPOKEN,
    is_known,
    shape_of,
)


def assumptions(
    plan: Plan, workspace: Workspace, tflops: float | None, share: float | None
) -> Iterator[str]:
    """What the numbers of a plan rest on, a sentence or two each.

    tflops, share: what the caller of `plan` set; None where it took the defaults.
    """
    source = {sizes.source for sizes in plan.facts}
    if source == {"FACTS"}:
        yield "The data set's sizes are those that its module knows: nothing of it was read."
    else:
        yield f"The data set's sizes are those listed in {', '.join(sorted(source))}."
    shapes = [shape_of(workspace.recipe, len(sizes.counts)) for sizes in plan.facts]
    uncounted = [shape.name for shape in shapes if not is_known(shape)]
    if uncounted:
        network = uncounted[0]
        yield f"No counts of {network} ship with the package: PyTorch counted this network now."
    if not all(sizes.splits for sizes in plan.facts):
        yield "The sizes of its test splits are not known: tests are not counted."
    yield from _about_rates(plan, workspace, tflops)
    yield "FLOPs are counted, two per multiply-add, and not measured."
    if plan.pool and plan.generation_pflop is None:
        yield f"Those of the generator {workspace.recipe.generator} are not known."
    elif plan.pool:
        yield (
            "A synthetic image is encoded, denoised by two passes per step (with and without the "
            "text), decoded and scored, on its own: nothing is shared between images."
        )
    if plan.pool and workspace.recipe.mixture is None:
        whose = "published" if share is None else "given"
        shares = {
            published_share(workspace, sizes.imbalance) if share is None else share
            for sizes in plan.facts
        }
        percent = ", ".join(f"{100 * part:.1f} %" for part in sorted(shares))
        yield (
            f"Of the synthetic images of each level, {percent} pass the threshold ({whose}), "
            "whatever a row's own threshold."
        )
    yield from _about_runs(plan, workspace)


def _about_rates(plan: Plan, workspace: Workspace, tflops: float | None) -> Iterator[str]:
    if tflops is not None:
        yield f"Hours are at the {tflops:g} TFLOP/s given, in generation and training alike."
        return
    kinds: dict[str, str] = {"training": workspace.recipe.precision}
    if plan.generation_pflop:
        kinds = {"generation": PRECISIONS[workspace.dtype], **kinds}
    by_kind = {kind: " and ".join(k for k in kinds if kinds[k] == kind) for kind in kinds.values()}
    rates = "; ".join(
        f"{what} in {SPOKEN[kind]} at {RATES[kind]:g} TFLOP/s, {SHARES[kind]} that NVIDIA gives "
        f"for an {CARD}"
        for kind, what in by_kind.items()
    )
    yield f"GPU-hours are at assumed rates, not measured here: {rates}. --tflops sets another."


def _about_stages(plan: Plan, workspace: Workspace) -> Iterator[str]:
    assert plan.units is not None
    assert plan.machines is not None
    cards = plan.machines.gpus > 0
    what = "reading, decoding and views of pictures" if cards else "all work"
    yield f"Core-hours are of {what}: seconds per picture {plan.units.source}."
    if not cards:
        yield (
            "On the machine where they were measured, the stages that were compared took within "
            "25 % of them (docs/paper-scale.md); other processors take other times."
        )
        return
    if all(stage.cpu_h is None for stage in plan.stages if stage.name == "train"):
        yield "Nobody measured this recipe's views: --measure does."
    yield (
        "Wall time is an estimate: work spread evenly over all cards and cores, pictures prepared "
        "while the cards compute, no run faster than one card does it and those it needs."
    )
    yield (
        "GPU memory is counted: weights, gradients, optimiser and what is kept for the backward "
        f"pass, attention in tiles. Estimates: {memory.CONTEXT_GIB:g} GiB for CUDA, "
        f"{100 - 100 * memory.USABLE:.0f} % gaps, under mixed precision {memory.MIXED:g} of the "
        "activations in float32."
    )
    if workspace.profile == "paper":
        yield (
            "Reads are an estimate from the sizes of the official archives: each picture once "
            "where all fit half of the memory, else in every epoch."
        )


def _about_runs(plan: Plan, workspace: Workspace) -> Iterator[str]:
    passes = [(run.passes, len(run.seeds)) for run in plan.runs]
    yield (
        "Runs: passes with gradients, and tests after the epochs that the recipe looks at; counted "
        "image by image, as real runs make them."
    )
    yield from _about_stages(plan, workspace)
    adaptive = dict.fromkeys(run.method for run in plan.runs if run.passes.looked)
    if adaptive:
        yield (
            f"{', '.join(adaptive)}: passes that depend on the network's answers are those of one "
            "that is never right, a lower bound; an adaptive curriculum then stays at its lowest "
            "level."
        )
    if any(p.texts for p, _ in passes):
        yield "A caption is embedded for every image, at most: equal ones of a batch are shared."
    for method in dict.fromkeys(r.method for r in plan.runs if r.fitted_pflop is None):
        yield f"{method}: what it fits before its first epoch is not counted."
