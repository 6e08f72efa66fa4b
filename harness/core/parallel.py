"""Where work runs: jobs on the cores of this machine, one thread each, in spawned processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from harness.core import processes
from harness.core.attempts import Failure
from harness.core.errors import UsageError, brief
from harness.core.machine import cpu_quota

J = TypeVar("J")
LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what a launcher sets, too


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
    """This process's number among them; 0 where it is alone, whatever RANK says."""
    number = _whole("RANK", os.environ.get("RANK", "0"), 0)
    return 0 if _alone() else number


def is_first() -> bool:
    """Whether this process speaks for all of them: it alone prints results."""
    return _alone() or rank() == 0


def _alone() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1"


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


def own_device(device: str) -> str:
    """The one of several devices that this process works on.

    "cuda" is the card of its rank under a launcher, and that of its number in a worker of this
    machine; on a Ray cluster a worker sees its own cards only.
    """
    if device != "cuda":
        return device
    rank_here = os.environ.get("LOCAL_RANK", "0")
    number = _whole("LOCAL_RANK", rank_here, 0) if ranks() > 1 else processes.number()
    if number is None:
        return device
    import torch

    return f"cuda:{number % max(1, torch.cuda.device_count())}"


def workers_for(device: str) -> int:
    """Worker processes by default: one for each core, and one for each card that is used."""
    if not device.startswith("cuda"):
        return cores()
    if device != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def run(
    function: Callable[..., Any],
    jobs: Sequence[J],
    workers: int,
    start: Callable[..., Any] | None = None,
    arguments: tuple[Any, ...] = (),
    tolerant: bool = False,
) -> Iterator[tuple[J, Any]]:
    """Yield (job, function(job)) as they finish, by so many worker processes.

    With `start`, `start(*arguments)` runs once in every worker, and a job's result is
    function(what it returned, job): `start` may be a class and `function` a method of it.
    One thread per worker, so that results do not depend on the number of workers. A job whose
    worker dies is tried again, up to ATTEMPTS times. An error in `start` ends all of them and is
    raised here; so does one in a job, unless `tolerant`: then the job comes with its Failure and
    the others go on. Jobs that were finished stay finished. An interruption, and the end of this
    process, ends the workers at once.
    """
    if not jobs:
        return
    if ranks() > 1:  # each job is for all of them, or claims are what divides them
        states = () if start is None else (start(*arguments),)
        yield from ((job, function(*states, job)) for job in jobs)
        return
    crew = processes.Crew(min(workers, len(jobs)), function, start, arguments)
    try:
        for job, outcome in crew.outcomes(jobs):
            if isinstance(outcome, Failure) and not tolerant:
                raise outcome.error
            yield job, outcome
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        crew.interrupt()
        raise
    finally:
        crew.close()
