"""A part of a data set: a few pictures of a few classes, for stages that are to take seconds."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from harness.datasets.base import Dataset, Split, index_hash
from harness.datasets.pictures import Block, Files
from harness.pipeline.stages import index_table

CLASSES = 2  # of the smallest, and of the largest
TRAINED = (4, 22)  # pictures of a small and of a large class; of large ones 20 or more
FEWER = (2, 6)  # where no class size says what is hard
TESTED = 2  # of each class


def thin(data: Dataset) -> Dataset:
    """Some pictures of the smallest and the largest classes, under labels of their own."""
    order = np.argsort(data.counts, kind="stable")
    few, many = FEWER if data.name == "iwildcam" else TRAINED
    sizes = dict.fromkeys(order[:CLASSES].tolist(), few)
    sizes |= dict.fromkeys(order[-CLASSES:].tolist(), many)
    labels = {label: number for number, label in enumerate(sorted(sizes))}
    train = _some(data.train, sizes, labels)
    counts = np.bincount(train["label"].to_numpy(), minlength=len(labels))
    images = _chosen(data.train_images, train["image"].to_numpy())
    count = pl.Series("count", counts[train["label"].to_numpy()], pl.Int32)
    train = train.with_columns(count, image=pl.int_range(pl.len(), dtype=pl.Int64))
    splits = {}
    for name, split in data.splits.items():
        numbered = split.table.with_row_index("place")
        table = _some(numbered, dict.fromkeys(sizes, TESTED), labels)
        places = table["place"].to_numpy()
        splits[name] = Split(table.drop("place"), _chosen(split.images, places))
    return replace(
        data,
        classes=[data.classes[label] for label in sorted(sizes)],
        counts=tuple(counts.tolist()),
        train=train,
        train_images=images,
        splits=splits,
        index_hash=index_hash(train),
    )


@contextlib.contextmanager
def thinned() -> Iterator[dict[int | None, dict[str, int]]]:
    """The stages of this process load a part of a data set; the sizes of the whole by ratio."""
    whole, read = index_table._load, dict[int | None, dict[str, int]]()

    @functools.cache
    def load(dataset: str, root: str, imbalance: int | None, recipe: Any) -> Dataset:
        data = whole(dataset, root, imbalance, recipe)
        read[imbalance] = {"train": len(data.train), "classes": len(data.classes)}
        return thin(data)

    index_table._load = load
    try:
        yield read
    finally:
        index_table._load = whole


def _some(table: pl.DataFrame, sizes: dict[int, int], labels: dict[int, int]) -> pl.DataFrame:
    """The first rows of these classes."""
    parts = [table.filter(pl.col("label") == label).head(n) for label, n in sizes.items()]
    rows = pl.concat(parts).sort("id")
    return rows.with_columns(pl.col("label").replace(labels).cast(pl.Int32))


def _chosen(images: Any, ids: np.ndarray) -> Any:
    if isinstance(images, Block):
        return Block(images.take(ids))
    assert isinstance(images, Files)
    return Files(images.root, [images.paths[i] for i in ids.tolist()], listing=images.listing)
