"""The public Python API: what it returns and what it draws."""

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_pools
import small_workspace
import torch
import yaml

from harness import api
from harness.api.exports import write_export
from harness.api.result import Result
from harness.core import parallel
from harness.core.errors import DataError, UsageError
from harness.mini import weights
from harness.pipeline import stages
from harness.pipeline.request import Choices, resolve
from harness.pool import cache, exports
from harness.results import tables

SET = "cifar100-lt"
ROWS = ["CE", "CE+DisCL"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield


@pytest.fixture(scope="module")
def options(data: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where, and with which recipe."""
    home = tmp_path_factory.mktemp("home")
    (home / "params.yaml").write_text(yaml.safe_dump({"smoke": {SET: small_workspace.SMALL}}))
    return {"profile": "smoke", "home": home, "root": data}


@pytest.fixture(scope="module")
def result(options: dict[str, Any]) -> Result:
    return api.compare(SET, ROWS, seeds=range(2), imbalance=[100], workers=1, **options)


# ---------------------------------------------------------------- results


def test_a_table_has_a_row_per_method(result):
    table = result.table()
    assert table["method"].to_list() == ROWS
    assert table["seeds"].to_list() == [2, 2]
    assert table["imbalance"].to_list() == [100, 100]
    runs = result.runs()
    assert runs.select("method", "seed").rows() == [(m, s) for m in ROWS for s in (0, 1)]
    for column in result.request.paper.columns:
        means = runs.group_by("method", maintain_order=True).agg(pl.col(column.name).mean())
        assert means[column.name].to_list() == pytest.approx(table[column.name].to_list())
    published = table["Overall published"].to_list()
    assert all(0.2 < value < 0.6 for value in published)  # fractions, as ours


def test_it_reads_as_the_command_prints(result):
    text = tables.render(result.leaderboard, "text", None)
    for mean in result.table()["Overall"]:
        assert f"{100 * mean:.{result.request.paper.decimals}f}" in text


def test_differences_by_location(tmp_path):
    """Of the project's records, which hold the locations of iWildCam's test images."""
    some = api.table("iwildcam", home=tmp_path).difference("FLYP", "LP-FT")
    assert some["column"].to_list() == ["OOD", "ID"]
    assert some["locations"].to_list() == [24, 12]
    assert (some["low"] != some["low_by_image"]).all()


def test_differences(result):
    differences = result.difference("CE+DisCL", "CE")
    names = [column.name for column in result.request.paper.columns]
    assert set(differences["column"]) <= set(names)
    table = dict(result.table().select("method", "Overall").rows())
    whole = differences.filter(pl.col("column") == "Overall").row(0, named=True)
    assert whole["difference"] == pytest.approx(table["CE+DisCL"] - table["CE"])
    assert whole["low"] <= whole["difference"] <= whole["high"]
    assert (whole["seeds"], whole["images"]) == (2, 12)
    assert (differences["p_corrected"] >= differences["p"]).all()
    other = result.difference("CE", "CE+DisCL")
    assert other["difference"].to_list() == pytest.approx((-differences["difference"]).to_list())
    with pytest.raises(UsageError, match="mean 'CE'"):
        result.difference("CEE", "CE")
    with pytest.raises(DataError, match="no records of BS at imbalance 100"):
        result.difference("BS", "CE")


def test_it_draws_itself(result):
    html = result._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 1
    assert html.count("<tr>") == 1 + len(ROWS)
    assert "CE+DisCL" in html
    assert f"{100 * result.table()['Overall'][0]:.2f} [" in html  # both seeds predict the same
    assert "<script" not in html


def test_it_draws_the_spread_between_seeds(tmp_path):
    """Of the project's records, of three seeds that differ."""
    some = api.table(SET, home=tmp_path)
    first = some.table().row(0, named=True)
    assert first["Overall sd"] > 0
    cell = f"{100 * first['Overall']:.2f} ± {100 * first['Overall sd']:.2f} "
    assert cell in some._repr_html_()


def test_what_was_run_is_found_again(options, result):
    there = {key: value for key, value in options.items() if key != "root"}
    again = api.table(SET, **there)
    assert "BS+DisCL" in again.table()["method"]
    rows = again.table().filter(pl.col("imbalance") == 100, pl.col("method").is_in(ROWS))
    columns = ["method", "seeds", "Overall"]
    assert rows.select(columns).rows() == result.table().select(columns).rows()
    assert again.runs().height == 4
    trained = api.train(SET, ["CE"], seeds=[0], imbalance=[100], workers=1, **options)
    assert trained.runs().select("method", "seed").rows() == [("CE", 0)]
    assert "<table>" in trained._repr_html_()


def test_overrides_of_the_recipe(options):
    rows = {"rows": ["CE+DisCL"], "seeds": [0], "imbalance": [100]}
    plain = api.plan(SET, **rows, **options).images()["images"].sum()
    more = api.plan(SET, **rows, **options, set={"levels": [0.0, 0.3, 0.5, 0.7]})
    assert more.images()["images"].sum() == 2 * plain
    with pytest.raises(UsageError, match="set: 5 is not a table"):
        api.plan(SET, set=5)


def test_plans(options):
    plan = api.plan(SET, ROWS, seeds=[0, 1, 2], imbalance=[100], tflops=1.0, **options)
    table = plan.table()
    assert table.select("method", "runs").rows() == [(m, 3) for m in ROWS]
    assert table["gpu_h"].to_list() == pytest.approx((table["pflop"] * 1e3 / 3600).to_list())
    assert plan.images()["guidance"].to_list() == [0.0, 0.5]
    assert plan._repr_html_().count("<table>") == 2


def test_methods():
    method = api.compose("discl(levels=(0.5,))+ce", SET)
    assert (method.expression, method.levels) == ("CE+DisCL(levels=(0.5,))", (50,))


# ---------------------------------------------------------------- pools


def test_a_pool_by_name(options, result):
    pool = api.open_pool(SET, **options)
    assert len(pool) == small_workspace.HARD * small_workspace.SPECTRUM * 2
    item = pool[0]
    assert (item["image"].shape, item["image"].dtype) == ((32, 32, 3), "uint8")
    assert pool.classes[item["label"]] == item["classname"]
    assert item["classname"] in item["prompt"]
    assert pool.table["guidance"].unique().sort().to_list() == [0.0, 0.5]
    assert pool.table.select("text_score", "image_score").null_count().sum_horizontal()[0] == 0
    loader = torch.utils.data.DataLoader(pool, batch_size=4)
    batch = next(iter(loader))
    assert batch["image"].shape == (4, 32, 32, 3)
    assert batch["label"].tolist() == [pool[i]["label"] for i in range(4)]
    some = pool.where(pl.col("guidance") == 0.5)
    assert len(some) == len(pool) // 2
    number = int(some.table["number"][0])
    assert (some[0]["image"] == pool[number]["image"]).all()
    assert some[-1]["seed"] == some.table["seed"][-1]
    with pytest.raises(IndexError):
        _ = some[len(some)]
    assert "<table" in pool._repr_html_()


def test_a_pool_by_its_folder(options, result):
    workspace = result.request.workspace
    by_name, by_path = api.open_pool(SET, **options), api.open_pool(workspace.pool)
    assert by_path.table["key"].sort().to_list() == by_name.table["key"].sort().to_list()
    rows = {row["key"]: row for row in by_name.table.iter_rows(named=True)}
    for row in by_path.table.iter_rows(named=True):
        assert row["text_score"] == rows[row["key"]]["text_score"]
        assert row["classname"] == rows[row["key"]]["classname"]
    assert list(by_path.classes.values()) == sorted(by_path.classes.values())
    with pytest.raises(UsageError, match="has no scores of 'other'"):
        api.open_pool(workspace.pool, scorer="other")


def test_the_export_of_a_data_set(options, result, tmp_path):
    workspace = result.request.workspace
    pool = api.open_pool(SET, **options)
    small_pools.make(workspace.pool, small_pools.grid())  # of another generator: left out
    assert write_export(workspace, tmp_path / "out", "files") == len(pool)
    exported = api.open_pool(tmp_path / "out")
    assert exported.table.equals(pool.table)
    assert exported.classes.items() <= pool.classes.items()
    card = (tmp_path / "out" / "README.md").read_text()
    about = yaml.safe_load(card.split("---")[1])
    assert about["license"] == "other"  # its pictures are not those of the built-in world
    assert stages.generator_key(workspace) in card
    other = resolve(Choices(SET, overrides=(("steps", 3),), **options)).workspace
    with pytest.raises(DataError, match="`harness generate` makes them"):
        write_export(other, tmp_path / "none", "files")
    with pytest.raises(DataError, match="`harness hard` makes it"):
        write_export(resolve(Choices(SET, home=tmp_path)).workspace, tmp_path / "none", "files")


@pytest.mark.parametrize("form", ["files", "webdataset", "hf"])
def test_an_export(tmp_path, form):
    pool = tmp_path / "pool"
    index = small_pools.make(pool, small_pools.grid())
    images = small_pools.labelled(index).with_columns(pl.col("label") + 7)
    out = exports.export(pool, images, tmp_path / "out", form)
    opened = api.open_pool(out)
    assert opened.table["key"].to_list() == index["key"].to_list()
    assert opened.classes == {7: "class 0", 8: "class 1"}
    again = pickle.loads(pickle.dumps(opened))
    for i in (0, len(index) - 1):
        key = index["key"][i]
        assert (opened[i]["image"] == small_pools.picture(key)).all()
        assert (again[i]["image"] == opened[i]["image"]).all()
        assert opened[i]["guidance"] == index["guidance"][i] / 100
        assert opened[i]["label"] == int(opened[i]["classname"].removeprefix("class ")) + 7
        assert opened[i]["image_score"] == images["image_score"][i]
    assert math.isnan(opened[0]["text_score"])


def test_pools_that_are_none(tmp_path):
    with pytest.raises(UsageError, match=r"neither a folder nor a data set.*mean 'cifar100-lt'"):
        api.open_pool("cifar10-lt")
    with pytest.raises(UsageError, match="neither a pool nor an export"):
        api.open_pool(tmp_path)
    with pytest.raises(DataError, match="`harness hard` makes it"):
        api.open_pool(SET, home=tmp_path)
    (tmp_path / "metadata.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot read the export"):
        api.open_pool(tmp_path)


def test_scores_of_several_models(tmp_path):
    index = small_pools.make(tmp_path, small_pools.grid())
    for scorer, score in (("one", 0.25), ("two", 0.5)):
        scores = index.select("key", text_score=pl.lit(score), image_score=pl.lit(score))
        cache.write_scores(tmp_path, scorer, scores.cast(cache.SCORES))
    with pytest.raises(UsageError, match=r"several models \(one, two\)"):
        api.open_pool(tmp_path)
    assert api.open_pool(tmp_path, scorer="two")[0]["text_score"] == 0.5
