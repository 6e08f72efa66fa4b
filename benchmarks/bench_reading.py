"""Reading the pool against the loaders that others use, on the same bytes, in one run.

The pool holds soft noise as the codec of its size stores it; `harness.pool.exports`
writes the same bytes for torchvision's ImageFolder, webdataset and Hugging Face datasets. All read
every image once, in shuffled order where they can, as uint8 arrays (H, W, 3), in this process and
turn by turn; read the ratios, not the seconds. The others decode in one thread, ours in one (ours)
and, as it comes, in one per core (ours, threads): CPU time says what a picture costs, time on the
clock what a user of one process gets.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from harness.core.parallel import cores
from harness.core.specs import SMALL_UP_TO_PX, GeneratorSpec, key
from harness.datasets.pictures import Block
from harness.pool import cache
from harness.pool.exports import export
from harness.pool.reader import Pool

BATCH, TURNS = 64, 3
CHECKS = 20  # times that the quick checks are done, to be timed
SIZES = {256: (512, "jpeg"), 32: (2048, "webp-lossless")}  # side: images, codec


@pytest.fixture(scope="module", params=SIZES, ids=lambda px: f"{px}px")
def pool(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, int]:
    """Folder, index and side of a pool."""
    px: int = request.param
    n, codec = SIZES[px]
    folder = tmp_path_factory.mktemp(f"pool{px}")
    spec = GeneratorSpec("noise", "", px, codec=codec)
    rows = pl.DataFrame({"source": [f"{i}" for i in range(n)]}).with_columns(
        classname=pl.Series([f"class {i % 10}" for i in range(n)]),
        guidance=pl.lit(50), seed=pl.lit(0), prompt=pl.lit("noise"),
    )  # fmt: skip
    for shard in cache.pending(folder, cache.request_rows(rows, spec), key(spec)):
        images = [cache.encode(picture(k, px), codec) for k in shard.keys]
        cache.write_shard(folder, shard, shard.rows, images, spec)
    return folder, _labelled(cache.build_index(folder)), px


def _labelled(index: pl.DataFrame) -> pl.DataFrame:
    """With what an export takes beside the images."""
    label = pl.col("classname").str.strip_prefix("class ").cast(pl.Int32)
    return index.with_columns(
        label=label, text_score=pl.lit(None, pl.Float32), image_score=pl.lit(None, pl.Float32)
    )


def picture(name: str, px: int) -> np.ndarray:
    """Soft shapes with a little grain; at 256 px about 33 kB, as JPEGs of photographs have."""
    rng = np.random.default_rng(int(name[:8], 16))
    small = rng.normal(120, 50, (px // 16, px // 16, 3)).clip(0, 255).astype(np.uint8)
    shapes = np.asarray(Image.fromarray(small).resize((px, px), Image.Resampling.BICUBIC))
    return (shapes + rng.normal(0, 2.5, shapes.shape)).clip(0, 255).astype(np.uint8)


def ours(pool: Any, workers: int, side_px: int | None = None) -> Callable[[], int]:
    folder, index, _ = pool
    images = Pool(folder, index, side_px=side_px, workers=workers)
    return lambda: sum(len(batch) for _, batch in images.batches(BATCH, 0))


def mapped(pool: Any) -> Callable[[], int]:
    folder, index, _ = pool
    block = Block(cache.pixels(folder, index))

    def work() -> int:
        ids = np.random.default_rng(0).permutation(len(block))
        return sum(len(block.take(part)) for part in np.split(ids, range(BATCH, len(ids), BATCH)))

    return work


def image_folder(pool: Any, out: Path) -> Callable[[], int]:
    from torchvision.datasets import ImageFolder

    data = ImageFolder(str(export(pool[0], pool[1], out / "files", "files")))

    def work() -> int:
        order = np.random.default_rng(0).permutation(len(data))
        return sum(np.asarray(data[int(i)][0]).ndim // 3 for i in order)

    return work


def web(pool: Any, out: Path) -> Callable[[], int]:
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(map(str, export(pool[0], pool[1], out / "web", "webdataset").glob("*.tar")))
    kind = "jpg" if pool[2] > 64 else "webp"

    def work() -> int:
        data = webdataset.WebDataset(shards, shardshuffle=False).shuffle(1000).decode("rgb8")
        return sum(np.asarray(image).ndim // 3 for (image,) in data.to_tuple(kind))

    return work


def hugging_face(pool: Any, out: Path) -> Callable[[], int]:
    datasets = pytest.importorskip("datasets")
    folder = export(pool[0], pool[1], out / "hf", "hf")
    data = datasets.load_dataset(str(folder), split="train", cache_dir=str(out / "cache"))

    def work() -> int:
        mixed = data.shuffle(seed=0)
        parts = (mixed[i : i + BATCH]["image"] for i in range(0, len(mixed), BATCH))
        return sum(np.asarray(image.convert("RGB")).ndim // 3 for part in parts for image in part)

    return work


def checks(pool: Any) -> Callable[[], int]:
    """What reading does for each image's crc32, and nothing else; CHECKS times."""
    folder, index, _ = pool
    images = Pool(folder, index)
    places = list(zip(images.shard, images.offset, images.size, images.crc32, strict=True))

    def work() -> int:
        for _ in range(CHECKS):
            for shard, start, size, crc32 in places:
                data = images._map(int(shard))[int(start) : int(start) + int(size)]
                assert zlib.crc32(data) == crc32
        return len(places)

    return work


PEERS = {"ImageFolder": image_folder, "webdataset": web, "datasets": hugging_face}


def turns(works: dict[str, Callable[[], int]], n: int) -> dict[str, tuple[float, float]]:
    """Least seconds of some turns of each: CPU time of all threads of this process, and clock."""
    best = dict.fromkeys(works, (math.inf, math.inf))
    for turn in range(TURNS + 1):  # the first one warms up
        for name, work in works.items():
            begun = time.process_time(), time.perf_counter()
            assert work() == n
            took = time.process_time() - begun[0], time.perf_counter() - begun[1]
            if turn:
                best[name] = min(best[name][0], took[0]), min(best[name][1], took[1])
    return best


def test_reading(benchmark: Any, pool: Any, tmp_path: Path) -> None:
    """Images per second, and ours over each of the others': by CPU time, and by the clock."""
    n = len(pool[1])
    works = {"ours": ours(pool, 1), "ours, threads": ours(pool, cores())}
    if small := pool[2] <= SMALL_UP_TO_PX:
        works["ours, mapped"] = mapped(pool)
    for name, peer in PEERS.items():
        works[name] = peer(pool, tmp_path)
    seconds = turns(works, n)
    for i, (clock, way) in enumerate((("CPU time", "ours"), ("clock", "ours, threads"))):
        best = seconds["ours, mapped" if small else way][i]
        rates = {name: n / s[i] for name, s in seconds.items()}
        ratios = {name: seconds[name][i] / best for name in PEERS}
        benchmark.extra_info |= {f"{name}, images/s of {clock}": r for name, r in rates.items()}
        benchmark.extra_info |= {f"times {name}, {clock}": r for name, r in ratios.items()}
        summary = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        compared = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in ratios.items())
        print(f"\n{pool[2]} px, images/s of {clock}: {summary}; {compared}")
    benchmark.pedantic(works["ours"], rounds=1)


def test_checks(benchmark: Any, pool: Any) -> None:
    """CPU seconds of the checks over those of reading without them, as training reads.

    Large images are brought to 224 px. Training maps small ones, whose checks come once per
    process; what reading them one by one would take is measured here.
    """
    side_px = 224 if pool[2] > SMALL_UP_TO_PX else None
    works = {"reading": ours(pool, 1, side_px), "checks": checks(pool)}
    seconds = turns(works, len(pool[1]))
    spent = seconds["checks"][0] / CHECKS
    share = spent / (seconds["reading"][0] - spent)
    benchmark.extra_info["share of the checks"] = share
    print(f"\n{pool[2]} px: checks add {share:.2%} to the CPU seconds of reading")
    benchmark.pedantic(works["checks"], rounds=1)
