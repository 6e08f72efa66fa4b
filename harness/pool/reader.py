"""Reading the pool for training: batches of decoded pictures, in an order that a seed decides."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from harness.core.digests import Damaged, damaged
from harness.core.errors import DataError, UsageError, brief
from harness.datasets.codec import decode, resized
from harness.datasets.pictures import threads
from harness.pool import cache
from harness.pool.shards import AGAIN

T = TypeVar("T")
Change = Callable[[Any, np.random.Generator], Any]  # of a batch as `take` gives it


class Pool:
    """Synthetic images of an index (cache.INDEX) as a map-style dataset; item i is row i's.

    pool[i] is a picture, uint8 (H, W, 3), as `torch.utils.data.DataLoader` and others want it; they
    decode whole batches at once through `__getitems__`. Several processes and threads may read: a
    copy in another process opens the files itself. Every image is checked against its crc32.
    score: (N,), NaN where there is none. side_px: side of the square to bring pictures to; None
    leaves them as they are. workers: threads that decode.
    """

    def __init__(
        self,
        pool: Path,
        index: pl.DataFrame,
        scores: pl.DataFrame | None = None,
        side_px: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.pool, self.side_px, self.workers = pool, side_px, workers or threads()
        self.keys = index["key"]
        self.guidance = index["guidance"].to_numpy()
        self.score = np.full(len(index), np.nan, np.float32)
        if scores is not None:
            joined = index.select("key").join(scores, on="key", how="left", maintain_order="left")
            self.score = joined["text_score"].fill_null(np.nan).to_numpy()
        self.shards = index["shard"].unique().sort().to_list()
        number = pl.Enum(self.shards)
        self.shard = index["shard"].cast(number).to_physical().to_numpy()
        self.offset, self.size = (index[name].to_numpy() for name in ("offset", "size"))
        self.crc32 = index["crc32"].to_numpy()
        self.ids = np.arange(len(index))
        self._begin()

    def _begin(self) -> None:
        self._maps: dict[int, memoryview] = {}  # shards by number; they need no open files
        self._threads: dict[int, ThreadPoolExecutor] = {}  # by process: a fork has none of them

    def __getstate__(self) -> dict[str, Any]:
        """Another process gets the tables, neither maps nor threads."""
        own = ("_maps", "_threads")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> np.ndarray:
        return self._picture(self.ids[i])

    def __getitems__(self, items: Sequence[int]) -> list[np.ndarray]:
        return self._pictures(self.ids[np.asarray(items, np.int64)])

    def take(self, ids: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """ids (B,) -> uint8 (B, H, W, 3), or a list of (H, W, 3) when sizes differ."""
        rows = self.ids[np.asarray(ids, np.int64)]
        if not len(rows):
            return []
        first = self._picture(rows[0])
        block = np.empty((len(rows), *first.shape), np.uint8)
        block[0] = first
        work = partial(self._fill, block, rows)
        whole = all(self._each(work, range(1, len(rows))))
        return block if whole else self._pictures(rows)

    def subset(self, levels: Sequence[int] | None = None, threshold: float | None = None) -> Pool:
        """Images of some guidance levels (hundredths) with a score of at least the threshold.

        Only the numbers of the images are new: tables, maps and threads are shared.
        UsageError for a threshold where images have no score.
        """
        keep = np.ones(len(self.ids), bool)
        if levels is not None:
            keep &= np.isin(self.guidance[self.ids], np.asarray(levels, np.int16))
        if threshold is not None:
            score = self.score[self.ids]
            if np.isnan(score[keep]).any():
                lacking = int(np.isnan(score[keep]).sum())
                raise UsageError(f"{lacking} images have no score that a threshold could look at")
            keep &= score >= np.float32(threshold)
        other = Pool.__new__(Pool)
        vars(other).update(vars(self) | {"ids": self.ids[keep]})
        return other

    def batches(
        self, batch: int, seed: int, epoch: int = 0, change: Change | None = None
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Numbers (B,) and pictures of all images once, shuffled; the last batch may be smaller.

        The order and what `change` draws depend on seed and epoch alone. The next batch is read
        and decoded while the present one is used.
        """
        if batch < 1:
            raise UsageError(f"a batch of {batch} images; a number from 1")
        order, draws = (np.random.default_rng([seed, epoch, n]) for n in (0, 1))
        ids = order.permutation(len(self))
        if not len(ids):
            return
        parts = np.split(ids, range(batch, len(ids), batch))
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.take, parts[0])
            for n, part in enumerate(parts):
                pictures = coming.result()
                if n + 1 < len(parts):
                    coming = ahead.submit(self.take, parts[n + 1])
                yield part, pictures if change is None else change(pictures, draws)

    def _pictures(self, rows: np.ndarray) -> list[np.ndarray]:
        return self._each(self._picture, rows)

    def _each(self, work: Callable[[Any], T], items: Sequence[Any] | np.ndarray) -> list[T]:
        """work(item) of each, in order, by the threads there are."""
        if self.workers == 1 or len(items) < 2:
            return [work(item) for item in items]
        threads = self._threads.get(os.getpid())
        if threads is None:
            threads = self._threads[os.getpid()] = ThreadPoolExecutor(self.workers, "pool")
        return list(threads.map(work, items))

    def _fill(self, block: np.ndarray, rows: np.ndarray, i: int) -> bool:
        """Decode a picture into block[i]; False when it is of another size."""
        place = block[i]
        try:
            image = self._picture(rows[i], None if self.side_px else place)
        except Damaged:
            raise
        except DataError:  # larger than its place; what else is wrong with it is told later
            return False
        if image.shape != place.shape:
            return False
        if not np.may_share_memory(image, place):
            place[...] = image
        return True

    def _picture(self, row: int, out: np.ndarray | None = None) -> np.ndarray:
        start = int(self.offset[row])
        data = self._map(int(self.shard[row]))[start : start + int(self.size[row])]
        if zlib.crc32(data) != self.crc32[row]:
            where = self.pool / self.shards[self.shard[row]]
            raise damaged(where, f"image {self.keys[int(row)]} is not what was written", AGAIN)
        image = decode(data, out)
        return image if self.side_px is None else resized(image, self.side_px)

    def _map(self, shard: int) -> memoryview:
        if shard not in self._maps:
            path = self.pool / self.shards[shard]
            try:
                with open(path, "rb") as file:
                    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # the latter: an empty file
                raise DataError(f"cannot read {path}: {brief(error)}") from error
            self._maps[shard] = memoryview(whole)
        return self._maps[shard]


def open_pool(
    pool: Path,
    scorer: str | None = None,
    side_px: int | None = None,
    workers: int | None = None,
    generator: str | None = None,
) -> Pool:
    """All images of a pool on disk, with the scores of a scoring model where one is named.

    generator: key of the one whose images are wanted; None takes those of all.
    """
    scores = None if scorer is None else cache.read_scores(pool, scorer)
    index = cache.read_index(pool)
    index = index if generator is None else cache.images_by(index, generator)
    return Pool(pool, index, scores, side_px, workers)
