"""The tables of a plan: synthetic images, runs, FLOPs, GPU-hours, disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.planning.dataset_sizes import DatasetSizes
from harness.planning.dry_run import Passes

if TYPE_CHECKING:
    from harness.planning.hardware import Hardware
    from harness.planning.memory import TrainingMemory
    from harness.planning.stage_costs import StageCost
    from harness.planning.unit_costs import UnitCosts


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
    objective: str = ""  # name of its class
    reads: str | None = None  # synthetic images of that kind
    needs: tuple[str, ...] = ()  # runs whose weights or levels it takes, by method
    computed: int = 1  # of its seeds; the others' files are copies where nothing is trained
    memory: TrainingMemory | None = None  # of a GPU; None: nothing is trained

    @property
    def pflop(self) -> float:
        return self.train_pflop + self.forward_pflop + (self.fitted_pflop or 0.0)


@dataclass(frozen=True)
class Plan:
    """What a comparison costs; see `harness.planning.plan.plan`."""

    dataset: str
    profile: str
    facts: tuple[DatasetSizes, ...]
    sources: int  # different hard images
    pool: tuple[Images, ...]
    runs: tuple[Run, ...]
    tflops: tuple[float, float]  # TFLOP/s that hours are computed at: of generation, of training
    disk_gb: dict[str, float]  # in 10^9 bytes
    refused: dict[str, str]  # rows that will not run, and why
    missing: tuple[str, ...]  # here
    assumed: tuple[str, ...] = ()
    generator: str = ""
    stages: tuple[StageCost, ...] = ()
    machines: Hardware | None = None  # that the stages run on
    units: UnitCosts | None = None  # that their CPU time follows from

    @property
    def generation_pflop(self) -> float | None:
        known = [level.pflop for level in self.pool if level.pflop is not None]
        return sum(known) if len(known) == len(self.pool) else None

    @property
    def training_pflop(self) -> float:
        return sum(run.pflop * run.computed for run in self.runs)

    def gpu_h(self, pflop: float | None, training: bool) -> float | None:
        return None if pflop is None else pflop * 1e3 / self.tflops[training] / 3600


def number(value: float | None) -> str:
    """Three figures, thousands apart; "-" for what is not known."""
    if value is None:
        return "-"
    if 0 < value < 0.001:
        return "<0.001"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
