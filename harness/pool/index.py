"""The index of a pool: one row per image with its place. It is derived, and rebuilt at any time.

A shard that was not written since the index was is taken from it and not read again: opening all
shards of a pool of ten million images takes minutes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from harness.core import parquet
from harness.core.digests import Damaged
from harness.core.errors import DataError
from harness.core.files import sweep
from harness.pool.shards import (
    REQUEST,
    ROWS_PER_SHARD,
    Shard,
    by_key,
    check_requests,
    cut,
    open_shard,
    shard_paths,
)

INDEX: dict[str, Any] = REQUEST | {
    "generator": pl.String,  # key of the GeneratorSpec
    "shard": pl.String,  # path relative to the pool
    "offset": pl.Int64,  # of the encoded image in the shard, in bytes
    "size": pl.Int64,
    "crc32": pl.UInt32,
}


def build_index(pool: Path) -> pl.DataFrame:
    """Read the shards, write index.parquet and return it; columns INDEX.

    Sorted by (generator, guidance, key), one row per image. Also removes what killed writers left.
    Raises DataError when a shard is damaged: an index never leaves images out silently.
    """
    if not pool.is_dir():
        raise DataError(f"there is no pool of synthetic images at {pool}")
    sweep(pool)
    state = shard_sizes(pool)
    rows, others = _unchanged(pool, list(INDEX))
    index = _sorted([rows, *(_index_part(pool, path) for path in others)])
    parquet.write(pool / "index.parquet", index, {"shards": json.dumps(state)})
    return index


def read_index(pool: Path) -> pl.DataFrame:
    """The index, rebuilt first when it is missing or no longer that of the shards."""
    index = current_index(pool)
    return build_index(pool) if index is None else index


def images_by(index: pl.DataFrame, generator: str) -> pl.DataFrame:
    """Rows of an index that a generator (its key) made; a pool may hold those of several."""
    return index.filter(pl.col("generator") == generator)


def pending(
    pool: Path, requests: pl.DataFrame, generator: str, size: int = ROWS_PER_SHARD
) -> list[Shard]:
    """Shards still to make so that the pool has an image for each request.

    Rows that any whole shard of this generator (its key) holds are there. What is left is planned
    anew: after a kill that gives just the shards that an undisturbed run would have gone on to
    make; after new levels or sources, shards with the new rows only.
    """
    check_requests(requests)
    rows, others = _unchanged(pool, ["key", "generator"])
    parts = [images_by(rows, generator)["key"]]
    del rows  # ten million of them take gigabytes
    for path in others:
        with contextlib.suppress(Damaged):  # its rows are made again
            parts.append(images_by(_index_part(pool, path), generator)["key"])
    there = pl.concat(parts)
    left = requests.filter(~pl.col("key").is_in(there.implode())) if len(there) else requests
    return cut(left, size)


def index_of(pool: Path) -> pl.DataFrame:
    """What the index of the shards is; all of them are read."""
    return _sorted(_index_part(pool, path) for path in shard_paths(pool))


def _sorted(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """By (generator, guidance, key), a row per key."""
    rows = pl.concat([pl.DataFrame(schema=INDEX), *parts])
    if rows["key"].is_duplicated().any():
        # a key is there twice when two runs with different requests worked at the same time
        rows = rows.sort("shard").unique("key", keep="first", maintain_order=True)
    groups = rows.partition_by("generator", "guidance", as_dict=True)
    del rows  # ten million of them take gigabytes
    blocks = [by_key(groups.pop(name)) for name in sorted(groups)]
    return pl.concat([pl.DataFrame(schema=INDEX), *blocks])


def _unchanged(pool: Path, columns: list[str]) -> tuple[pl.DataFrame, list[Path]]:
    """Rows of index.parquet, and the shards that are to be read beside them.

    No rows where a shard of the index is gone, or was written after it: another one may hold the
    same images then.
    """
    path, paths = pool / "index.parquet", shard_paths(pool)
    schema = {name: INDEX[name] for name in columns}
    try:
        written = path.stat().st_mtime_ns
        rows, about = parquet.read_with_metadata(path, "it is made again", columns)
        known = json.loads(about["shards"])
        same = all(_is_as_before(pool / name, size, written) for name, size in known.items())
    except (FileNotFoundError, KeyError, ValueError, TypeError, DataError, AttributeError):
        same = False
    if not same:
        return pl.DataFrame(schema=schema), paths
    return rows, [path for path in paths if str(path.relative_to(pool)) not in known]


def _is_as_before(path: Path, size: int, written_ns: int) -> bool:
    state = path.stat()
    return state.st_size == size and state.st_mtime_ns < written_ns


def _index_part(pool: Path, path: Path) -> pl.DataFrame:
    """Index rows of a shard that was listed; none when another process has removed it since."""
    try:
        return shard_index(pool, path)
    except DataError:
        if path.exists():
            raise
        return pl.DataFrame(schema=INDEX)


def shard_index(pool: Path, path: Path) -> pl.DataFrame:
    """Index rows of one shard, in its order; Damaged for a file that is none."""
    shard = open_shard(path)
    rows = shard.rows.with_columns(
        generator=pl.lit(shard.generator),
        shard=pl.lit(str(path.relative_to(pool))),
        offset=pl.Series(shard.offset),
        size=pl.Series(shard.size),
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in INDEX.items())


def shard_sizes(pool: Path) -> Mapping[str, int]:
    """What an index is an index of: shards and their sizes in bytes."""
    sizes = {}
    for path in shard_paths(pool):
        with contextlib.suppress(FileNotFoundError):  # removed since they were listed
            sizes[str(path.relative_to(pool))] = path.stat().st_size
    return sizes


def current_index(pool: Path) -> pl.DataFrame | None:
    """index.parquet, or None when it is missing, damaged or not that of the shards."""
    path = pool / "index.parquet"
    try:
        index, about = parquet.read_with_metadata(path, "it is made again", list(INDEX))
        return index if json.loads(about["shards"]) == shard_sizes(pool) else None
    except (FileNotFoundError, KeyError, ValueError, DataError):
        return None
