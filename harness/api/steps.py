"""The stages of a request, each a function that returns what it did; nothing is printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.core.attempts import Unfinished
from harness.pipeline.request import Request

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Generated:
    """How many images were made, and those that could not be (failures.FAILED), by kind."""

    images: int
    failed: dict[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """How many of the runs were trained; the others were there."""

    trained: int
    runs: int


@dataclass(frozen=True)
class Step:
    """A stage that is done, what its function returned, and how long it took."""

    name: str
    result: Any
    seconds: float


def index(request: Request) -> pl.DataFrame:
    """The training images of every imbalance ratio."""
    from harness.pipeline import stages

    return stages.index(request.workspace)


def hard(request: Request) -> pl.DataFrame:
    """The images that get a spectrum, at every imbalance ratio."""
    from harness.pipeline import runs, stages

    workspace = request.workspace
    return stages.hard(
        workspace, runs.judge(workspace, request.workers, request.device, request.cluster)
    )


def generate(request: Request) -> Generated:
    """Make the synthetic images that the rows read and the pool lacks."""
    from harness.pipeline import stages

    workspace, parts = request.workspace, request.parts
    if not parts:
        return Generated(0)
    workspace.check_built_in()
    images = stages.generate(workspace, request.workers, request.device, parts, request.cluster)
    failed = {part.kind: stages.failed(workspace, part) for part in parts}
    return Generated(images, {kind: rows for kind, rows in failed.items() if len(rows)})


def score(request: Request) -> int:
    """Score the synthetic images that have no score; returns how many."""
    from harness.pipeline import stages

    workspace, device = request.workspace, request.device
    workers, cluster = request.workers, request.cluster
    return sum(stages.score(workspace, device, p, workers, cluster) for p in request.parts)


def train(requests: Sequence[Request], failed: Mapping[str, str] | None = None) -> Trained:
    """Train the runs that are missing, of all requests together.

    failed: reasons by key of runs that are not to be tried. Unfinished when some fail, or did; the
    others are trained then.
    """
    from harness.pipeline import runs
    from harness.pipeline.jobs import plan

    jobs = [job for r in requests for job in plan(r.workspace, r.rows, r.imbalances, r.seeds)]
    first = requests[0]
    count = runs.run(jobs, first.workers, first.device, first.rerun, first.cluster, failed)
    return Trained(count, len(jobs))


def _train_one(request: Request) -> Trained:
    return train([request])


ALL: dict[str, Callable[[Request], Any]] = {
    "index": index,
    "hard": hard,
    "generate": generate,
    "score": score,
    "train": _train_one,
}


def run(request: Request) -> Iterator[Step]:
    """Do all stages up to the records, each when it is asked for.

    Only what is missing is done, and no stage whose result the rows' runs do not read. Rows that
    read no synthetic image are trained before any is made, so that first numbers come early. Where
    a run fails, what does not need it is done all the same, and Unfinished comes at the end.
    """
    read = {"hard": request.needs_hard, "generate": request.kinds, "score": request.kinds}
    order = [name for name in ALL if read.get(name, True)]
    without = _without_images(request)
    unfinished: Unfinished | None = None
    if request.kinds and without.rows:
        order.insert(order.index("generate"), "train")
    for i, name in enumerate(order):
        begun, last = time.perf_counter(), i + 1 == len(order)
        try:
            if name != "train":
                result = ALL[name](request)
            elif unfinished is not None:
                result = train([request], unfinished.reasons)
            else:
                result = train([request if last else without])
        except Unfinished as error:
            if name != "train":
                raise
            unfinished = error
            continue
        yield Step(name, result, time.perf_counter() - begun)
    if unfinished is not None:
        raise unfinished


def _without_images(request: Request) -> Request:
    """The request's rows that read no synthetic image, the runs they need included."""
    from harness.pipeline.jobs import kinds_read, method_runs

    def reads(row: str) -> bool:
        methods = (run.method for run in method_runs(request.workspace, [row]).values())
        return bool(kinds_read(methods))

    return replace(request, rows=tuple(row for row in request.rows if not reads(row)))
