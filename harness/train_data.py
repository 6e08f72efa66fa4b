"""What a training run is given: tables of rows, pixels, and the test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from harness.types import DataError

COLUMNS = {
    "image": pl.Int64,  # number in the store
    "label": pl.Int32,
    "guidance": pl.Int16,  # hundredths, REAL for real images
    "hard": pl.Boolean,
    "count": pl.Int32,  # real training images of the class
    "score": pl.Float32,  # CLIPScore; null for real images
}


class Images(Protocol):
    """Where training images come from."""

    def take(self, ids: np.ndarray) -> np.ndarray:
        """ids (B,) -> uint8 (B, H, W, 3)."""
        ...


@dataclass(frozen=True)
class TrainData:
    """What a run trains on and is tested with.

    rows and pool: tables with COLUMNS, the real images and all synthetic ones, whatever their
    score; other columns are dropped. mean, std: per channel, of images in [0, 1].
    Raises DataError for tables and arrays that do not fit together.
    """

    rows: pl.DataFrame
    images: Images
    counts: tuple[int, ...]  # real training images by label
    test_images: np.ndarray  # uint8 (N, H, W, 3)
    test_labels: np.ndarray  # (N,)
    test_ids: np.ndarray  # (N,)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pool: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", _columns("rows", self.rows, len(self.counts)))
        if self.pool is not None:
            object.__setattr__(self, "pool", _columns("pool", self.pool, len(self.counts)))
        sizes = [len(part) for part in (self.test_images, self.test_labels, self.test_ids)]
        if len(set(sizes)) > 1 or not sizes[0]:
            raise DataError(f"test images, labels and ids number {sizes}; expected equal, above 0")
        if self.test_images.dtype != np.uint8 or self.test_images.ndim != 4:
            found = f"{self.test_images.dtype} {self.test_images.shape}"
            raise DataError(f"test images are uint8 (N, H, W, 3), not {found}")
        _check_labels("test", self.test_labels, len(self.counts))


def _columns(table: str, rows: pl.DataFrame, classes: int) -> pl.DataFrame:
    for name, dtype in COLUMNS.items():
        found = rows.schema.get(name, "no such column")
        if found != dtype:
            raise DataError(f"{table}: column {name} is {dtype}, found {found}")
    for name in [name for name in COLUMNS if name != "score"]:
        if rows[name].null_count():
            raise DataError(f"{table}: column {name} has {rows[name].null_count()} empty cells")
    _check_labels(table, rows["label"].to_numpy(), classes)
    return rows.select(*COLUMNS)


def _check_labels(table: str, labels: np.ndarray, classes: int) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        found = f"{labels.min()}..{labels.max()}"
        raise DataError(f"{table}: labels are in 0..{classes - 1}, found {found}")
