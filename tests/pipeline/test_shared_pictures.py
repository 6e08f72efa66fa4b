"""One picture in two classes, two classes of one name, two generators in one pool."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cifar_files
import numpy as np
import polars as pl
import pytest
import small_workspace

from harness import api
from harness.core import parallel
from harness.core.errors import UsageError
from harness.methods.compose import compose
from harness.mini import weights
from harness.pipeline import pool_statistics, run_data, runs, stages
from harness.pipeline.jobs import plan, spectrum
from harness.pipeline.workspace import Workspace
from harness.planning.dataset_sizes import facts, hard_sources
from harness.planning.profile_data import reading
from harness.pool import cache
from harness.report.gallery import gallery

SET, ROW = "cifar100-lt", "CE+DisCL"
CELLS = 2 * small_workspace.SPECTRUM  # images of a sample: levels and seeds


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield


def walk(workspace: Workspace) -> int:
    stages.index(workspace)
    stages.hard(workspace)
    images = stages.generate(workspace)
    stages.score(workspace)
    return images


def shared(folder: Path, one_name: bool) -> Path:
    """Classes 2 and 3 hold the same picture, more than once; one_name: and share their name."""
    data = small_workspace.write_data(folder)
    train = data / "cifar-100-python" / "train"
    content = pickle.loads(train.read_bytes())
    labels = np.array(content[b"fine_labels"])
    content[b"data"][labels == 3] = content[b"data"][0]
    content[b"data"][np.flatnonzero(labels == 2)[::2]] = content[b"data"][0]
    cifar_files.dump(train, content)
    if one_name:
        names = [b"aquarium_fish", b"apple", b"bear", b"bear"]  # whose prompts fit the tiny model
        about = {b"fine_label_names": names, b"coarse_label_names": [b"all"]}
        cifar_files.dump(data / "cifar-100-python" / "meta", about)
    return data


@pytest.fixture(scope="module", params=[False, True], ids=["two names", "one name"])
def workspace(request: Any, tmp_path_factory: pytest.TempPathFactory, quick: None) -> Workspace:
    data = shared(tmp_path_factory.mktemp("data"), request.param)
    workspace = small_workspace.workspace(tmp_path_factory.mktemp("home"), data)
    hard = hard_table(workspace)
    shown = hard.unique(("source", "classname"))
    assert walk(workspace) == len(shown) * CELLS
    assert hard["source"].n_unique() < len(hard.unique(("source", "label")))
    return workspace


def hard_table(workspace: Workspace) -> pl.DataFrame:
    stages.index(workspace)
    return stages.hard(workspace)


def pool_rows(workspace: Workspace, imbalance: int) -> pl.DataFrame:
    """What a run reads: the label of each row, and source and class name of its image."""
    data = run_data.train_data(workspace, imbalance, compose(ROW, SET, "smoke"))
    index = stages.pool_index(workspace).with_row_index("place")
    place = (pl.col("image") - len(data.rows)).cast(pl.UInt32).alias("place")
    rows = data.pool.with_columns(place).join(index, on="place", maintain_order="left")
    assert len(rows) == len(data.pool)
    return rows


@pytest.mark.parametrize("imbalance", [100, 50])
def test_an_image_trains_the_labels_it_was_made_for(workspace, imbalance):
    classes = stages.load(workspace, imbalance).classes
    rows = pool_rows(workspace, imbalance)
    assert rows["classname"].to_list() == [classes[label] for label in rows["label"]]
    hard = stages.read(workspace.work / "hard.parquet", "")
    samples = hard.filter(stages.at_imbalance(imbalance)).select("source", "label").unique()
    pairs = rows.group_by("source", "label").len()
    assert (
        pairs.select("source", "label")
        .sort("source", "label")
        .equals(samples.sort("source", "label"))
    )
    assert set(pairs["len"]) == {CELLS}


def test_the_parent_of_an_image_is_a_picture_of_its_class(workspace):
    data = run_data.train_data(workspace, 50, compose(ROW, SET, "smoke"))
    labels = dict(data.rows.select("image", "label").rows())
    assert [labels[parent] for parent in data.pool["parent"]] == data.pool["label"].to_list()


def test_tables_and_counts_go_by_label(workspace):
    hard = stages.read(workspace.work / "hard.parquet", "")
    table = stages.read(workspace.work / "spectrum.parquet", "")
    samples = hard.unique(("source", "label"))
    assert len(table) == len(samples) * CELLS
    assert table.select("key", "label").is_unique().all()
    images = hard.unique(("source", "classname")).height
    assert table["key"].n_unique() == images * CELLS == len(stages.requests(workspace))
    sizes = [facts(workspace, ratio) for ratio in workspace.imbalances()]
    assert hard_sources(workspace, sizes) == images
    counts = {c.imbalance: c.generated for c in pool_statistics.count(workspace)}
    assert counts == {r: spectrum(workspace, r)["key"].n_unique() for r in (100, 50)}


def test_the_pool_by_name_has_a_row_for_each_label(workspace):
    options = {"profile": "smoke", "home": workspace.home, "root": workspace.root}
    pool = api.open_pool(SET, **options, set=small_workspace.SMALL)
    table = stages.read(workspace.work / "spectrum.parquet", "").select("key", "label")
    assert pool.table.select("key", "label").sort("key", "label").equals(table)
    assert all(pool.classes[row["label"]] == row["classname"] for row in pool.table.to_dicts())


def test_the_gallery_shows_each_class_of_its_own(workspace):
    shown = gallery(workspace, 10_000)
    samples = stages.read(workspace.work / "hard.parquet", "").unique(("source", "label"))
    assert shown.sources == len(shown.plain["sources"]) == len(samples)
    names = shown.plain["classes"]
    assert len(names) == len(set(names)) == 2
    by_class = [source["class"] for source in shown.plain["sources"]]
    assert sorted(map(by_class.count, (0, 1))) == sorted(
        samples.group_by("label").len()["len"].to_list()
    )


def test_which_labels_share_an_image_is_part_of_the_pool_key(workspace):
    rows = spectrum(workspace, 50)
    other = rows.with_columns(label=pl.col("label") + 1)
    same = stages.pool_key(rows, "s") == stages.pool_key(other, "s")
    assert same == rows["key"].is_unique().all()
    fewer = rows.unique("key")
    assert (stages.pool_key(rows, "s") == stages.pool_key(fewer, "s")) == (len(fewer) == len(rows))


# ---------------------------------------------------------------- two generators in one pool


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Any:
    """Pictures of 32 px, then of 16 px, in one pool; both workspaces."""
    home = tmp_path_factory.mktemp("home")
    data = small_workspace.write_data(tmp_path_factory.mktemp("data"))
    both = [small_workspace.workspace(home, data, size_px=px) for px in (32, 16)]
    for workspace in both:
        assert walk(workspace) == small_workspace.HARD * CELLS
    return both


@pytest.mark.parametrize("n", [0, 1])
def test_only_images_of_the_present_generator_are_read(mixed, n):
    workspace = mixed[n]
    assert walk(workspace) == 0
    px = workspace.recipe.size_px
    images = small_workspace.HARD * CELLS
    assert len(cache.read_index(workspace.pool)) == 2 * images
    assert cache.verify(workspace.pool) == []
    rows = pool_rows(workspace, 50)
    assert set(rows["generator"]) == {stages.generator_key(workspace)}
    assert gallery(workspace, 10_000).total == images
    assert reading(workspace)["images"] == images
    options = {"profile": "smoke", "home": workspace.home, "root": workspace.root}
    pool = api.open_pool(SET, **options, set=small_workspace.SMALL | {"size_px": px})
    assert {pool[i]["image"].shape for i in range(0, len(pool), 7)} == {(px, px, 3)}
    assert len(pool) == images
    with pytest.raises(UsageError, match="several generators"):
        api.open_pool(workspace.pool)
    assert runs.run(plan(workspace, [ROW], [50], [0])) in (1, 2)


def test_a_table_of_scores_by_an_older_version_is_made_anew(mixed, tmp_path):
    shutil.copytree(mixed[0].home, tmp_path / "home")
    workspace = small_workspace.workspace(tmp_path / "home", mixed[0].root)
    walk(workspace)
    path = workspace.work / "spectrum.parquet"
    table = pl.read_parquet(path)
    table.drop("label").write_parquet(path)
    with pytest.raises(Exception, match="`harness score` makes it again"):
        plan(workspace, [ROW], [50], [0])
    assert stages.score(workspace) == 0
    assert pl.read_parquet(path).equals(table)
