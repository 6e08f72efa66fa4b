"""The stages on a Ray cluster of this machine: the bytes of the local engine, whatever is lost."""

import random
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import children
import pytest
import ray_nodes
import small_workspace

from harness.cli.main import main

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PARAMS = {"size_px": 64, "levels": [0.0, 0.3, 0.5], "pool_seeds": [10]}
IMAGES = 6 * 3
ENDS = {
    "generate": rf"generate: {IMAGES} images made",
    "score": rf"score: {IMAGES} images scored",
    "train": r"train: 2 of 2 runs trained",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Official files, and a home where images are listed and none is made."""
    folder = tmp_path_factory.mktemp("place")
    small_workspace.write_data(folder / "data")
    home = folder / "home"
    children.write_params(home, **PARAMS)
    for stage in ("index", "hard"):
        assert main(words(stage, home)) == 0
    return folder


def words(stage: str, home: Path, *more: str) -> list[str]:
    engine = ["--workers", "2", *more] if stage != "index" else []
    return [*children.words(stage, home, home.parent / "data"), *engine]


@pytest.fixture
def fresh(place: Path) -> Iterator[Path]:
    """The home as it was, at the same path, which is part of some results."""
    shutil.copytree(place / "home", place / "as it was")
    yield place / "home"
    shutil.rmtree(place / "home")
    (place / "as it was").rename(place / "home")


@pytest.fixture(scope="module")
def locally(place: Path) -> dict[str, dict[str, bytes]]:
    """What the home is after each stage, done by two local workers."""
    shutil.copytree(place / "home", place / "before")
    contents = {}
    for stage in ENDS:
        assert main(words(stage, place / "home")) == 0
        contents[stage] = children.contents(place / "home")
    shutil.rmtree(place / "home")
    (place / "before").rename(place / "home")
    return contents


@pytest.mark.parametrize("count", [2, 4])
def test_the_bytes_of_the_local_engine(locally, fresh, capfd, count):
    with ray_nodes.nodes(count) as nodes:
        for stage, end in ENDS.items():
            on = ["--engine", "ray", "--address", nodes.address]
            assert main([*words(stage, fresh), *on]) == 0
            assert re.search(end, capfd.readouterr().err)
            assert children.contents(fresh) == locally[stage]
    assert children.temporaries(fresh) == []


@pytest.mark.parametrize("seed", children.seeds(3))
def test_a_node_is_killed_at_a_random_moment(locally, fresh, seed):
    with ray_nodes.nodes(2) as nodes:
        at = random.Random(seed).uniform(5, 60)
        killer = _after(at, lambda: nodes.kill(0))
        for stage in ENDS:
            on = ["--engine", "ray", "--address", nodes.address]
            assert main([*words(stage, fresh), *on]) == 0
        print(
            f"seed {seed}: killed after {at:.0f} s, {'before' if nodes.lost else 'after'} the end"
        )
        killer.cancel()
    assert children.contents(fresh) == locally["train"]
    assert children.temporaries(fresh) == []


def _after(seconds: float, do: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer
