"""What a training run is given: tables of rows, pixels, and the splits it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from harness.core.errors import DataError
from harness.core.metrics import accuracy

COLUMNS = {
    "image": pl.Int64,  # number in the store
    "label": pl.Int32,
    "guidance": pl.Int16,  # hundredths, REAL for real images
    "hard": pl.Boolean,
    "count": pl.Int32,  # real training images of the class
    "score": pl.Float32,  # CLIPScore; null for real images
    "parent": pl.Int64,  # number of the real image that it was made from, or is
    "caption": pl.Int8,  # which of its class's captions goes with it
}


class Images(Protocol):
    """Where pictures come from."""

    def take(self, ids: np.ndarray) -> np.ndarray | Sequence[np.ndarray]:
        """ids (B,) -> uint8 (B, H, W, 3), or a list of (H, W, 3) when sizes differ."""
        ...


@dataclass(frozen=True)
class Split:
    """Pictures a run is tested on: the n-th of `images` is that of labels[n] and ids[n]."""

    images: Images
    labels: np.ndarray  # (N,)
    ids: np.ndarray  # (N,) as the predictions name them

    def first(self, share: float) -> np.ndarray:
        """Places (n,), ascending, of this share of each class's pictures, the first by id.

        Rounded up: a class that has pictures keeps one.
        """
        order = np.lexsort((self.ids, self.labels))
        n = np.bincount(self.labels)
        rank = np.arange(len(order)) - (np.cumsum(n) - n)[self.labels[order]]
        most = np.ceil((share * n).round(9))
        return np.sort(order[rank < most[self.labels[order]]])


@dataclass(frozen=True)
class TrainData:
    """What a run trains on and is tested with.

    rows and pool: tables with COLUMNS, the real images and all synthetic ones, whatever their
    score; other columns are dropped. mean, std: per channel, of images in [0, 1].
    levels: by epoch, the guidance levels (hundredths) of the run that a control repeats.
    test, val: the splits on which `metric` selects an epoch (oracle, best_val); val None: there is
    no validation split. Raises DataError for tables and arrays that do not fit together.
    """

    rows: pl.DataFrame
    images: Images
    counts: tuple[int, ...]  # real training images by label
    splits: dict[str, Split]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pool: pl.DataFrame | None = None
    captions: tuple[tuple[str, ...], ...] = ()  # by label
    test: str = "test"
    val: str | None = None
    metric: Callable[[np.ndarray, np.ndarray], float] = accuracy
    pretrained: str | None = None  # where the recipe's pretrained model lies; None: by its name
    levels: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", _columns("rows", self.rows, len(self.counts)))
        if self.pool is not None:
            object.__setattr__(self, "pool", _columns("pool", self.pool, len(self.counts)))
        for name in {self.test, self.val or self.test} - self.splits.keys():
            raise DataError(f"no split {name!r}; available: {', '.join(self.splits) or 'none'}")
        for name, split in self.splits.items():
            if len(split.labels) != len(split.ids) or not len(split.ids):
                sizes = f"{len(split.labels)} labels, {len(split.ids)} ids"
                raise DataError(f"split {name}: {sizes}; expected as many of each, above 0")
            _check_labels(f"split {name}", split.labels, len(self.counts))


def _columns(table: str, rows: pl.DataFrame, classes: int) -> pl.DataFrame:
    for name, dtype in COLUMNS.items():
        actual = rows.schema.get(name, "no such column")
        if actual != dtype:
            raise DataError(f"{table}: column {name} is {dtype}, found {actual}")
    for name in [name for name in COLUMNS if name != "score"]:
        if rows[name].null_count():
            raise DataError(f"{table}: column {name} has {rows[name].null_count()} empty cells")
    _check_labels(table, rows["label"].to_numpy(), classes)
    return rows.select(*COLUMNS)


def _check_labels(table: str, labels: np.ndarray, classes: int) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        span = f"{labels.min()}..{labels.max()}"
        raise DataError(f"{table}: labels are in 0..{classes - 1}, found {span}")


def batches(n: int, size: int, ranks: int = 1) -> Iterator[slice]:
    """Slices of `size`; the rest is a batch too, in which every rank has as many.

    A rest that gives a rank fewer than two images joins the batch before it, because batch norm
    cannot train on a single 1x1 map; with several ranks, a remainder of fewer than `ranks` is left
    out.
    """
    n -= n % ranks if n > ranks else 0
    first = 0
    while first < n:
        last = n if n - first - size < 2 * ranks else first + size
        yield slice(first, last)
        first = last
