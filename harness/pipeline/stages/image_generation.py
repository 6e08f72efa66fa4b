"""Stage `generate`: the synthetic images that the pool lacks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import parallel
from harness.core.errors import DataError
from harness.core.locks import locked
from harness.core.progress import ProgressBar
from harness.core.specs import GeneratorSpec, key
from harness.pipeline.stages.image_requests import SPECTRUM, PoolPart, generator_key, requests
from harness.pipeline.stages.source_pictures import pictures
from harness.pipeline.workspace import Workspace
from harness.pool import cache, failures


def generate(
    workspace: Workspace,
    workers: int | None = None,
    device: str = "cpu",
    parts: Sequence[PoolPart] = (SPECTRUM,),
) -> int:
    """Make the images of `requests` that the pool lacks; returns how many were made.

    Each worker takes a shard at a time; a shard appears whole or not at all, so an interrupted
    call loses at most one shard per worker and the next one goes on. Several calls may work on one
    pool: each makes shards that no other is making, and all end when all is there. An image that
    cannot be made is left out and written down (harness.pool.failures); the next call tries it
    again.
    """
    parallel.check_device(device)
    images = pl.concat([requests(workspace, part) for part in parts])
    images = images.unique("key", maintain_order=True)
    if not len(images):
        raise DataError(
            f"no image of {workspace.module.NAME} is hard: there is nothing to generate"
        )
    with locked(workspace.pool, shared=True):
        shards = pending(workspace, images)
        count = _make(workspace, shards, workers or parallel.cores(), device) if shards else 0
        cache.build_index(workspace.pool)
    return count


def _make(workspace: Workspace, shards: list[cache.Shard], workers: int, device: str) -> int:
    """Make shards; returns the number of images that were made here.

    What others are making now is waited for when nothing else is left to do.
    """
    start = (workspace, workspace.generator, workspace.generator_source, device)
    count, total = 0, sum(len(shard.rows) for shard in shards)
    with ProgressBar(total=total, desc="generate", unit="image") as bar:
        while shards:
            busy = []
            for shard, made in parallel.run(_Worker.make, shards, workers, _Worker, start):
                if made is None:
                    busy.append(shard)
                else:
                    count += made
                    bar.update(len(shard.rows))
            if busy:
                bar.say(f"generate: waiting for {len(busy)} shards that another process makes")
            shards = [shard for shard in busy if not _made_elsewhere(workspace.pool, shard)]
    return count


def _made_elsewhere(pool: Path, shard: cache.Shard) -> bool:
    """Wait until nobody makes a shard; whether it is there then."""
    with locked(pool / shard.path):
        return cache.is_written(pool, shard)


def pending(workspace: Workspace, images: pl.DataFrame) -> list[cache.Shard]:
    """Shards still to make; those that failed before come last, in shards of their own.

    So the others are cut as an undisturbed run would have cut them.
    """
    generator = generator_key(workspace)
    failed = failures.read(workspace.pool, generator).select("key")
    first = images.join(failed, on="key", how="anti", maintain_order="left")
    again = images.join(failed, on="key", how="semi", maintain_order="left")
    return cache.pending(workspace.pool, first, generator) + cache.plan_shards(again)


def failed(workspace: Workspace, part: PoolPart = SPECTRUM) -> pl.DataFrame:
    """Images of a part that could not be made; columns failures.FAILED."""
    keys = requests(workspace, part).select("key")
    rows = failures.read(workspace.pool, generator_key(workspace))
    return rows.join(keys, on="key", how="semi")


class _Worker:
    """Makes shards in a process of its own, with the models loaded once."""

    def __init__(self, workspace: Workspace, spec: GeneratorSpec, source: str, device: str) -> None:
        import torch

        from harness.generation.engine import Generator, load_pipeline

        torch.set_num_threads(1)
        pipeline = load_pipeline(source, getattr(torch, spec.dtype), device, spec.scheduler)
        compiled = torch.device(device).type == "cuda"
        self.workspace = workspace
        self.encoders = ThreadPoolExecutor(2)
        self.sources: dict[str, Any] = {}  # of the shard at hand
        # The generator stays, and with it the texts and sources that it has encoded.
        self.generator = Generator(pipeline, spec, self._source, device, compiled)

    def _source(self, name: str) -> np.ndarray:
        """A source picture of the shard at hand; DataError where it cannot be read."""
        picture: np.ndarray | DataError = self.sources[name]
        if isinstance(picture, DataError):
            raise picture
        return picture

    def make(self, shard: cache.Shard) -> int | None:
        """Make a shard; returns how many images it has, None where another process makes it now."""
        pool = self.workspace.pool
        with locked(pool / shard.path, wait=False) as ours:
            if not ours:
                return None
            return 0 if cache.is_written(pool, shard) else self._make(shard)

    def _make(self, shard: cache.Shard) -> int:
        """Images are encoded by threads of their own while the next ones are denoised."""
        from harness.generation.engine import Failed, Request

        pool, spec = self.workspace.pool, self.generator.spec
        self.sources = pictures(self.workspace, shard.rows["source"].unique(), strict=False)
        columns = ("key", "source", "guidance", "seed", "prompt")
        images, reasons = {}, {}
        for request, image in self.generator.images(
            [Request(*row) for row in shard.rows.select(columns).rows()]
        ):
            if isinstance(image, Failed):
                reasons[request.key] = image.reason
            else:
                images[request.key] = self.encoders.submit(cache.encode, image, spec.codec)
        shards = cache.plan_shards(shard.rows.filter(pl.col("key").is_in(list(images))))
        if reasons:
            failures.write(pool, shard, reasons, shards[0] if shards else None, key(spec))
        for whole in shards:
            in_order = [images[k].result() for k in whole.keys]
            cache.write_shard(pool, whole, whole.rows, in_order, spec)
        return len(images)
