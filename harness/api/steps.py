"""The stages of a request, each a function that returns what it did; nothing is printed."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.core.attempts import Unfinished
from harness.pipeline.request import Request

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("harness")


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
    """Make the synthetic images that the rows read and the pool lacks.

    DataError where a guidance level that they read has no image, because every one failed.
    """
    from harness.pipeline import stages

    workspace, parts = request.workspace, request.parts
    if not parts:
        return Generated(0)
    workspace.check_built_in()
    images = stages.generate(workspace, request.workers, request.device, parts, request.cluster)
    failed = {part.kind: stages.failed(workspace, part) for part in parts}
    for part in parts:
        stages.check_levels(workspace, part, failed[part.kind])
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
    count = runs.run(
        jobs, first.workers, first.device, first.rerun, first.track, first.cluster, failed
    )
    return Trained(count, len(jobs))


def train_alone(requests: Sequence[Request]) -> Trained:
    """The same where no other stage is done, with what trackers are told of a stage."""
    with _stages(requests[0]) as tracked:
        return tracked("train", lambda _: train(requests)).result


def _train_one(request: Request) -> Trained:
    return train([request])


def _train_first(without: Request, _: Request) -> Trained:
    """What needs no synthetic image, before any is made."""
    return train([without])


def _train_rest(unfinished: Unfinished | None, request: Request) -> Trained:
    """What failed in this call before is not tried again."""
    return train([request], unfinished.reasons if unfinished else None)


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
    with _stages(request) as tracked:
        for i, name in enumerate(order):
            last, stage = i + 1 == len(order), ALL[name]
            if name == "train" and last:
                stage = partial(_train_rest, unfinished)
            elif name == "train":
                stage = partial(_train_first, without)
            try:
                yield tracked(name, stage)
            except Unfinished as error:
                if name != "train":
                    raise
                unfinished = error
    if unfinished is not None:
        raise unfinished


@contextmanager
def _stages(request: Request) -> Iterator[Callable[[str, Callable[[Request], Any]], Step]]:
    """Does a stage of the request, and tells its trackers."""
    from harness.pipeline.run_tracking import spectrum_picture, stage_tracking

    with stage_tracking(request.track, request.workspace, request.device) as tracker:
        numbers = itertools.count(1)

        def tracked(name: str, stage: Callable[[Request], Any]) -> Step:
            log.debug("%s: %s, profile %s", name, request.dataset, request.profile)
            begun = time.perf_counter()
            result = stage(request)
            step = Step(name, result, time.perf_counter() - begun)
            if tracker is None:
                return step
            tracker.numbers(next(numbers), _counts(step))
            picture = spectrum_picture(request.workspace) if name in ("score", "train") else None
            if picture is not None:
                tracker.picture("spectrum/sample", picture)
            return step

        yield tracked


def _counts(step: Step) -> dict[str, float]:
    """What a stage did, as numbers."""
    result, counts = step.result, {"seconds": step.seconds}
    if isinstance(result, Generated):
        failed = sum(map(len, result.failed.values()))
        counts |= {"images": result.images, "failed": failed}
    elif isinstance(result, Trained):
        counts |= {"trained": result.trained, "runs": result.runs}
    else:  # a table or a number of images
        counts["rows"] = result if isinstance(result, int) else len(result)
    return {f"{step.name}/{name}": float(count) for name, count in counts.items()}


def _without_images(request: Request) -> Request:
    """The request's rows that read no synthetic image, the runs they need included."""
    from harness.pipeline.jobs import kinds_read, method_runs

    def reads(row: str) -> bool:
        methods = (run.method for run in method_runs(request.workspace, [row]).values())
        return bool(kinds_read(methods))

    return replace(request, rows=tuple(row for row in request.rows if not reads(row)))
