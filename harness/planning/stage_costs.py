"""What each stage takes on given machines: GPU-hours, core-hours, wall time and what limits it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.core.specs import SMALL_UP_TO_PX
from harness.mini.weights import BUILT_IN
from harness.pipeline.workspace import Workspace
from harness.planning import memory
from harness.planning.costs import Plan, Run
from harness.planning.flops import REFINER, SCORE
from harness.planning.hardware import Hardware
from harness.planning.unit_costs import UnitCosts
from harness.pool import score_blocks

LIST_S = 20e-6  # to read a row of an official list; measured with 437,513 rows
PROCESS_GIB = 1.2  # of a process with PyTorch and its tables; measured on profiles mini and smoke
# kB of a file of the official pictures: the archives' sizes by their numbers of pictures.
FILE_KB = {"imagenet-lt": 115.0, "inaturalist2018": 260.0, "iwildcam": 59.0, "cifar100-lt": 3.1}
CHAIN = "GPU, one run after the other"


@dataclass(frozen=True)
class StageCost:
    """Hours of one GPU and of one core; GB read. None: nobody knows."""

    name: str
    gpu_h: float | None
    cpu_h: float | None
    read_gb: float
    wall_h: float | None
    limit: str  # what it waits for: "GPU", "CPU", "disk", CHAIN
    gpu_gib: float | None  # of one card; None: none is used
    host_gib: float  # of all processes together
    advice: tuple[str, ...] = ()  # where it does not fit


def stage_costs(plan: Plan, workspace: Workspace) -> tuple[StageCost, ...]:
    """index, hard, generate, score and train on the plan's machines, those that its rows need."""
    assert plan.machines is not None
    assert plan.units is not None
    costs = _Costs(plan, workspace, plan.machines, plan.units)
    stages = [costs.index(), costs.hard()]
    if plan.pool:
        stages += [costs.generate(), costs.score()]
    return (*stages, costs.train())


