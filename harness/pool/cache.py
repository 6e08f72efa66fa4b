"""The pool of synthetic images on disk: its index, reading, scores, checking and cleaning.

<pool>/images/g050/part-<12 hex>.arrow   the images (harness/pool/shards.py), the only truth
<pool>/index.parquet                     one row per image with its place; rebuilt at any time
<pool>/scores-<clip model>.parquet       raw scores of one scoring model
<pool>/pixels-<16 hex>.u8                decoded pixels, derived, for pictures up to 64 px
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import operator
import os
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from harness.core.digests import Damaged, damaged
from harness.core.errors import DataError, UsageError
from harness.core.files import atomic, leftovers, sweep
from harness.core.locks import is_locked, locked
from harness.core.specs import SMALL_UP_TO_PX
from harness.datasets.codec import decode, encode, resized
from harness.pool.index import (
    INDEX,
    build_index,
    current_index,
    images_by,
    index_of,
    pending,
    read_index,
    shard_index,
)
from harness.pool.scores import (
    SCORES,
    keep_scores,
    read_scores,
    scores_path,
    scores_to_extend,
    write_scores,
)
from harness.pool.shards import (
    AGAIN,
    REQUEST,
    ROWS_PER_SHARD,
    Shard,
    is_shard_name,
    is_written,
    open_shard,
    plan_shards,
    request_rows,
    shard_paths,
    write_shard,
)

__all__ = [
    "INDEX", "REQUEST", "ROWS_PER_SHARD", "SCORES", "Shard", "build_index", "decode", "encode",
    "gc", "images_by", "is_written", "pending", "pixels", "plan_shards", "read_bytes", "read_index",
    "read_scores", "request_rows", "scores_path", "scores_to_extend", "verify", "write_scores",
    "write_shard",
]  # fmt: skip

_CHUNK = 1024  # images decoded at once


# ---------------------------------------------------------------- reading


def read_bytes(pool: Path, rows: pl.DataFrame) -> list[bytes]:
    """Encoded images of index rows, in their order; each is checked against its crc32.

    Raises DataError that names shard and key when a file is missing, cut off or changed.
    """
    images: list[bytes] = [b""] * len(rows)
    places = rows.select("shard", "offset", "size", "crc32", "key").with_row_index("place")
    ordered = places.sort("shard", "offset").select(pl.col("shard"), pl.exclude("shard"))
    for shard, group in itertools.groupby(ordered.iter_rows(), operator.itemgetter(0)):
        path = pool / shard
        try:
            with open(path, "rb", buffering=0) as file:
                for _, place, offset, size, crc32, image in group:
                    images[place] = os.pread(file.fileno(), size, offset)
                    if zlib.crc32(images[place]) != crc32:
                        why = f"image {image} is not what was written"
                        raise damaged(path, why, AGAIN)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
    return images


def read_pixels(pool: Path, rows: pl.DataFrame) -> np.ndarray:
    """Decoded images of index rows, uint8 (N, H, W, 3); DataError when their sizes differ."""
    images = [decode(data) for data in read_bytes(pool, rows)]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise DataError(f"images of different sizes in {pool}: {shapes[0]} and {shapes[1]}")
    return np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)


def pixels(pool: Path, index: pl.DataFrame, side_px: int | None = None) -> np.ndarray:
    """All images of an index as one mapped array, uint8 (N, H, W, 3), row i for index row i.

    side_px: side of the square to bring them to, where the data set's own pictures are smaller
    than the generator's; None leaves them as they are. Decoded once into a derived file that later
    calls and other processes share (shared memory, and 34 to 90 times faster than decoding); for
    pictures up to 64 px, larger ones are a UsageError.
    """
    if not len(index):
        return np.zeros((0, 0, 0, 3), np.uint8)
    first = _read(pool, index[:1], side_px)
    shape = (len(index), *first.shape[1:])
    if max(shape[1:3]) > SMALL_UP_TO_PX:
        size = f"{shape[2]}x{shape[1]} px"
        raise UsageError(f"{pool} holds pictures of {size}, pixels are for {SMALL_UP_TO_PX} px")
    content = f"{side_px}\n" if side_px else ""
    content += "".join(f"{k} {crc32}\n" for k, crc32 in index.select("key", "crc32").iter_rows())
    path = pool / f"pixels-{hashlib.sha256(content.encode()).hexdigest()[:16]}.u8"
    while True:
        if not _whole(path, shape):
            _write_pixels(path, pool, index, shape, side_px)
        with contextlib.suppress(FileNotFoundError):  # `gc` came between
            return np.memmap(path, np.uint8, "r", shape=shape)


def _read(pool: Path, rows: pl.DataFrame, side_px: int | None) -> np.ndarray:
    block = read_pixels(pool, rows)
    return block if side_px is None else np.stack([resized(image, side_px) for image in block])


def _write_pixels(
    path: Path, pool: Path, index: pl.DataFrame, shape: tuple[int, ...], side_px: int | None
) -> None:
    crc32 = 0
    with atomic(path) as file:
        for rows in index.iter_slices(_CHUNK):
            block = _read(pool, rows, side_px)
            if block.shape[1:] != shape[1:]:
                raise DataError(f"images of different sizes in {pool}: {block.shape} and {shape}")
            crc32 = zlib.crc32(block.data, crc32)
            file.write(block.data)
        file.write(crc32.to_bytes(4, "little"))


def _whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether the derived file is there with its crc32 (last 4 bytes, little endian)."""
    size = int(np.prod(shape))
    try:
        if path.stat().st_size != size + 4:
            return False
        data = np.memmap(path, np.uint8, "r")
    except FileNotFoundError:
        return False
    return zlib.crc32(data[:size].data) == int.from_bytes(data[size:].tobytes(), "little")


