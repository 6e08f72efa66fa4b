"""A Ray cluster on this machine, of nodes with one core each, which tests can kill."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # of 15, workers starve beside other tests
    "PYTHONPATH": str(Path(__file__).parent),
}


class Nodes:
    """The nodes of a cluster; the first is its head and has no core for work."""

    def __init__(self, cluster: Any, count: int) -> None:
        self.cluster, self.lost = cluster, 0
        self.work = [self._new() for _ in range(count)]

    def _new(self) -> Any:
        return self.cluster.add_node(**NODE)

    def kill(self, number: int) -> None:
        """The processes of a node get SIGKILL."""
        self.cluster.remove_node(self.work.pop(number), allow_graceful=False)
        self.lost += 1

    def replace(self) -> None:
        """Another node for one that was killed; from the main thread, as Ray has it."""
        self.work.append(self._new())

    @property
    def address(self) -> str:
        address: str = self.cluster.address
        return address


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A cluster that ends with the block, and the connection of this process to it."""
    import ray
    from ray.cluster_utils import Cluster

    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        mock.patch.dict(os.environ, ENVIRONMENT | {"RAY_TMPDIR": folder}),
    ):
        head = NODE | {"num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Nodes(cluster, count)
        finally:
            ray.shutdown()
            cluster.shutdown()
