"""Stage `generate`: the synthetic images that the pool lacks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl

from harness.core import parallel
from harness.core.errors import DataError
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
    call loses at most one shard per worker and the next one goes on. An image that cannot be made
    is left out and written down (harness.pool.failures); the next call tries it again.
    """
    parallel.check_device(device)
    images = pl.concat([requests(workspace, part) for part in parts])
    images = images.unique("key", maintain_order=True)
    if not len(images):
        raise DataError(
            f"no image of {workspace.module.NAME} is hard: there is nothing to generate"
        )
    shards, count = pending(workspace, images), 0
    if shards:
        total, workers = sum(len(s.rows) for s in shards), workers or parallel.cores()
        start = (workspace, workspace.generator, workspace.generator_source, device)
        with ProgressBar(total=total, desc="generate", unit="image") as bar:
            for shard, n in parallel.run(_Worker.make, shards, workers, _Worker, start):
                count += n
                bar.update(len(shard.rows))
    cache.build_index(workspace.pool)
    return count


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

    def make(self, shard: cache.Shard) -> int:
        """Make a shard; returns how many images it has.

        Images are encoded by threads of their own while the next ones are denoised.
        """
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