# ---------------------------------------------------------------- checking and cleaning


def verify(pool: Path) -> list[str]:
    """Read every byte of the images; what is wrong, one sentence each, [] for nothing.

    What a running writer has not come to yet is not wrong.
    """
    busy = is_locked(pool)
    problems = [f"{tmp}: left by a writer that was killed" for tmp in leftovers(pool)]
    known = shard_paths(pool)
    others = sorted(p for p in (pool / "images").rglob("*") if p.is_file() and p.suffix != ".tmp")
    problems += [f"{path}: not a shard" for path in others if not is_shard_name(path)]
    broken = [str(e) for path in known if (e := _damage(pool, path)) is not None and path.exists()]
    if known and not broken and not busy:
        index = current_index(pool)
        sound = index is not None and index.equals(index_of(pool))
        if not sound and not is_locked(pool) and shard_paths(pool) == known:
            broken = [f"{pool / 'index.parquet'}: missing, damaged or not that of the shards"]
    return problems + broken


def gc(pool: Path, keep_generators: Collection[str]) -> list[Path]:
    """Remove what is stale and return it; index and scores then follow the shards that are left.

    Stale are shards of generators (keys) not to keep, damaged shards, derived pixels, and what
    killed writers left. Waits for those that write images or scores now.
    """
    if not keep_generators:
        raise UsageError("name at least one generator to keep; to drop a whole pool delete it")
    if not pool.is_dir():
        raise DataError(f"there is no pool of synthetic images at {pool}")
    with locked(pool):
        return _gc(pool, keep_generators)


def _gc(pool: Path, keep_generators: Collection[str]) -> list[Path]:
    stale = []
    for path in shard_paths(pool):
        damage = _damage(pool, path)
        if damage is not None and not isinstance(damage, Damaged):
            raise damage
        if damage is not None or open_shard(path).generator not in keep_generators:
            stale.append(path)
    stale += sorted([*pool.glob("pixels-*.u8"), *pool.glob("scoring/*/part-*.parquet")])
    try:
        for path in stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot remove {error.filename}: {error.strerror}") from error
    removed = sweep(pool) + stale
    keep_scores(pool, build_index(pool))
    return removed


def repair(pool: Path) -> list[Path]:
    """Remove damaged shards, of whatever generator, and what killed writers left; returns them.

    The index then follows the shards that are left.
    """
    removed = sweep(pool)
    for path in shard_paths(pool):
        if isinstance(_damage(pool, path), Damaged):
            path.unlink(missing_ok=True)
            removed.append(path)
    build_index(pool)
    return removed


def _damage(pool: Path, path: Path) -> DataError | None:
    """What reading all of a shard raises; None for a whole one."""
    try:
        read_bytes(pool, shard_index(pool, path))
    except DataError as error:
        return error
    return None
