"""Stage `hard`: the training images that get a spectrum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from harness.pipeline.stages import tables
from harness.pipeline.stages.index_table import load
from harness.pipeline.workspace import Workspace

Judge = Callable[[int | None], np.ndarray]


def hard(workspace: Workspace, judge: Judge | None = None) -> pl.DataFrame:
    """The hard samples of every imbalance ratio; writes work/.../hard.parquet.

    index's columns and source, the SHA-256 of the picture's raw bytes. judge: gives p(true class)
    of the training images (N,) at an imbalance ratio where the data set's rule asks for it.
    """
    rows = tables.read(workspace.work / "index.parquet", "harness index")
    parts = []
    for imbalance in workspace.imbalances():
        data = load(workspace, imbalance)
        p_true = judge(imbalance) if judge is not None and workspace.hard_by else None
        samples = workspace.module.hard(data, workspace.recipe, p_true)
        sources = pl.Series("source", data.sources(samples), pl.String)
        samples = samples.select("id").with_columns(sources)
        of_ratio = rows.filter(tables.at_imbalance(imbalance))
        parts.append(of_ratio.join(samples, on="id", how="inner", maintain_order="left"))
    table = pl.concat(parts)
    tables.write(workspace.work / "hard.parquet", table)
    return table
