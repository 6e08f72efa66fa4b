"""Where work runs: jobs on the cores of this machine, one thread each, in spawned processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

from harness.core import preemption
from harness.core.errors import DataError, UsageError, brief
from harness.core.machine import cpu_quota

J = TypeVar("J")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
# What every worker starts with. glibc keeps memory that was freed for the next batch, as large:
# given back and asked for again, each of its pages is a fault (MALLOC_..._ in mallopt(3)).
ENVIRONMENT = dict.fromkeys(THREADS, "1") | {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}


LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what a launcher sets, too
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in prctl(2)


def cores() -> int:
    """Cores this process may use: of its affinity, and of its container's share of the machine."""
    return min(len(os.sched_getaffinity(0)), cpu_quota() or sys.maxsize)


def ranks() -> int:
    """Processes that `accelerate launch` (or torchrun) started to work on one thing; usually 1.

    UsageError where the environment says so and no launcher can have said it.
    """
    text = os.environ.get("WORLD_SIZE", "1")
    count = _whole("WORLD_SIZE", text, 1)
    missing = [name for name in LAUNCHED if name not in os.environ]
    if count > 1 and missing:
        raise UsageError(
            f"WORLD_SIZE is {count} and {', '.join(missing)} not set: start with `accelerate "
            "launch`, or unset WORLD_SIZE to work in one process"
        )
    if count > 1 and rank() >= count:
        raise UsageError(f"RANK is {rank()}, expected less than WORLD_SIZE, {count}")
    return count


def rank() -> int:
    """This process's number among them."""
    return _whole("RANK", os.environ.get("RANK", "0"), 0)


def _whole(name: str, text: str, lowest: int) -> int:
    if not text.isdecimal() or len(text) > 6 or int(text) < lowest:
        raise UsageError(f"{name} is {text[:60]!r}, expected a whole number from {lowest}")
    return int(text)


def check_device(device: str) -> None:
    """UsageError unless PyTorch can compute on `device` here, with the processes started for it."""
    ranks()
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
    An interruption, and the end of this process, ends the workers at once.
    """
    if not jobs:
        return
    if ranks() > 1:  # each job is for all of them
        states = () if start is None else (start(*arguments),)
        yield from ((job, function(*states, job)) for job in jobs)
        return
    work = pickle.dumps((function, start, arguments))
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    context = multiprocessing.get_context("spawn")
    worker_end, own_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (worker_end, work))
    try:
        with _main_hidden(function, start):
            futures = {pool.submit(_do, pickle.dumps(job)): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise DataError("a worker process died (out of memory, or killed)") from error
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        own_end.close()  # which ends the workers
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        own_end.close()
        worker_end.close()
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


@dataclass
class _Worker:
    """What a worker process does with its jobs, loaded with the first of them."""

    work: bytes = b""
    function: Callable[..., Any] | None = None
    states: tuple[Any, ...] = ()  # what `start` returned

    def do(self, job: bytes) -> Any:
        if self.function is None:
            function, start, arguments = pickle.loads(self.work)
            self.states = () if start is None else (start(*arguments),)
            self.function = function
        return self.function(*self.states, pickle.loads(job))


_worker = _Worker()


def _begin(parent: Connection, work: bytes) -> None:
    """Nothing that may fail: an error here is printed, and one in a job is raised by `run`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent alone says that it was interrupted
    _worker.work = work
    _end_with_parent()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _do(job: bytes) -> Any:
    return _worker.do(job)


def _end_with_parent() -> None:
    """On Linux the system ends this worker with its parent, even while no thread can run."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _follow(parent: Connection) -> None:
    """End this worker when its parent closes the pipe, or was killed: no job will come.

    A run that is being trained has a while for its checkpoint, unless the system is quicker.
    """
    process = multiprocessing.parent_process()
    wait([parent] if process is None else [parent, process.sentinel])
    if preemption.give_notice():
        time.sleep(preemption.GRACE_S)
    os._exit(1)
