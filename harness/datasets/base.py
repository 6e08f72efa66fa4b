"""What every data set hands to the stages after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


@dataclass(frozen=True)
class Data:
    """A data set as two tables and their pixels.

    Tables: image (Int64, row of the image block), id (Int64, index in the official file),
    label (Int32), split (Utf8); `train` also count (Int32, training images of the row's class)
    and source (Utf8, SHA-256 of the raw HWC pixel bytes). Image blocks: uint8 (N, H, W, 3).
    """

    name: str
    imbalance: int | None  # largest over smallest class size; None: as the files are
    classes: list[str]  # names by label, spaces instead of underscores
    counts: tuple[int, ...]  # training images by label
    train: pl.DataFrame
    test: pl.DataFrame
    train_images: np.ndarray
    test_images: np.ndarray
    index_hash: str  # SHA-256 over the training table, whose sources cover the pixels
