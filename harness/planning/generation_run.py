"""A run of the engine on some of a data set's requests, timed by phase and by guidance level."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec
from harness.datasets.codec import encode
from harness.generation.clip_scores import Scorer, cosine
from harness.generation.engine import Failed, Generator, Request, load_pipeline
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.planning import measure
from harness.planning.measure import Clock
from harness.pool import cache

COLUMNS = ("key", "source", "guidance", "seed", "prompt")


@dataclass
class Work:
    """Requests to make, with everything that making them needs."""

    workspace: Workspace
    rows: pl.DataFrame  # cache.REQUEST
    sources: dict[str, np.ndarray]
    pipeline: Any
    scorer: Scorer
    device: str

    @property
    def spec(self) -> GeneratorSpec:
        return self.workspace.generator

    def requests(self, guidance: int) -> list[Request]:
        rows = self.rows.filter(self.rows["guidance"] == guidance).select(COLUMNS)
        return [Request(*row) for row in rows.rows()]

    @property
    def levels(self) -> list[int]:
        return sorted(self.rows["guidance"].unique().to_list())


def work(workspace: Workspace, sources: int, device: str) -> Work:
    """All levels and seeds of the first so many hard images of a data set."""
    if sources < 1:
        raise UsageError(f"{sources} sources are not allowed; a number from 1")
    rows = stages.requests(workspace)
    chosen = rows["source"].unique().sort()[:sources]
    rows = rows.filter(pl.col("source").is_in(chosen.to_list()))
    if not len(rows):
        raise DataError(
            f"no image of {workspace.module.NAME} is hard: there is nothing to generate"
        )
    if device == "cpu":
        torch.set_num_threads(1)
    pipeline = load_pipeline(workspace.generator_source, getattr(torch, workspace.dtype), device)
    pictures = stages.pictures(workspace, chosen)
    return Work(
        workspace, rows, pictures, pipeline, Scorer(*workspace.clip_source, device=device), device
    )


@dataclass
class GenerationRun:
    """What an engine made of some work, and the seconds of it by phase and by level."""

    clock: Clock
    level_s: dict[int, float]
    wall_s: float
    pixels: dict[str, np.ndarray]
    text_score: dict[str, float]
    failed: int
    joules: float | None

    @property
    def seconds(self) -> float:
        return sum(self.level_s.values())


def make(todo: Work, spec: GeneratorSpec | None = None) -> GenerationRun:
    """Run the engine as `harness generate` and `harness score` do, here, level by level."""
    spec, clock = spec or todo.spec, Clock(todo.device)
    compiled = torch.device(todo.device).type == "cuda"
    engine = Generator(todo.pipeline, spec, todo.sources.__getitem__, todo.device, compiled, clock)
    run = GenerationRun(clock, {}, 0.0, {}, {}, 0, None)
    _warm_up(todo, engine)
    clock.seconds.clear()
    before, begun = measure.joules(todo.device), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for level in todo.levels:
            at = clock.now()
            _level(todo, engine, level, run, Path(folder))
            run.level_s[level] = clock.now() - at
    run.wall_s = time.perf_counter() - begun
    after = measure.joules(todo.device)
    run.joules = None if before is None or after is None else after - before
    return run


def _warm_up(todo: Work, engine: Generator) -> None:
    """Everything once, for one image: imports, caches, and compilation on a GPU."""
    one = replace(todo, rows=todo.rows.filter(todo.rows["guidance"] == todo.levels[-1])[:1])
    with tempfile.TemporaryDirectory() as folder:
        nothing = GenerationRun(Clock(todo.device), {}, 0.0, {}, {}, 0, None)
        _level(one, engine, one.levels[0], nothing, Path(folder))
    engine.encoded.clear()
    engine.text.clear()
    engine.posterior.clear()


def _level(todo: Work, engine: Generator, level: int, run: GenerationRun, folder: Path) -> None:
    """Images of a level, encoded, written as a shard and scored."""
    clock, spec, stored = run.clock, engine.spec, {}
    for request, picture in engine.images(todo.requests(level)):
        if isinstance(picture, Failed):
            run.failed += 1
            continue
        run.pixels[request.key] = picture
        with clock("image encode"):
            stored[request.key] = encode(picture, spec.codec)
    rows = todo.rows.filter(pl.col("key").is_in(list(stored)))
    with clock("write"):
        keyed = cache.request_rows(rows, spec)
        again = dict(zip(keyed["key"], rows["key"], strict=True))
        for shard in cache.plan_shards(keyed):
            images = [stored[again[k]] for k in shard.keys]
            cache.write_shard(folder, shard, shard.rows, images, spec)
    with clock("CLIP"):
        names = rows["classname"].unique().sort().to_list()
        text = todo.scorer.texts([todo.workspace.module.score_prompt(n) for n in names])
        image = todo.scorer.images(np.stack([run.pixels[k] for k in rows["key"]]))
        index = {name: i for i, name in enumerate(names)}
        scores = cosine(image, text[[index[n] for n in rows["classname"]]])
        run.text_score |= dict(zip(rows["key"], scores.tolist(), strict=True))
