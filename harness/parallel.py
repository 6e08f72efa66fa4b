"""Where work runs: jobs on the cores of this machine, one thread each, in spawned processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from harness.types import DataError

J = TypeVar("J")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    function: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    start: Callable[..., Any] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[J, R]]:
    """Yield (job, result) as they finish. `start(*arguments)` runs once in every worker.

    One thread per worker, so that results do not depend on the number of workers. An error in a
    job ends all of them and is raised here; jobs that were finished stay finished.
    """
    if not jobs:
        return
    saved = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, start, arguments)
    try:
        futures = {pool.submit(function, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise DataError("a worker process died (out of memory, or killed)") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
