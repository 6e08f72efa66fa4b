"""Work that several commands, or the ranks of a launcher, divide by claiming it: nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.core.engine import Engine


def shared(
    engine: Engine,
    function: Callable[..., Any],
    jobs: Sequence[Any],
    start: Callable[..., Any],
    arguments: tuple[Any, ...],
    there: Callable[[Any], bool],
    busy: Callable[[int], None],
) -> Iterator[tuple[Any, Any]]:
    """(job, result or Failure) of all jobs, as they are done here or elsewhere (then 0).

    function: None for a job that another process does now. there: waits until nobody does a job;
    whether it is done then; if not, it is done here. busy: told how many jobs others do, when
    nothing else is left.
    """
    while jobs:
        claimed = []
        for job, outcome in engine.run(function, jobs, start, arguments):
            if outcome is None:
                claimed.append(job)
            else:
                yield job, outcome
        if claimed:
            busy(len(claimed))
        jobs = []
        for job in claimed:
            if there(job):
                yield job, 0
            else:
                jobs.append(job)