@dataclass(frozen=True)
class _Costs:
    plan: Plan
    workspace: Workspace
    machines: Hardware
    units: UnitCosts

    # ------------------------------------------------------------ the stages

    def index(self) -> StageCost:
        plan, units = self.plan, self.units
        known = getattr(self.workspace.module, "FACTS", {}).get(self.workspace.profile, {})
        written = self._paper or self.workspace.data.is_dir()
        drawn, files = (0 if written else known.get(kind, 0) for kind in ("drawn", "drawn_files"))
        rows = sum(sizes.train + sum(sizes.splits.values()) for sizes in plan.facts)
        drawn_s = drawn * units.draw_s + files * units.draw_file_s
        cpu_s = units.light_s + drawn_s + rows * LIST_S
        return self._stage("index", 0.0, cpu_s, 0.0)

    def hard(self) -> StageCost:
        judges = [run for run in self.plan.runs if run.why == "hard images"]
        cpu_s: float | None = self.units.light_s
        if not judges:
            return self._stage("hard", 0.0, cpu_s, self._sources_gb())
        stage = self._runs("hard", judges)
        return replace(stage, read_gb=stage.read_gb + self._sources_gb())

    def generate(self) -> StageCost:
        plan, units = self.plan, self.units
        images, sources = sum(level.images for level in plan.pool), plan.sources
        pflop = plan.generation_pflop
        gpu_h = plan.gpu_h(None if pflop is None else pflop - images * SCORE / 1e3, False)
        processes = self._processes()
        if self.machines.gpus:
            cpu_s = _times(images, units.store_s, sources, units.view_s)
        else:
            steps = sum(level.images * level.steps for level in plan.pool)
            one = _times(steps, units.step_s, images, units.image_s)
            cpu_s = _plus(one, _times(sources, units.source_s))
        cpu_s = _plus(cpu_s, processes * units.start_s)
        own, weights_gib = self._generation(), 0.0
        if own is not None:
            weights_gib = own.weights_gib * max(1, self.machines.gpus)
        stage = self._stage("generate", gpu_h, cpu_s, self._sources_gb(), processes)
        card = own.gib if own is not None and self.machines.gpus else None
        advice = own.advice(self.machines.gpu_gib) if own is not None and card else None
        return self._with_memory(stage, card, weights_gib, [advice])

    def score(self) -> StageCost:
        plan, units = self.plan, self.units
        seen = sum(level.images for level in plan.pool) + plan.sources
        each = units.score_view_s if self.machines.gpus else units.score_s
        gpu_h = plan.gpu_h(seen * SCORE / 1e3, False)
        if self.workspace.recipe.clip == BUILT_IN:
            gpu_h = None if self.machines.gpus else 0.0
        read_gb = plan.disk_gb["synthetic images"] + self._sources_gb()
        processes = min(self._processes(), max(1, math.ceil(plan.sources / score_blocks.SOURCES)))
        cpu_s = _plus(_times(seen, each), processes * units.start_s)
        stage = self._stage("score", gpu_h, cpu_s, read_gb, processes)
        return self._with_memory(stage, None, 0.0, [])

    def train(self) -> StageCost:
        return self._runs("train", [run for run in self.plan.runs if run.why != "hard images"])

    def _runs(self, name: str, runs: Sequence[Run]) -> StageCost:
        gpu_h = sum((self.plan.gpu_h(run.pflop, True) or 0.0) * run.computed for run in runs)
        processes = min(self._processes(), max(1, sum(run.computed for run in runs)))
        cpu_s: float | None = processes * self.units.start_s
        for run in runs:
            one = self._run_s(run)
            cpu_s = _plus(cpu_s, None if one is None else one * run.computed)
        stage = self._stage(name, gpu_h, cpu_s, self._read_gb(runs), processes)
        chain_h = self._chain_h(runs)
        if self.machines.gpus and stage.wall_h is not None and chain_h > stage.wall_h:
            stage = replace(stage, wall_h=chain_h, limit=CHAIN)
        needs = [run.memory for run in runs if run.memory is not None]
        card = max((need.gib for need in needs), default=0.0) if self.machines.gpus else None
        worst = max(needs, key=lambda need: need.gib, default=None)
        advice = worst.advice(self.machines.gpu_gib) if worst is not None and card else None
        return self._with_memory(stage, card, 0.0, [advice])

    # ------------------------------------------------------------ their parts

    def _run_s(self, run: Run) -> float | None:
        """CPU seconds of a run: networks' too where there is no GPU."""
        units, passes = self.units, run.passes
        if not self.machines.gpus:
            seconds = _times(
                passes.trained, units.trained_s(run.objective), passes.forward, units.forward_s
            )
            return _plus(seconds, units.run_s + self._fitted_s(run))
        if self.workspace.recipe.view_px <= SMALL_UP_TO_PX:  # raw pixels
            return _times(passes.trained, units.view_s, passes.forward, units.test_view_s)
        views = max((v for v in (units.view_s, units.pool_view_s) if v is not None), default=None)
        each = units.view_s if run.reads is None else views
        return _plus(_times(passes.trained, each, passes.forward, units.test_view_s), units.run_s)

    def _fitted_s(self, run: Run) -> float:
        """Of what a method fits before its first epoch, at the rate of the network's passes."""
        if not run.fitted_pflop or not run.forward_pflop or self.units.forward_s is None:
            return 0.0
        rate = run.forward_pflop / (run.passes.forward * self.units.forward_s)  # PFLOP/s
        return run.fitted_pflop / rate

    def _chain_h(self, runs: Sequence[Run]) -> float:
        """GPU-hours of the longest sequence of runs that need each other, at one seed."""
        by_method = {(run.imbalance, run.method): run for run in runs}

        def hours(run: Run) -> float:
            before = (by_method.get((run.imbalance, name)) for name in run.needs)
            first = max((hours(other) for other in before if other is not None), default=0.0)
            return first + (self.plan.gpu_h(run.pflop, True) or 0.0)

        return max(map(hours, runs), default=0.0)

    def _read_gb(self, runs: Iterable[Run]) -> float:
        """Once where the pictures fit the memory, else in every epoch."""
        kb = FILE_KB.get(self.workspace.module.NAME, 0.0) if self._paper else 0.0
        made_gb = self.plan.disk_gb["synthetic images"]
        whole = max(sizes.train + sum(sizes.splits.values()) for sizes in self.plan.facts)
        whole_gb = whole * kb / 1e6 + made_gb
        seen = sum((run.passes.trained + run.passes.forward) * run.computed for run in runs)
        if not self._paper or whole_gb <= self.machines.memory_gib * 0.5:
            return whole_gb
        return seen * kb / 1e6

    def _sources_gb(self) -> float:
        kb = FILE_KB.get(self.workspace.module.NAME, 0.0) if self._paper else 0.0
        return self.plan.sources * kb / 1e6

    @property
    def _paper(self) -> bool:
        return self.workspace.profile == "paper"

    def _processes(self) -> int:
        return self.machines.gpus or self.machines.cores

    def _generation(self) -> memory.GenerationMemory | None:
        recipe, spec_batch = self.workspace.recipe, self.workspace.recipe.generator_batch
        if self.plan.generator != REFINER:
            return None
        height = recipe.height_px or recipe.size_px
        return memory.generation(self.workspace.dtype, recipe.size_px, height, spec_batch)

    def _stage(
        self,
        name: str,
        gpu_h: float | None,
        cpu_s: float | None,
        read_gb: float,
        processes: int = 1,
    ) -> StageCost:
        """processes: that share its CPU work, where no GPU does the rest."""
        machines = self.machines
        gpu_h = gpu_h if machines.gpus else 0.0
        cpu_h = None if cpu_s is None else cpu_s / 3600
        cores = machines.cores if machines.gpus else processes
        hours = {
            "GPU": None if gpu_h is None else gpu_h / max(1, machines.gpus),
            "CPU": None if cpu_h is None else cpu_h / cores,
            "disk": read_gb * 1e3 / machines.read_mb_s / 3600,
        }
        known = {what: value for what, value in hours.items() if value is not None}
        limit = max(known, key=lambda what: known[what])
        wall = None if len(known) < len(hours) else known[limit]
        host_gib = processes * PROCESS_GIB
        return StageCost(name, gpu_h, cpu_h, read_gb, wall, limit, None, host_gib)

    def _with_memory(
        self, stage: StageCost, gpu_gib: float | None, host_gib: float, advice: list[str | None]
    ) -> StageCost:
        host = stage.host_gib + host_gib
        if host > self.machines.memory_gib:
            fits = max(1, int(self.machines.memory_gib / PROCESS_GIB))
            advice.append(
                f"{stage.name} takes {host:.1f} GiB and the machine has "
                f"{self.machines.memory_gib:.1f}: --workers {fits} fits"
            )
        sentences = tuple(text for text in advice if text is not None)
        return replace(stage, gpu_gib=gpu_gib, host_gib=host, advice=sentences)


def _times(
    n: float, each: float | None, others: float = 0, other: float | None = 0.0
) -> float | None:
    """n * each + others * other; None where a factor of something is not known."""
    if (n and each is None) or (others and other is None):
        return None
    return n * (each or 0.0) + others * (other or 0.0)


def _plus(one: float | None, more: float | None) -> float | None:
    return None if one is None or more is None else one + more
