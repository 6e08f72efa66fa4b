"""What a request would cost, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import DataError, UsageError
from harness.core.guidance import fraction
from harness.pipeline.request import Request
from harness.results.budget import UNKNOWN, Budget

if TYPE_CHECKING:
    import polars as pl

    from harness.pipeline.jobs import MethodRun
    from harness.planning.costs import Plan
    from harness.planning.hardware import Hardware


@dataclass(frozen=True)
class PlanResult:
    """What the rows of a request need; in a notebook it draws itself as its tables."""

    plan: Plan

    def table(self) -> pl.DataFrame:
        """One row per method and imbalance ratio, needed runs too: their number and their cost.

        why: "row", or what the run is needed for. PFLOP and GPU-hours are of all seeds together.
        """
        import polars as pl

        plan = self.plan
        rows = [
            {
                "imbalance": run.imbalance,
                "method": run.method,
                "why": run.why,
                "runs": len(run.seeds),
                "epochs": run.passes.epochs,
                "images_trained": run.passes.trained * len(run.seeds),
                "pflop": run.pflop * run.computed,
                "gpu_h": plan.gpu_h(run.pflop * run.computed, True),
            }
            for run in plan.runs
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def stages(self) -> pl.DataFrame:
        """One row per stage on the plan's machines: hours, what limits them, memory, advice."""
        import dataclasses

        import polars as pl

        rows = [dataclasses.asdict(stage) for stage in self.plan.stages]
        table = pl.DataFrame(rows, infer_schema_length=None)
        return table.with_columns(pl.col("advice").list.join("; "))

    def images(self) -> pl.DataFrame:
        """One row per kind and guidance level of the synthetic images: their number and cost."""
        import polars as pl

        plan = self.plan
        rows = [
            {
                "kind": level.kind,
                "guidance": fraction(level.guidance),
                "images": level.images,
                "steps": level.steps,
                "pflop": level.pflop,
                "gpu_h": plan.gpu_h(level.pflop, False),
            }
            for level in plan.pool
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def _repr_html_(self) -> str:
        from harness.api.drawing import plan_html

        return plan_html(self)


def plan_of(
    request: Request,
    tflops: float | None = None,
    machines: Hardware | None = None,
    measure: bool = False,
) -> PlanResult:
    """What the rows of a request take.

    tflops: rate of one GPU, None for the assumed ones. machines: to plan for; None: one card for
    profile paper, else this machine. measure: take the costs of CPU work here first.
    """
    from harness.planning.plan import plan

    workspace, units = request.workspace, None
    rows, ratios, seeds = request.rows, request.imbalances, request.seeds
    if measure:
        from harness.planning import calibration

        units = calibration.measured(workspace)
    return PlanResult(plan(workspace, rows, ratios, seeds, tflops, machines=machines, units=units))


def budgets(request: Request) -> dict[tuple[str, int | None], Budget]:
    """What the rows of a request's table would take, by method and imbalance ratio.

    Without rows of which nobody knows the sizes, and those that would be refused.
    """
    from harness.pipeline import stages
    from harness.pipeline.jobs import method_runs
    from harness.planning.plan import plan

    workspace = request.workspace
    assert request.paper is not None
    methods = [row.method for row in request.paper.rows if _exists(row.method, request)]
    ratios = tuple(block.imbalance for block in request.paper.blocks)
    known = [ratio for ratio in ratios if ratio in workspace.imbalances()]
    try:
        planned = plan(workspace, methods, known, (0,))
        runs = method_runs(workspace, methods)
    except (DataError, UsageError):
        return {}
    hard = {sizes.imbalance: sizes.hard for sizes in planned.facts}
    own: dict[tuple[str, int | None], Budget] = {}
    for run in planned.runs:
        if run.method in runs:
            method, made = runs[run.method].method, 0
            if method.reads is not None and not method.control and method.merges is None:
                part = stages.PoolPart(method.reads, method.levels)
                made = hard[run.imbalance] * len(stages.grid(workspace, part))
            own[run.method, run.imbalance] = Budget(run.passes.batches, run.passes.trained, made)
    return {(m, i): _whole(m, i, runs, own) for m, i in own if m in methods}


def _whole(
    method: str,
    imbalance: int | None,
    runs: Mapping[str, MethodRun],
    own: Mapping[tuple[str, int | None], Budget],
) -> Budget:
    """With the run that it starts from or merges."""
    needs = runs[method].needs
    before = needs.get("merges") or needs.get("start")
    budget = own.get((method, imbalance), UNKNOWN)
    return budget if before is None else budget + _whole(before, imbalance, runs, own)


def _exists(method: str, request: Request) -> bool:
    from harness.methods.compose import compose

    try:
        compose(method, request.dataset, request.profile)
    except UsageError:
        return False
    return True
