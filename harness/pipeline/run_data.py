"""What a run is trained on: rows, pixels and splits of a data set, and the pool's rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from harness.core.errors import DataError
from harness.core.guidance import REAL
from harness.core.specs import SMALL_UP_TO_PX
from harness.datasets.base import Dataset, Images
from harness.datasets.pictures import Block
from harness.methods.terms import Method
from harness.pipeline import stages
from harness.pipeline.jobs import hard, needs_hard, spectrum
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.pool.reader import Pool
from harness.training.numbered_images import Store

RAW_GIB = 16  # of disk space for pictures of a pool as raw pixels


def train_data(workspace: Workspace, imbalance: int | None, method: Method) -> Any:
    """The training loop's view of a data set: rows, pixels, splits and the pool's rows."""
    from harness.training.data import Split, TrainData

    data, module = stages.load(workspace, imbalance), workspace.module
    is_hard = pl.lit(False)
    if needs_hard(method):
        is_hard = pl.col("id").is_in(hard(workspace, imbalance)["id"].to_list())
    rows = data.train.select(
        "image",
        "label",
        pl.lit(REAL, pl.Int16).alias("guidance"),
        is_hard.alias("hard"),
        "count",
        pl.lit(None, pl.Float32).alias("score"),
        pl.col("image").alias("parent"),
        pl.lit(0, pl.Int8).alias("caption"),
    )
    pool, synthetic = (None, None)
    if method.reads is not None:
        pool, synthetic = _pool_rows(workspace, data, method)
    splits = {
        name: Split(s.images, s.table["label"].to_numpy(), s.table["id"].to_numpy())
        for name, s in data.splits.items()
    }
    return TrainData(
        rows=rows,
        images=Store(data.train_images, synthetic),
        counts=data.counts,
        splits=splits,
        mean=module.MEAN,
        std=module.STD,
        pool=pool,
        captions=tuple(module.captions(name) for name in data.classes),
        pretrained=workspace.recipe.pretrained,
        test=module.TEST,
        val=module.VAL,
        metric=module.metric,
    )


def _pool_rows(workspace: Workspace, data: Dataset, method: Method) -> tuple[Any, Any]:
    """Rows of the pool, numbered after the real images, and the mapped pixels they number."""
    assert method.reads is not None
    rows = spectrum(workspace, data.imbalance, method.reads, method.levels)
    index = cache.read_index(workspace.pool)
    generators = index.join(rows, on="key", how="semi")["generator"].unique()
    index = index.filter(pl.col("generator").is_in(generators.to_list()))
    pixels = _pool_images(workspace, index)
    places = index.select("key").with_row_index("place")
    rows = rows.join(places, on="key", how="left", maintain_order="left")
    if rows["place"].null_count():
        raise DataError(
            f"{rows['place'].null_count()} scored images are gone from {workspace.pool}"
        )
    about = data.train.select("id", "label", "count", pl.col("image").alias("parent"))
    about = hard(workspace, data.imbalance).select("id", "source").join(about, on="id")
    about = about.unique(("source", "label"), keep="first", maintain_order=True)
    rows = rows.join(about, on=("source", "label"), maintain_order="left").select(
        (pl.col("place").cast(pl.Int64) + len(data.train)).alias("image"),
        "label",
        "guidance",
        pl.lit(True).alias("hard"),
        "count",
        pl.col("text_score").alias("score"),
        "parent",
        pl.lit(0, pl.Int8).alias("caption"),
    )
    return rows, pixels


def _pool_images(workspace: Workspace, index: pl.DataFrame) -> Images:
    """The pool's pictures by their place in the index.

    They are brought to the network's side where the recipe's view does not do that itself. Small
    ones are decoded once, into a map of raw pixels of at most RAW_GIB on the disk.
    """
    recipe = workspace.recipe
    sides = {recipe.size_px, recipe.height_px or recipe.size_px}
    fixed = recipe.augment in ("crop-flip", "none") and sides != {recipe.view_px}
    side = recipe.view_px if fixed else None
    seen = side or max(sides)
    if seen <= SMALL_UP_TO_PX and len(index) * seen * seen * 3 <= RAW_GIB * 2**30:
        return Block(cache.pixels(workspace.pool, index, side))
    return Pool(workspace.pool, index, side_px=side)
