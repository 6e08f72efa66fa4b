"""What a request would cost, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.guidance import fraction
from harness.pipeline.request import Request

if TYPE_CHECKING:
    import polars as pl

    from harness.planning.costs import Plan


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
                "pflop": run.pflop * len(run.seeds),
                "gpu_h": plan.gpu_h(run.pflop * len(run.seeds), True),
            }
            for run in plan.runs
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

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


def plan_of(request: Request, tflops: float | None = None) -> PlanResult:
    """What the rows of a request take. tflops: rate of the machine, None for the assumed ones."""
    from harness.planning.plan import plan

    rows, ratios, seeds = request.rows, request.imbalances, request.seeds
    return PlanResult(plan(request.workspace, rows, ratios, seeds, tflops))
