"""Where work runs: jobs on the cores of this machine, one thread each, in spawned processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import ModuleType
from typing import Any, TypeVar

from harness.core.errors import DataError, UsageError, brief

J = TypeVar("J")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
# What every worker starts with. glibc keeps memory that was freed for the next batch, as large:
# given back and asked for again, each of its pages is a fault (MALLOC_..._ in mallopt(3)).
ENVIRONMENT = dict.fromkeys(THREADS, "1") | {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def ranks() -> int:
    """Processes that `accelerate launch` (or torchrun) started to work on one thing; usually 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("RANK", "0"))


def check_device(device: str) -> None:
    """UsageError unless PyTorch can compute on `device` here."""
    if device == "cpu":
        return
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter: built without CUDA
        raise UsageError(f"device {device!r} cannot be used: {brief(error)}") from error


def run(
    function: Callable[..., R],
    jobs: Sequence[J],
    workers: int,
    start: Callable[..., Any] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[J, R]]:
    """Yield (job, function(job)) as they finish.

    With `start`, `start(*arguments)` runs once in every worker, and a job's result is
    function(what it returned, job): `start` may be a class and `function` a method of it.
    One thread per worker, so that results do not depend on the number of workers. An error in a
    job or in `start` ends all of them and is raised here; jobs that were finished stay finished.
    """
    if not jobs:
        return
    if ranks() > 1:  # each job is for all of them
        states = () if start is None else (start(*arguments),)
        yield from ((job, function(*states, job)) for job in jobs)
        return
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (start, arguments))
    try:
        with _main_hidden(function, start):
            futures = {pool.submit(_do, function, job): job for job in jobs}
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


@contextmanager
def _main_hidden(*functions: Callable[..., Any] | None) -> Iterator[None]:
    """While workers start: they do not run the caller's script again.

    A script that calls the Python API needs no `if __name__ == "__main__"`; one that defines what
    the workers do is run again, as the standard library has it.
    """
    main = sys.modules["__main__"]
    needed = any(getattr(function, "__module__", None) == "__main__" for function in functions)
    if not needed:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_states: list[Any] = []  # what `start` returned in this worker, or the error that it raised


def _begin(start: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent alone says that it was interrupted
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        if start is not None:
            _states.append(start(*arguments))
    except (UsageError, DataError) as error:  # raised here, it would only break the pool
        _states.append(error)


def _do(function: Callable[..., R], job: J) -> R:
    for state in _states:
        if isinstance(state, UsageError | DataError):
            raise state
    return function(*_states, job)


def _follow_parent() -> None:
    """End this worker when its parent was killed: it would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
