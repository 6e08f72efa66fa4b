"""The pool that comes with the repository as a DVC remote: what a fresh clone pulls."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from ruamel.yaml import YAML

from harness.pipeline import stages
from harness.pipeline.request import Choices, resolve
from harness.pool import cache

ROOT = Path(__file__).parents[2]
REMOTE = ROOT / "results" / "pools" / "files" / "md5"


def stored(digest: str) -> Path:
    """A file of the remote, as DVC names it."""
    return REMOTE / digest[:2] / digest[2:]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `dvc pull` would bring."""
    folder = tmp_path_factory.mktemp("pool")
    (out,) = YAML().load(ROOT / "pool/smoke/cifar100-lt/images.dvc")["outs"]
    assert out["remote"] == "reference"
    for file in json.loads(stored(out["md5"]).read_text()):
        path = folder / out["path"] / file["relpath"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stored(file["md5"]), path)
    return folder


def test_its_images_are_those_that_the_recipe_asks_for(pool):
    workspace = resolve(Choices("cifar100-lt", profile="smoke")).workspace
    index = cache.build_index(pool)
    assert cache.verify(pool) == []
    assert index["generator"].unique().to_list() == [stages.generator_key(workspace)]
    cells = stages.grid(workspace).select("guidance", "seed").sort("guidance", "seed")
    of_source = index.group_by("source", "classname").agg(pl.struct("guidance", "seed"))
    assert len(of_source) == 219
    for row in of_source["guidance"].to_list():
        assert sorted(tuple(cell.values()) for cell in row) == cells.rows()


def test_it_is_small_and_not_the_default_remote(pool):
    assert sum(path.stat().st_size for path in REMOTE.rglob("*") if path.is_file()) < 6e6
    config = (ROOT / ".dvc" / "config").read_text()
    assert 'remote "reference"' in config
    assert "remote =" not in config
