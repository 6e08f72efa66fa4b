"""Worker processes of this machine: each does one job at a time, and a dead one is replaced."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from types import ModuleType
from typing import Any

from harness.core import preemption
from harness.core.attempts import (
    ATTEMPTS,
    HOPELESS,
    LOST,
    LOST_NODES,
    NODES,
    Failure,
    Starting,
    at_start,
)
from harness.core.errors import DataError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
# What every worker starts with. glibc keeps memory that was freed for the next batch, as large:
# given back and asked for again, each of its pages is a fault (MALLOC_..._ in mallopt(3)).
ENVIRONMENT = dict.fromkeys(THREADS, "1") | {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in prctl(2)


@dataclass
class Task:
    """A job that waits for a worker, and how many workers it has lost."""

    job: Any
    losses: int = 0
    nodes: int = 0  # lost with their workers


class Losses:
    """Workers that died: whose job is tried again, and when that is no use."""

    def __init__(self) -> None:
        self.in_a_row, self.useful = 0, False

    def outcome(self, task: Task, with_node: bool = False) -> Failure | None:
        """A failure where the job has lost too many workers; None where it is to be tried again.

        with_node: the worker was lost with its machine. DataError when workers die and none has
        done a job yet.
        """
        if with_node:
            task.nodes += 1
            return Failure(DataError(LOST_NODES)) if task.nodes >= NODES else None
        task.losses += 1
        self.in_a_row += 1
        if task.losses >= ATTEMPTS:
            return Failure(DataError(LOST))
        if self.in_a_row >= 3 * ATTEMPTS and not self.useful:
            raise DataError(HOPELESS)
        return None

    def done(self) -> None:
        """A worker has done a job, well or not."""
        self.in_a_row, self.useful = 0, True


class Crew:
    """`count` worker processes for jobs of one kind: see `harness.core.parallel.run`."""

    def __init__(
        self,
        count: int,
        function: Callable[..., Any],
        start: Callable[..., Any] | None,
        arguments: tuple[Any, ...],
    ) -> None:
        self.count, self.functions = count, (function, start)
        self.work = pickle.dumps((function, start, arguments))
        self.context = multiprocessing.get_context("spawn")
        self.worker_end, self.own_end = self.context.Pipe(duplex=False)
        self.processes: dict[int, ProcessPoolExecutor] = {}  # one in each; by worker

    def outcomes(self, jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(job, result or Failure) as they are done; an error at the start of a worker is raised.

        Free workers get their next jobs before the caller does something with an outcome.
        """
        waiting, losses = deque(Task(job) for job in jobs), Losses()
        busy: dict[Future[Any], tuple[int, Task]] = {}
        free = list(range(self.count))
        with _environment():
            while waiting or busy:
                self._occupy(free, waiting, busy)
                done = wait(busy, return_when=FIRST_COMPLETED).done
                outcomes = []
                for future in done:
                    number, task = busy.pop(future)
                    free.append(number)
                    outcome = self._outcome(future, number, task, losses)
                    if outcome is None:
                        waiting.append(task)
                    else:
                        outcomes.append((task.job, outcome[0]))
                self._occupy(free, waiting, busy)
                yield from outcomes

    def _occupy(
        self, free: list[int], waiting: deque[Task], busy: dict[Future[Any], tuple[int, Task]]
    ) -> None:
        while free and waiting:
            number, task = free.pop(), waiting.popleft()
            busy[self._submit(number, task.job)] = number, task

    def _submit(self, number: int, job: Any) -> Future[Any]:
        data = pickle.dumps(job)
        with _main_hidden(*self.functions):
            if number in self.processes:
                with suppress(BrokenProcessPool):  # it died between two jobs
                    return self.processes[number].submit(_do, data)
            self.processes[number] = ProcessPoolExecutor(
                1, self.context, _begin, (self.worker_end, self.work, number)
            )
            return self.processes[number].submit(_do, data)

    def _outcome(
        self, future: Future[Any], number: int, task: Task, losses: Losses
    ) -> tuple[Any] | None:
        """A result or a Failure; None for a job to try again."""
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self.processes.pop(number).shutdown()
            failure = losses.outcome(task)
            return None if failure is None else (failure,)
        losses.done()
        if error is None:
            return (future.result(),)
        if at_start(error):
            raise error
        return (Failure(error),)

    def interrupt(self) -> None:
        """End the workers at once."""
        self.own_end.close()

    def close(self) -> None:
        """End the workers when they have done the jobs at hand."""
        for executor in self.processes.values():
            executor.shutdown(wait=False, cancel_futures=True)
        for executor in self.processes.values():
            executor.shutdown(wait=True)
        self.own_end.close()
        self.worker_end.close()


@contextmanager
def _environment() -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
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
class Work:
    """What a worker process does with its jobs, loaded before the first of them."""

    pickled: bytes = b""
    number: int | None = None  # of the worker; None in a process that is none
    function: Callable[..., Any] | None = None
    states: tuple[Any, ...] = ()  # what `start` returned

    def load(self) -> None:
        """Once; an error is marked as one of the start."""
        if self.function is not None:
            return
        with Starting():
            function, start, arguments = pickle.loads(self.pickled)
            self.states = () if start is None else (start(*arguments),)
            self.function = function

    def do(self, job: bytes) -> Any:
        self.load()
        assert self.function is not None
        return self.function(*self.states, pickle.loads(job))


_work = Work()


def number() -> int | None:
    """This worker's number, from 0; None in a process that is no worker of this machine."""
    return _work.number


def _begin(parent: connection.Connection, work: bytes, number: int) -> None:
    """Nothing that may fail: an error here is printed, and one in a job comes with its outcome."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent alone says that it was interrupted
    _work.pickled, _work.number = work, number
    _end_with_parent()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _do(job: bytes) -> Any:
    return _work.do(job)


def _end_with_parent() -> None:
    """On Linux the system ends this worker with its parent, even while no thread can run."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _follow(parent: connection.Connection) -> None:
    """End this worker when its parent closes the pipe, or was killed: no job will come.

    A run that is being trained has a while for its checkpoint, unless the system is quicker.
    """
    process = multiprocessing.parent_process()
    connection.wait([parent] if process is None else [parent, process.sentinel])
    if preemption.give_notice():
        time.sleep(preemption.GRACE_S)
    os._exit(1)
