"""A Ray cluster of several nodes on this machine leaves the files that the local engine leaves."""

import random
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import children
import polars as pl
import pytest
import ray_nodes
import small_workspace

from harness.core.cluster import Cluster, connect
from harness.pipeline import runs, stages
from harness.pipeline.jobs import plan
from harness.pipeline.workspace import Workspace
from harness.pool.shards import open_shard, shard_paths

pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.long

ROWS = ["CE", "BS+DisCL"]
SHARDS = 3  # one for each level
IMAGES = 6 * SHARDS * 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


def prepared(home: Path, data: Path) -> Workspace:
    """Six hard images; everything up to the list of them is done."""
    workspace = small_workspace.workspace(
        home,
        data,
        imbalances=[100],
        levels=[0.0, 0.3, 0.5],
        pool_seeds=[10, 20],
        scratch={"epochs": 2},
    )
    stages.index(workspace)
    stages.hard(workspace)
    return workspace


def walk(workspace: Workspace, cluster: Cluster | None = None) -> tuple[int, int, int]:
    """Images made, images scored, runs trained."""
    images = stages.generate(workspace, None if cluster else 1, cluster=cluster)
    scored = stages.score(workspace, workers=None if cluster else 1, cluster=cluster)
    jobs = plan(workspace, ROWS, [100], [0])
    return images, scored, runs.run(jobs, None if cluster else 1, cluster=cluster)


@pytest.fixture(scope="module")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = prepared(tmp_path_factory.mktemp("local"), data)
    assert walk(workspace) == (IMAGES, IMAGES, 3)
    return workspace


def contents(workspace: Workspace) -> dict[str, bytes]:
    found = children.contents(workspace.home)
    return {name: data for name, data in found.items() if not name.endswith(".u8")}


def check(workspace: Workspace, local: Workspace) -> None:
    """The files are those of the local engine, and no image was made twice."""
    assert contents(workspace) == contents(local)
    assert children.temporaries(workspace.home) == []
    keys = pl.concat([open_shard(path).rows for path in shard_paths(workspace.pool)])["key"]
    assert (len(keys), keys.n_unique()) == (IMAGES, IMAGES)


@pytest.mark.parametrize("count", [2, 4])
def test_several_nodes_leave_the_same_files(local, data, tmp_path, count):
    workspace = prepared(tmp_path, data)
    with ray_nodes.nodes(count) as nodes:
        assert walk(workspace, Cluster(nodes.address)) == (IMAGES, IMAGES, 3)
    check(workspace, local)


@pytest.mark.parametrize("seed", children.seeds(1))
def test_nodes_that_are_lost(local, data, tmp_path, seed):
    """One node after the other, at random moments: four of two."""
    draws, workspace = random.Random(seed), prepared(tmp_path, data)
    with ray_nodes.nodes(2) as nodes, ThreadPoolExecutor(1) as thread:
        connect(nodes.address)  # here, as Ray wants it: the thread finds it connected
        walked = thread.submit(walk, workspace, Cluster(nodes.address))
        while nodes.lost < 4 and not wait([walked], draws.uniform(1, 6)).done:
            nodes.kill(draws.randrange(2))
            nodes.replace()
        walked.result()
        print("nodes lost:", nodes.lost)
        assert nodes.lost
    check(workspace, local)
