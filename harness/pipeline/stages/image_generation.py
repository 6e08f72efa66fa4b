"""Stage `generate`: the synthetic images that the pool lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import parallel
from harness.core.attempts import Failure, Unfinished
from harness.core.claims import shared
from harness.core.cluster import Cluster
from harness.core.engine import Engine
from harness.core.errors import DataError
from harness.core.guidance import level_text
from harness.core.locks import locked, warn_where_useless
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
    cluster: Cluster | None = None,
) -> int:
    """Make the images of `requests` that the pool lacks; returns how many were made.

    Each worker takes a shard at a time; a shard appears whole or not at all, so an interrupted
    call loses at most one shard per worker and the next one goes on. Several calls, and the
    processes of `accelerate launch`, may work on one pool: each makes shards that no other is
    making, and all end when all is there. An image that cannot be made is left out and written down
    (harness.pool.failures); the next call tries it again. Unfinished when shards could not be made
    and the others are there.
    """
    engine = Engine(device, workers, cluster)
    engine.check()
    images = pl.concat([requests(workspace, part) for part in parts])
    images = images.unique("key", maintain_order=True)
    if not len(images):
        raise DataError(
            f"no image of {workspace.module.NAME} is hard: there is nothing to generate"
        )
    with locked(workspace.pool, shared=True):
        warn_where_useless(workspace.pool)
        shards = pending(workspace, images)
        count, reasons = _make(workspace, shards, engine) if shards else (0, {})
        if count or not reasons:
            cache.build_index(workspace.pool)
    if reasons:
        raise _unfinished(shards, reasons)
    return count


def _make(
    workspace: Workspace, shards: Sequence[cache.Shard], engine: Engine
) -> tuple[int, dict[str, str]]:
    """Make shards; the number of images that were made here, and why shards were not, by path.

    What others are making now is waited for when nothing else is left to do.
    """
    arguments = (workspace, workspace.generator, workspace.generator_source, engine.device)
    total, first = sum(len(shard.rows) for shard in shards), parallel.rank() == 0
    count, reasons = 0, dict[str, str]()
    there = partial(_made_elsewhere, workspace.pool)
    with ProgressBar(total=total, desc="generate", unit="image", disable=not first) as bar:

        def busy(shards: int) -> None:
            bar.say(f"generate: waiting for {shards} shards that another process makes")

        for shard, outcome in shared(engine, _Worker.make, shards, _Worker, arguments, there, busy):
            if isinstance(outcome, Failure):
                reasons[shard.path] = outcome.reason
                bar.say(f"generate: {shard.path} failed: {outcome.reason}")
            else:
                count += outcome
            bar.update(len(shard.rows))
    return count, reasons


def _unfinished(shards: Sequence[cache.Shard], reasons: Mapping[str, str]) -> Unfinished:
    """What is told of shards that were not made, each reason once."""
    images = {shard.path: len(shard.rows) for shard in shards}
    lines = [f"generate: {len(reasons)} of {len(shards)} shards failed, the others are made"]
    for reason in dict.fromkeys(reasons.values()):
        paths = [path for path, other in reasons.items() if other == reason]
        others = "" if len(paths) == 1 else f" and {len(paths) - 1} others"
        lost = sum(images[path] for path in paths)
        lines.append(f"  {paths[0]}{others} ({lost} images): {reason}")
    lines.append("the same command makes what is missing")
    return Unfinished("generate", lines, reasons)


def _made_elsewhere(pool: Path, shard: cache.Shard) -> bool:
    """Wait until nobody makes a shard; whether it is there then."""
    with locked(pool / shard.path):
        return _is_there(pool, shard)


def _is_there(pool: Path, shard: cache.Shard) -> bool:
    """Whether a shard that was to be made is there, whole or without what could not be made."""
    return cache.is_written(pool, shard) or failures.has_rest(pool, shard)


def pending(workspace: Workspace, images: pl.DataFrame) -> list[cache.Shard]:
    """Shards still to make; those that failed before come last, in shards of their own.

    So the others are cut as an undisturbed run would have cut them, and as other calls cut them
    that work on the pool now: a failure that one of these writes meanwhile begins the plan anew.
    """
    generator = generator_key(workspace)
    while True:
        failed = failures.read(workspace.pool, generator).select("key")
        first, again = images, images.clear()
        if len(failed):  # a join of ten million requests takes gigabytes
            first = images.join(failed, on="key", how="anti", maintain_order="left")
            again = images.join(failed, on="key", how="semi", maintain_order="left")
        shards = cache.pending(workspace.pool, first, generator) + cache.plan_shards(again)
        if failures.read(workspace.pool, generator).select("key").equals(failed):
            return shards


def failed(workspace: Workspace, part: PoolPart = SPECTRUM) -> pl.DataFrame:
    """Images of a part that could not be made; columns failures.FAILED."""
    rows = failures.read(workspace.pool, generator_key(workspace))
    if not len(rows):
        return rows
    return rows.join(requests(workspace, part).select("key"), on="key", how="semi")


def check_levels(workspace: Workspace, part: PoolPart, images: pl.DataFrame) -> None:
    """DataError where every image of a guidance level is among `images`, which could not be made.

    No run could be trained on that level; images that failed beside others are merely left out.
    images: as `failed` returns them.
    """
    if not len(images):
        return
    asked = requests(workspace, part).group_by("guidance").len("images")
    lost = images.group_by("guidance").len("images")
    empty = asked.join(lost, on=["guidance", "images"], how="semi").sort("guidance")
    if not len(empty):
        return
    reasons = images.filter(pl.col("guidance").is_in(empty["guidance"].implode()))["reason"]
    levels = [level_text(level) for level in empty["guidance"]]
    named = levels if len(levels) <= 6 else [*levels[:6], f"{len(levels) - 6} more"]
    raise DataError(
        f"none of the {empty['images'].sum()} images of guidance {', '.join(named)} could be "
        f"made: {reasons.mode().sort()[0]}"
    )


class _Worker:
    """Makes shards in a process of its own, with the models loaded once."""

    def __init__(self, workspace: Workspace, spec: GeneratorSpec, source: str, device: str) -> None:
        import torch

        from harness.generation.engine import Generator, load_pipeline

        torch.set_num_threads(1)
        device = parallel.own_device(device)
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
            return 0 if _is_there(pool, shard) else self._make(shard)

    def _make(self, shard: cache.Shard) -> int:
        """Images are encoded by threads of their own while the next ones are denoised."""
        from harness.generation.engine import Failed, Request

        pool, spec = self.workspace.pool, self.generator.spec
        self.sources = pictures(self.workspace, shard.rows["source"].unique(), strict=False)
        columns = ("key", "source", "guidance", "seed", "prompt")
        images, reasons = {}, {}
        by_prompt = shard.rows.sort("prompt", "source").select(columns)  # each is encoded once
        for request, image in self.generator.images([Request(*row) for row in by_prompt.rows()]):
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
