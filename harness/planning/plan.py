"""What a comparison costs, told without data: images, runs, FLOPs, GPU-hours, disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, cast

from harness.core.errors import DataError, UsageError, brief
from harness.methods.compose import compose
from harness.methods.terms import Method
from harness.pipeline import stages
from harness.pipeline.jobs import check_text, levels_read
from harness.pipeline.workspace import Workspace
from harness.planning import doctor
from harness.planning.dataset_sizes import DatasetSizes, facts, hard_sources, kept_share
from harness.planning.dry_run import DryRun, Passes
from harness.planning.flops import (
    CARD,
    DECODE_MS,
    PRECISIONS,
    PREDICTION_B,
    RATES,
    REFINER,
    REFINER_PARAMETERS,
    ROW_KB,
    SHARES,
    SPOKEN,
    Network,
    Shape,
    image_tflop,
    is_known,
    network,
    picture_kb,
)
from harness.pool.cache import PIXELS_UP_TO_PX


@dataclass(frozen=True)
class Images:
    """Synthetic images of one kind at one guidance level (hundredths)."""

    kind: str
    guidance: int
    images: int
    steps: int  # of denoising
    tflop: float | None  # of one image
    pflop: float | None  # of all


@dataclass(frozen=True)
class Run:
    """A method at an imbalance ratio; it is run once per seed, and numbers are of one run."""

    imbalance: int | None
    method: str
    why: str  # "row", or what it is needed for
    seeds: tuple[int, ...]
    passes: Passes
    train_pflop: float
    forward_pflop: float  # passes without gradients
    fitted_pflop: float | None
    weights_gb: float

    @property
    def pflop(self) -> float:
        return self.train_pflop + self.forward_pflop + (self.fitted_pflop or 0.0)


@dataclass(frozen=True)
class Plan:
    dataset: str
    profile: str
    facts: tuple[DatasetSizes, ...]
    sources: int  # different hard images
    pool: tuple[Images, ...]
    runs: tuple[Run, ...]
    tflops: tuple[float, float]  # TFLOP/s that hours are told at: of generation, of training
    disk_gb: dict[str, float]  # in 10^9 bytes
    refused: dict[str, str]  # rows that will not run, and why
    missing: tuple[str, ...]  # here
    assumed: tuple[str, ...] = ()

    @property
    def generation_pflop(self) -> float | None:
        known = [level.pflop for level in self.pool if level.pflop is not None]
        return sum(known) if len(known) == len(self.pool) else None

    @property
    def training_pflop(self) -> float:
        return sum(run.pflop * len(run.seeds) for run in self.runs)

    def gpu_h(self, pflop: float | None, training: bool) -> float | None:
        return None if pflop is None else pflop * 1e3 / self.tflops[training] / 3600


def plan(
    workspace: Workspace,
    rows: Sequence[str],
    imbalances: Sequence[int | None] | None = None,
    seeds: Sequence[int] | None = None,
    tflops: float | None = None,
    kept: float | None = None,
) -> Plan:
    """What these rows (expressions) take, with the runs and synthetic images that they need.

    imbalances, seeds: None takes the recipe's. tflops: TFLOP/s of generation and training; None
    takes RATES. kept: share of the synthetic images above the threshold, in [0, 1]; None takes the
    published one. Nothing is read but the lists of `harness index` and `harness hard`, if they are
    there. UsageError for unknown rows and ratios and numbers out of range, DataError for sizes that
    nobody knows.
    """
    _check(rows, tflops, kept)
    recipe, methods = workspace.recipe, _methods(workspace, rows)
    asked = workspace.imbalances(cast("Sequence[int] | None", imbalances))
    known = {
        ratio: facts(workspace, ratio) for ratio in dict.fromkeys((*workspace.imbalances(), *asked))
    }
    sources = hard_sources(workspace, [known[ratio] for ratio in workspace.imbalances()])
    wanted = tuple(recipe.run_seeds if seeds is None else seeds)
    every = tuple(dict.fromkeys((*wanted, *recipe.run_seeds)))
    judge, runs, refused = _judge(workspace, methods), [], {}
    for ratio in asked:
        for name, (method, why) in methods.items():
            some = every if name == judge else wanted
            try:
                runs.append(_run(workspace, method, why, known[ratio], some, kept))
            except (UsageError, DataError) as error:  # what the run itself would say
                refused[name] = brief(error)
    kinds = sorted({method.reads for method, _ in methods.values() if method.reads is not None})
    levels = levels_read(workspace, [method for method, _ in methods.values()])
    pool = [level for kind in kinds for level in _pool(workspace, kind, levels, sources)]
    rates = (RATES[PRECISIONS[workspace.generator.dtype]], RATES[recipe.precision])
    told = Plan(
        dataset=workspace.module.NAME,
        profile=workspace.profile,
        facts=tuple(known[ratio] for ratio in asked),
        sources=sources,
        pool=tuple(pool),
        runs=tuple(runs),
        tflops=rates if tflops is None else (float(tflops), float(tflops)),
        disk_gb=_disk(workspace, pool, runs, known[asked[0]]),
        refused=refused,
        missing=doctor.missing(workspace),
    )
    return replace(told, assumed=tuple(_assumed(told, workspace, tflops, kept)))


def _check(rows: Sequence[str], tflops: float | None, kept: float | None) -> None:
    if not rows:
        raise UsageError("a plan needs rows: expressions such as CE or BS+CUDA")
    if tflops is not None and not 0 < tflops < math.inf:
        raise UsageError(f"{tflops:g} TFLOP/s is not allowed; a number above 0")
    if kept is not None and not 0 <= kept <= 1:
        raise UsageError(f"a share of {kept:g} of the images is not allowed; a number in [0, 1]")


def _methods(workspace: Workspace, rows: Sequence[str]) -> dict[str, tuple[Method, str]]:
    """The rows and the runs they need, by expression, needed ones first, each with why."""
    found: dict[str, tuple[Method, str]] = {}

    def add(text: str, why: str) -> None:
        method = compose(text, workspace.module.NAME, workspace.profile)
        check_text(method, workspace)
        start = method.start if workspace.recipe.onward is not None else None
        for role, other in (
            ("start", start),
            ("consulted", method.reference),
            ("merged", method.merges),
        ):
            if other is not None:
                add(other, role)
        if why == "row" or method.expression not in found:
            found[method.expression] = (method, why)

    for text in rows:
        add(text, "row")
    judge = _judge(workspace, found)
    if judge is not None:
        add(judge, "hard images")
    return found


def _judge(workspace: Workspace, methods: dict[str, tuple[Method, str]]) -> str | None:
    """The run at every seed that says which images are hard, where rows read synthetic ones."""
    by = getattr(workspace.module, "HARD_BY", None)
    if by is None or not any(method.reads for method, _ in methods.values()):
        return None
    return compose(by, workspace.module.NAME, workspace.profile).expression


def _run(
    workspace: Workspace,
    method: Method,
    why: str,
    sizes: DatasetSizes,
    seeds: tuple[int, ...],
    kept: float | None,
) -> Run:
    grid = None
    if method.reads is not None:
        grid = stages.grid(workspace, stages.PoolPart(method.reads, method.levels))
    share = kept_share(workspace, sizes.imbalance) if kept is None else kept
    cost = _network(workspace, sizes)
    passes = DryRun(method, workspace.recipe, sizes, cost.features, grid, share).passes()
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
    )


def _network(workspace: Workspace, sizes: DatasetSizes) -> Network:
    return network(*astuple(_shape(workspace, sizes)))


def _shape(workspace: Workspace, sizes: DatasetSizes) -> Shape:
    r = workspace.recipe
    return Shape(r.backbone, r.width, len(sizes.counts), r.view_px, r.pretrained)


def _pool(workspace: Workspace, kind: str, levels: Sequence[int], sources: int) -> list[Images]:
    from harness.generation.schedule import denoising_steps

    recipe, found = workspace.recipe, []
    part = stages.PoolPart(kind, tuple(levels))
    cells = stages.grid(workspace, part)["guidance"].to_list()
    for guidance, per_source in sorted(Counter(cells).items()):
        steps, n = denoising_steps(guidance, recipe.steps), sources * per_source
        tflop = image_tflop(recipe.generator, recipe.size_px, steps, recipe.height_px)
        pflop = None if tflop is None else n * tflop / 1e3
        found.append(Images(kind, guidance, n, steps, tflop, pflop))
    return found


def _disk(
    workspace: Workspace, pool: Sequence[Images], runs: Sequence[Run], sizes: DatasetSizes
) -> dict[str, float]:
    """What the stages leave behind and what they fetch, in GB."""
    recipe, images = workspace.recipe, sum(level.images for level in pool)
    stored = picture_kb(workspace.generator.codec, recipe.size_px, recipe.height_px) + ROW_KB
    found = {"synthetic images": images * stored / 1e6}
    if recipe.view_px <= PIXELS_UP_TO_PX:
        found["their pixels, unpacked"] = images * 3 * recipe.view_px**2 / 1e9
    found["weights of the runs"] = sum(len(run.seeds) * run.weights_gb for run in runs)
    files = sum(len(run.seeds) for run in runs) * (2 + sizes.validated)
    found["predictions"] = files * sum(sizes.splits.values()) * PREDICTION_B / 1e9
    if pool and recipe.generator == REFINER:
        found["generator, from the hub"] = 4 * REFINER_PARAMETERS / 1e9
    if recipe.pretrained is not None:
        found["model the runs start from"] = 4 * _network(workspace, sizes).parameters / 1e9
    return found


def _assumed(
    told: Plan, workspace: Workspace, tflops: float | None, kept: float | None
) -> Iterator[str]:
    source = {sizes.source for sizes in told.facts}
    if source == {"FACTS"}:
        yield "The data set's sizes are those that its module knows: nothing of it was read."
    else:
        yield f"The data set's sizes are those listed in {', '.join(sorted(source))}."
    unknown = [s.name for s in (_shape(workspace, f) for f in told.facts) if not is_known(s)]
    if unknown:
        yield f"No counts of {unknown[0]} ship with the package: PyTorch counted this network now."
    if not all(sizes.splits for sizes in told.facts):
        yield "The sizes of its test splits are not known: tests are not counted."
    yield from _rates(told, workspace, tflops)
    yield "FLOPs are counted, two per multiply-add, and not measured."
    if told.pool and told.generation_pflop is None:
        yield f"Those of the generator {workspace.recipe.generator} are not known."
    elif told.pool:
        yield (
            "A synthetic image is encoded, denoised by two passes per step (with and without the "
            "text), decoded and scored, on its own: nothing is shared between images."
        )
    if told.pool and workspace.recipe.mixture is None:
        whose = "published" if kept is None else "given"
        shares = {kept_share(workspace, f.imbalance) if kept is None else kept for f in told.facts}
        said = ", ".join(f"{100 * share:.1f} %" for share in sorted(shares))
        yield (
            f"Of the synthetic images of each level, {said} pass the threshold ({whose}), whatever "
            "a row's own threshold."
        )
    yield from _about_runs(told, workspace)


def _rates(told: Plan, workspace: Workspace, tflops: float | None) -> Iterator[str]:
    if tflops is not None:
        yield f"Hours are at the {tflops:g} TFLOP/s given, in generation and training alike."
        return
    kinds: dict[str, str] = {"training": workspace.recipe.precision}
    if told.generation_pflop:
        kinds = {"generation": PRECISIONS[workspace.generator.dtype], **kinds}
    by_kind = {kind: " and ".join(k for k in kinds if kinds[k] == kind) for kind in kinds.values()}
    said = "; ".join(
        f"{what} in {SPOKEN[kind]} at {RATES[kind]:g} TFLOP/s, {SHARES[kind]} that NVIDIA gives "
        f"for an {CARD}"
        for kind, what in by_kind.items()
    )
    yield f"GPU-hours are at assumed rates, not measured here: {said}. --tflops sets another."


def _about_runs(told: Plan, workspace: Workspace) -> Iterator[str]:
    passes = [(run.passes, len(run.seeds)) for run in told.runs]
    yield (
        "Runs: passes with gradients, and tests after every epoch and at the end; not augmentation."
    )
    if workspace.recipe.view_px > PIXELS_UP_TO_PX:
        read = sum((p.trained + p.forward) * n for p, n in passes)
        hours = read * DECODE_MS / 3.6e6
        yield (
            f"Reading the runs' {number(read)} pictures takes some {number(hours)} core-hours "
            f"beside, {DECODE_MS} ms each (a JPEG of 512 px)."
        )
    looking = [run.method for run in told.runs if run.passes.looked]
    if looking:
        yield (
            f"{', '.join(dict.fromkeys(looking))}: passes that depend on the network's answers are "
            "those of one that is never right, a lower bound; an adaptive curriculum then stays at "
            "its lowest level."
        )
    if any(p.texts for p, _ in passes):
        yield "A caption is embedded for every image, at most: equal ones of a batch are shared."
    for method in dict.fromkeys(r.method for r in told.runs if r.fitted_pflop is None):
        yield f"{method}: what it fits before its first epoch is not counted."


def as_json(told: Plan) -> dict[str, Any]:
    """The plan as JSON can say it, with sums and GPU-hours."""
    content = asdict(told)
    for entry, sizes in zip(content["facts"], told.facts, strict=True):
        del entry["counts"]
        entry |= {"classes": len(sizes.counts), "train": sizes.train}
    for entry, run in zip(content["runs"], told.runs, strict=True):
        entry |= {"pflop": run.pflop, "gpu_h": told.gpu_h(run.pflop, True)}
    for entry in content["pool"]:
        entry["gpu_h"] = told.gpu_h(entry["pflop"], False)
    made, trained = told.generation_pflop, told.training_pflop
    content["total"] = {
        "images": sum(level.images for level in told.pool),
        "runs": sum(len(run.seeds) for run in told.runs),
        "generation_pflop": made,
        "generation_gpu_h": told.gpu_h(made, False),
        "training_pflop": trained,
        "training_gpu_h": told.gpu_h(trained, True),
    }
    return content


def number(value: float | None) -> str:
    """Three figures, thousands apart; "-" for what is not known."""
    if value is None:
        return "-"
    if 0 < value < 0.001:
        return "<0.001"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
