"""Stage `index`: the training rows of every imbalance ratio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import polars as pl

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.specs import Recipe
from harness.datasets.base import Dataset
from harness.mini.weights import BUILT_IN
from harness.pipeline.stages import tables
from harness.pipeline.workspace import DATASETS, Workspace


def index(workspace: Workspace) -> pl.DataFrame:
    """The training rows of every imbalance ratio; writes work/.../index.parquet.

    Columns imbalance, id, label, classname, count. The built-in profiles first write their data
    set in its official format. DataError of all that the cheap part of its check refuses.
    """
    if workspace.root is None and workspace.recipe.generator == BUILT_IN:
        if not hasattr(workspace.module, "write_built_in"):
            why = "is not part of the built-in world: name the folder of its files by --root"
            raise UsageError(f"{workspace.module.NAME} {why}")
        workspace.module.write_built_in(workspace.data, workspace.profile)
    workspace.module.check(workspace.data, workspace.recipe, False, downloads=False)
    table = pl.concat(_training_rows(workspace, ratio) for ratio in workspace.imbalances())
    tables.write(workspace.work / "index.parquet", table)
    return table


def _training_rows(workspace: Workspace, imbalance: int | None) -> pl.DataFrame:
    data = load(workspace, imbalance)
    return data.train.select(
        pl.lit(imbalance, pl.Int32).alias("imbalance"),
        "id",
        "label",
        pl.Series("classname", [data.classes[i] for i in data.train["label"]], pl.String),
        "count",
    )


def load(workspace: Workspace, imbalance: int | None) -> Dataset:
    """The data set at an imbalance ratio, read once per process."""
    return _load(workspace.dataset, str(workspace.data), imbalance, workspace.recipe)


@lru_cache(maxsize=4)
def _load(dataset: str, root: str, imbalance: int | None, recipe: Recipe) -> Dataset:
    data: Dataset = registry.find(DATASETS, dataset).load(Path(root), imbalance, recipe)
    return data
