"""Plan, claims and resume of a pool of ten million images, whose shards are empty files.

Run as python benchmarks/bench_large_pool.py [images]; prints seconds and peak memory of each step.
It needs a few gigabytes of memory and one of disk space.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import polars as pl

from harness.core import parquet
from harness.core.locks import locked
from harness.core.specs import GeneratorSpec, key
from harness.pool import cache
from harness.pool.shards import Shard

GENERATOR = GeneratorSpec(
    model="stabilityai/sdxl-refiner", weights="0" * 40, size_px=512, steps=50, text_guidance=5.0
)
CELLS = 16  # images of a source: four levels, four seeds
LEFT = 200  # shards that a resumed command still has to make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="?", type=int, default=10_000_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        for step in (planned, pretended, resumed, indexed):  # each in a process of its own
            process = multiprocessing.get_context("spawn").Process(
                target=step, args=(Path(folder), images)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{step.__name__}: exit code {process.exitcode}")


def planned(pool: Path, images: int) -> None:
    """A command that makes the first images."""
    clock = Clock()
    rows = requests(images // CELLS)
    clock.tell("list of images (not counted)")
    keyed = cache.request_rows(rows, GENERATOR)
    del rows
    clock.tell("keys of the images")
    shards = cache.pending(pool, keyed, key(GENERATOR))
    clock.tell(f"plan of {len(shards)} shards")
    for shard in shards[:LEFT]:
        with locked(pool / shard.path, wait=False):
            cache.is_written(pool, shard)
    clock.tell(f"claims of {LEFT} shards")


def pretended(pool: Path, images: int) -> None:
    """Make all but some of the shards, empty, and their index."""
    pretend(pool, cache.pending(pool, all_images(images), key(GENERATOR))[LEFT:])


def resumed(pool: Path, images: int) -> None:
    """A command that makes the images that are left."""
    clock = Clock()
    left = cache.pending(pool, all_images(images), key(GENERATOR))
    assert len(left) == LEFT, len(left)
    clock.tell(f"keys, and plan of a resumed command: {len(left)} shards left")
    for shard in left:
        cache.write_shard(pool, shard, shard.rows, [b"image"] * len(shard.rows), GENERATOR)
    clock.tell(f"writing {len(left)} shards (not counted)")


def indexed(pool: Path, images: int) -> None:
    """What the command does at its end."""
    clock = Clock()
    assert len(cache.build_index(pool)) == images // CELLS * CELLS
    clock.tell("index at the end")


def all_images(images: int) -> pl.DataFrame:
    return cache.request_rows(requests(images // CELLS), GENERATOR)


class Clock:
    """Seconds since the last step, of the processor since the start, and the peak of memory."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def tell(self, step: str) -> None:
        now, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu = time.process_time()
        print(
            f"{now - self.last:7.1f} s  {peak / 2**20:5.2f} GiB  {cpu:7.1f} s CPU  {step}",
            flush=True,
        )
        self.last = now


def requests(sources: int) -> pl.DataFrame:
    """Source pictures of 8,142 classes, each at four levels with four seeds."""
    names = [f"{n * 2654435761:064x}" for n in range(sources)]
    classes = [f"Species number {n % 8142}" for n in range(sources)]
    cells = [(level, seed) for level in (0, 30, 50, 70) for seed in range(4)]
    schema = {"guidance": pl.Int16, "seed": pl.Int32}
    grid = pl.DataFrame(cells, schema=schema, orient="row")
    rows = pl.DataFrame({"source": names, "classname": classes}).join(grid, how="cross")
    return rows.with_columns(prompt=pl.format("a photo of a {}, scene {}", "classname", "seed"))


def pretend(pool: Path, shards: list[Shard]) -> None:
    """Empty files in place of shards, and the index of what they would hold."""
    for shard in shards:
        (pool / shard.path).parent.mkdir(parents=True, exist_ok=True)
        (pool / shard.path).touch()
    time.sleep(0.05)
    number = pl.Series("shard", [shard.path for shard in shards])
    index = pl.concat([shard.rows for shard in shards]).with_columns(
        generator=pl.lit(key(GENERATOR)),
        shard=number.gather(_repeated([len(shard.rows) for shard in shards])),
        offset=pl.lit(0, pl.Int64),
        size=pl.lit(0, pl.Int64),
        crc32=pl.lit(0, pl.UInt32),
    )
    state = {shard.path: 0 for shard in shards}
    parquet.write(pool / "index.parquet", index, {"shards": json.dumps(state)})


def _repeated(counts: list[int]) -> pl.Series:
    return pl.Series(range(len(counts)), dtype=pl.UInt32).repeat_by(pl.Series(counts)).explode()


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main()
