"""What every data set hands to the stages after it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Images(Protocol):
    """Pictures by number."""

    def take(self, ids: np.ndarray) -> np.ndarray | Sequence[np.ndarray]:
        """ids (B,) -> uint8 (B, H, W, 3), or a list of (H, W, 3) when sizes differ."""
        ...

    def __len__(self) -> int: ...


class SourceImages(Images, Protocol):
    """Pictures that can say which bytes they come from."""

    def digests(self, ids: np.ndarray) -> list[str]:
        """SHA-256 (hex) of each picture's raw bytes: of its file, or its pixels in order HWC."""
        ...


@dataclass(frozen=True)
class Split:
    """Pictures a run is tested on: the n-th of `images` is that of the n-th row.

    table: id (Int64), label (Int32), path (Utf8, below the root; null where there are no files),
    location (Int32; null where there is none).
    """

    table: pl.DataFrame
    images: Images


@dataclass(frozen=True)
class Dataset:
    """A data set as its official files have it: tables and, beside them, pictures.

    train: image (Int64, 0..N-1, number in train_images), id (Int64, as the official files number
    it), label (Int32), count (Int32, training images of the row's class), path and location as in
    Split. Rows are in an order that does not depend on that of the official files.
    """

    name: str
    imbalance: int | None  # largest over smallest class size; None: as the files are
    classes: list[str]  # spoken names by label: spaces, no underscores
    counts: tuple[int, ...]  # training images by label
    train: pl.DataFrame
    train_images: SourceImages
    splits: dict[str, Split]
    index_hash: str  # of `train`, not of pixels: `index_hash` below

    def sources(self, rows: pl.DataFrame) -> list[str]:
        """SHA-256 (hex) of the raw picture bytes of these rows of `train`, and of no others."""
        return self.train_images.digests(rows["image"].to_numpy())


@dataclass(frozen=True)
class Source:
    """A file to download."""

    file: str  # its name, below the data set's root
    url: str  # of the file, or of the page that explains how to get it
    size: str
    digest: str | None  # "md5:..." or "sha256:..." where one is published
    terms: str


def index_hash(train: pl.DataFrame, content: str = "") -> str:
    """SHA-256 (hex) over the training rows in their order: path (id where null), label, count.

    content: what says which pictures these are, hashed first.

    Rows are hashed as text, whatever their layout in memory. The id of a picture with a path is
    left out: it may be the number of a line.
    """
    digest = hashlib.sha256(content.encode())
    for path, number, label, count in train.select("path", "id", "label", "count").iter_rows():
        name = number if path is None else path
        digest.update(f"{name} {label} {count}\n".encode())
    return digest.hexdigest()
