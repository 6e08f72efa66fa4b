"""One byte of a file that the pipeline reads: only what depends on it is made again."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cifar_files
import polars as pl
import pytest
import small_workspace

from harness.core import parallel
from harness.datasets import prompts
from harness.pipeline import runs, stages
from harness.pipeline.jobs import plan
from harness.pipeline.stages import index_table
from harness.pipeline.workspace import Workspace

ROWS = ["CE", "CE+DisCL"]
TAIL = {"thing 2": 8, "thing 3": 2}  # hard samples at imbalance 50, one image of each


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "run", small_workspace.here)
        yield


class World:
    """A workspace in a folder with all that it reads: data, models, prompts."""

    def __init__(self, top: Path) -> None:
        self.top, self.models = top, top / "models"
        self.train = top / "data" / "cifar-100-python" / "train"

    @property
    def workspace(self) -> Workspace:
        names = {"generator": str(self.models / "generator")}
        names |= {"clip": f"local-dir:{self.models / 'clip'}"}
        changes: dict[str, Any] = {"levels": [0.5], "pool_seeds": [10], "imbalances": [50]}
        return small_workspace.workspace(
            self.top / "home", self.top / "data", **changes, **names, backbone="resnet10"
        )

    def walk(self) -> tuple[int, int, list[str]]:
        """Images made, images scored, methods trained: as another process would do it."""
        index_table._load.cache_clear()
        workspace = self.workspace
        stages.index(workspace)
        stages.hard(workspace)
        images, scored = stages.generate(workspace), stages.score(workspace)
        jobs = plan(workspace, ROWS, [50], [0])
        methods = [job.spec.method for job in jobs if not job.trained]
        runs.run(jobs)
        return images, scored, methods

    def write_prompts(self, **changed: str) -> None:
        """One text for each class, whatever the seed."""
        names = ("aquarium fish", "apple", *TAIL)
        texts = {name: f"a photo of {name}" for name in names} | changed
        of = {name: (text,) * prompts.PER_CLASS for name, text in texts.items()}
        value = prompts.Prompts("cifar100-lt", {"kind": "test"}, of)
        prompts.write(self.workspace.prompts, value)

    def ids(self, hard: bool) -> list[int]:
        """Of the pictures in the subset, by their place in the official file."""
        rows = stages.load(self.workspace, 50).train
        return rows.filter((pl.col("count") < 20) == hard)["id"].to_list()

    def change_picture(self, number: int) -> None:
        content = pickle.loads(self.train.read_bytes())
        content[b"data"][number, 0] ^= 1
        cifar_files.dump(self.train, content)


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def walked(models: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("top")
    shutil.copytree(models, top / "models")
    small_workspace.write_data(top / "data")
    world = World(top)
    world.write_prompts()
    assert world.walk() == (10, 10, ROWS)
    return top


@pytest.fixture
def world(walked: Path, tmp_path: Path) -> World:
    shutil.copytree(walked, tmp_path / "copy")
    return World(tmp_path / "copy")


def test_nothing_changed(world):
    assert world.walk() == (0, 0, [])


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder_2"])
def test_weights_of_the_generator(world, part):
    flip_last_byte(next((world.models / "generator" / part).glob("*.safetensors")))
    assert world.walk() == (10, 10, ["CE+DisCL"])


def test_weights_of_the_scorer(world):
    flip_last_byte(next((world.models / "clip").glob("*.safetensors")))
    assert world.walk() == (0, 10, ["CE+DisCL"])


@pytest.mark.parametrize(("name", "images"), TAIL.items())
def test_the_text_of_a_class(world, name, images):
    world.write_prompts(**{name: f"a photo of {name}."})
    assert world.walk() == (images, images, ["CE+DisCL"])


def test_the_text_of_a_class_that_is_not_hard(world):
    world.write_prompts(apple="a photo of apples")
    assert world.walk() == (0, 0, [])


def test_a_picture_that_images_are_made_from(world):
    world.change_picture(world.ids(hard=True)[0])
    assert world.walk() == (1, 1, ROWS)


def test_a_picture_that_runs_only_train_on(world):
    world.change_picture(world.ids(hard=False)[0])
    assert world.walk() == (0, 0, ROWS)


def test_a_picture_outside_the_subset(world):
    inside = {*world.ids(hard=True), *world.ids(hard=False)}
    world.change_picture(min(set(range(4 * 120)) - inside))
    assert world.walk() == (0, 0, [])


def test_a_label_in_the_list(world):
    """Of a picture that becomes one of another large class."""
    content = pickle.loads(world.train.read_bytes())
    labels = content[b"fine_labels"]
    first, second = labels.index(0), labels.index(1)
    labels[first], labels[second] = 1, 0
    cifar_files.dump(world.train, content)
    assert world.walk() == (0, 0, ROWS)
