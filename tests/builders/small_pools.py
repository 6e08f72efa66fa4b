"""Small pools of synthetic images for tests."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from harness.core.specs import GeneratorSpec, key
from harness.pool import cache
from harness.pool.shards import Shard

SPEC = GeneratorSpec(model="test", weights="0" * 64, size_px=8)


def grid(sources: int = 6, levels=(10, 50, 90), seeds=(0,), spec=SPEC) -> pl.DataFrame:
    rows = [
        (
            hashlib.sha256(bytes([s])).hexdigest(),
            f"class {s % 2}",
            g,
            n,
            f"a photo of class {s % 2}",
        )
        for s in range(sources)
        for g in levels
        for n in seeds
    ]
    names = ["source", "classname", "guidance", "seed", "prompt"]
    return cache.request_rows(pl.DataFrame(rows, schema=names, orient="row"), spec)


def picture(key: str, px: int = 8) -> np.ndarray:
    """The pixels that the generator of these tests makes for an image key."""
    return np.random.default_rng(int(key[:8], 16)).integers(0, 256, (px, px, 3), np.uint8)


def write(pool: Path, shard: Shard, spec: GeneratorSpec = SPEC) -> Path:
    images = [cache.encode(picture(k, spec.size_px), spec.codec) for k in shard.keys]
    return cache.write_shard(pool, shard, shard.rows, images, spec)


def make(pool: Path, rows: pl.DataFrame, spec: GeneratorSpec = SPEC, size: int = 4) -> pl.DataFrame:
    """Make what is missing and return the index."""
    for shard in cache.pending(pool, rows, key(spec), size):
        write(pool, shard, spec)
    return cache.build_index(pool)


def labelled(index: pl.DataFrame) -> pl.DataFrame:
    """Index rows with what an export takes: labels by class name, and scores of all but one."""
    names = index["classname"].unique().sort().to_list()
    scores = pl.int_range(pl.len()) / 1024  # exact in Float32
    return index.with_columns(
        label=pl.col("classname").replace_strict(names, range(len(names)), return_dtype=pl.Int32),
        text_score=pl.when(pl.int_range(pl.len()) > 0).then(scores).cast(pl.Float32),
        image_score=(1 - scores).cast(pl.Float32),
    )


def files(pool: Path) -> dict[str, bytes]:
    """Every file of the pool but the index, whose bytes are a matter of the Parquet writer."""
    return {
        str(p.relative_to(pool)): p.read_bytes()
        for p in sorted(pool.rglob("*"))
        if p.is_file() and p.name != "index.parquet"
    }
