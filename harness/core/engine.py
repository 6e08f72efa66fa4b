"""The engine of a command: what does the jobs of its stages, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core import parallel
from harness.core.cluster import Cluster
from harness.core.errors import UsageError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Worker processes of this machine, or those of a Ray cluster; results are the same bytes.

    device: of each worker. workers: how many; default: one per core or card, on a cluster as many
    as there is room for. cluster: None is this machine.
    """

    device: str = "cpu"
    workers: int | None = None
    cluster: Cluster | None = None

    def check(self) -> None:
        """UsageError unless the device can be used here, or the nodes are to have it."""
        if self.cluster is None:
            parallel.check_device(self.device)
        elif parallel.ranks() > 1:
            raise UsageError("--engine ray starts its own workers: do not use `accelerate launch`")

    @property
    def count(self) -> int:
        """Worker processes on this machine."""
        return self.workers or parallel.workers_for(self.device)

    def run(
        self,
        function: Callable[..., Any],
        jobs: Sequence[Any],
        start: Callable[..., Any] | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> Iterator[tuple[Any, Any]]:
        """(job, result or Failure) as they are done; see `parallel.run`, tolerant."""
        if self.cluster is None:
            return parallel.run(function, jobs, self.count, start, arguments, tolerant=True)
        return self.cluster.run(function, jobs, self.device, self.workers, start, arguments)
