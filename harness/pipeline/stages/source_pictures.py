"""The real pictures that synthetic images are made from and compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from harness.core.errors import DataError
from harness.datasets.codec import resized
from harness.pipeline.stages import tables
from harness.pipeline.stages.index_table import load
from harness.pipeline.workspace import Workspace

AT_ONCE = 16  # pictures that are in memory at their own size


def pictures(workspace: Workspace, sources: Iterable[str], strict: bool = True) -> dict[str, Any]:
    """Source pictures by hash, uint8 (height, width, 3), at the generator's size.

    strict: a picture that cannot be read raises its DataError; else the error stands in its place.
    """
    wanted, recipe = set(sources), workspace.recipe
    by_source: dict[str, Any] = {}
    samples = tables.read(workspace.work / "hard.parquet", "harness hard")
    for imbalance in workspace.imbalances():
        data = load(workspace, imbalance)
        rows = samples.filter(
            tables.at_imbalance(imbalance),
            pl.col("source").is_in(list(wanted - by_source.keys())),
        ).unique("source", maintain_order=True)
        rows = rows.join(data.train.select("id", "image"), on="id", maintain_order="left")
        for some in rows.iter_slices(AT_ONCE):
            ids, images = some["image"].to_numpy(), data.train_images
            digests = _read(images.digests, ids, strict)
            pixels = _read(images.take, ids, strict)
            for source, digest, picture in zip(some["source"], digests, pixels, strict=True):
                errors = [e for e in (digest, picture) if isinstance(e, DataError)]
                if errors:
                    by_source[source] = errors[0]
                elif digest == source:
                    by_source[source] = resized(np.array(picture), recipe.size_px, recipe.height_px)
    if len(by_source) < len(wanted):
        gone = f"{len(wanted) - len(by_source)} of {len(wanted)} source pictures"
        raise DataError(
            f"{gone} are not in {workspace.data}; `harness index` and `harness hard` list "
            "what is there"
        )
    return by_source


def _read(function: Callable[[np.ndarray], Any], ids: np.ndarray, strict: bool) -> Any:
    """function(ids); unless strict, one by one where that fails, with errors in their places."""
    try:
        return function(ids)
    except DataError:
        if strict:
            raise
        return list(_one_by_one(function, ids))


def _one_by_one(function: Callable[[np.ndarray], Any], ids: np.ndarray) -> Iterator[Any]:
    for i in range(len(ids)):
        try:
            yield function(ids[i : i + 1])[0]
        except DataError as error:
            yield error
