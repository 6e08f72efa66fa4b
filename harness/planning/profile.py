"""Where the seconds of generation go, and how it stands beside other ways to the same images."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec
from harness.datasets.codec import encode
from harness.generation import stock
from harness.generation.approximations import parse
from harness.generation.clip_scores import Scorer, cosine
from harness.generation.engine import Failed, Generator, Request, load_pipeline
from harness.generation.schedule import denoising_steps
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.planning import measure
from harness.planning.measure import Clock
from harness.pool import cache

PHASES = ("source encode", "text", "denoise", "decode", "CLIP", "image encode", "write")
PIPELINES = ("stock", "loop")
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
        mine = self.rows.filter(self.rows["guidance"] == guidance).select(COLUMNS)
        return [Request(*row) for row in mine.rows()]

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
    pipeline = load_pipeline(
        workspace.generator_source, getattr(torch, workspace.generator.dtype), device
    )
    pictures = stages.pictures(workspace, chosen)
    return Work(
        workspace, rows, pictures, pipeline, Scorer(*workspace.clip_source, device=device), device
    )


@dataclass
class Made:
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


def make(todo: Work, spec: GeneratorSpec | None = None) -> Made:
    """Run the engine as `harness generate` and `harness score` do, here, level by level."""
    spec, clock = spec or todo.spec, Clock(todo.device)
    compiled = torch.device(todo.device).type == "cuda"
    engine = Generator(todo.pipeline, spec, todo.sources.__getitem__, todo.device, compiled, clock)
    made = Made(clock, {}, 0.0, {}, {}, 0, None)
    _warm_up(todo, engine)
    clock.seconds.clear()
    before, begun = measure.joules(todo.device), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for level in todo.levels:
            at = clock.now()
            _level(todo, engine, level, made, Path(folder))
            made.level_s[level] = clock.now() - at
    made.wall_s = time.perf_counter() - begun
    after = measure.joules(todo.device)
    made.joules = None if before is None or after is None else after - before
    return made


def _warm_up(todo: Work, engine: Generator) -> None:
    """Everything once, for one image: imports, caches, and compilation on a GPU."""
    one = replace(todo, rows=todo.rows.filter(todo.rows["guidance"] == todo.levels[-1])[:1])
    with tempfile.TemporaryDirectory() as folder:
        nothing = Made(Clock(todo.device), {}, 0.0, {}, {}, 0, None)
        _level(one, engine, one.levels[0], nothing, Path(folder))
    engine.text.clear()
    engine.posterior.clear()


def _level(todo: Work, engine: Generator, level: int, made: Made, folder: Path) -> None:
    """Images of a level, encoded, written as a shard and scored."""
    clock, spec, stored = made.clock, engine.spec, {}
    for request, picture in engine.images(todo.requests(level)):
        if isinstance(picture, Failed):
            made.failed += 1
            continue
        made.pixels[request.key] = picture
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
        said = todo.scorer.texts([todo.workspace.module.score_prompt(n) for n in names])
        seen = todo.scorer.images(np.stack([made.pixels[k] for k in rows["key"]]))
        index = {name: i for i, name in enumerate(names)}
        scores = cosine(seen, said[[index[n] for n in rows["classname"]]])
        made.text_score |= dict(zip(rows["key"], scores.tolist(), strict=True))


# ---------------------------------------------------------------- what it comes to


def profile(
    todo: Work,
    against: Sequence[str] = (),
    approximate: Sequence[str] = (),
    loop_images: int = 4,
    trace: Path | None = None,
) -> dict[str, Any]:
    """Rates, phases, FLOPs and ratios as JSON can say them.

    against: of PIPELINES. approximate: approximations, each measured beside the exact generator.
    loop_images: of each level, for the loop. trace: file for a trace of the engine's run.
    """
    for name in against:
        if name not in PIPELINES:
            raise UsageError(f"unknown pipeline {name!r}; available: {', '.join(PIPELINES)}")
    for text in approximate:
        parse([text])
    with _traced(trace):
        made = make(todo)
    found = {
        **measure.about(
            "generation", todo.workspace.module.NAME, todo.workspace.profile, todo.device
        ),
        "seconds_are": made.clock.kind,
        "batch": todo.spec.batch,
        "sources": len(todo.sources),
        **summary(todo, made),
        "pending": _pending(todo, made),
    }
    if "stock" in against:
        found["stock"] = _stock(todo, made)
        found["ratio_to_stock"] = found["stock"]["ratio"]
    if "loop" in against:
        found["loop"] = _loop(todo, made, loop_images)
    if approximate:
        found["approximate"] = {text: _approximate(todo, made, text) for text in approximate}
    return found


def _traced(path: Path | None) -> AbstractContextManager[Any]:
    """A trace in Chrome's format, which Perfetto and chrome://tracing show."""
    if path is None:
        return nullcontext()
    from torch.profiler import profile as recording

    path.parent.mkdir(parents=True, exist_ok=True)
    return recording(on_trace_ready=lambda run: run.export_chrome_trace(str(path)))


def summary(todo: Work, made: Made) -> dict[str, Any]:
    """Images per second and the share of each phase; useful FLOPs and their rate."""
    per_level = dict(todo.rows.group_by("guidance").len().iter_rows())
    images, total = len(made.pixels), made.seconds
    phases: dict[str, float] = {name: made.clock.seconds.get(name, 0.0) for name in PHASES}
    phases["idle"] = total - sum(phases.values())
    useful, rate = _useful_tflop(todo), measure.matrix_tflops(todo.device, todo.pipeline.unet.dtype)
    return {
        "images": images,
        "failed": made.failed,
        "slots_filled": _filled(per_level, todo.spec),
        "seconds": total,
        "wall_s": made.wall_s,
        "images_per_s": images / total,
        "levels": [
            {
                "guidance": level,
                "images": per_level[level],
                "steps": denoising_steps(level, todo.spec.steps),
                "images_per_s": per_level[level] / made.level_s[level],
            }
            for level in todo.levels
        ],
        "phases": {n: {"seconds": s, "share": s / total} for n, s in phases.items()},
        "useful_tflop": useful,
        "tflops": useful / total,
        "matrix_tflops": rate,
        "share_of_matrix_rate": useful / total / rate,
        "peak_gib": measure.peak_gib(todo.device),
        "joule_per_image": None if made.joules is None else made.joules / images,
    }


def _filled(per_level: Mapping[int, int], spec: GeneratorSpec) -> float:
    """Share of the slots that had an image, over all steps; each level's last batch is padded."""
    steps = {g: denoising_steps(g, spec.steps) for g in per_level}
    used = sum(steps[g] * n for g, n in per_level.items())
    there = sum(steps[g] * math.ceil(n / spec.batch) * spec.batch for g, n in per_level.items())
    return used / there if there else 1.0


@torch.inference_mode()
def _useful_tflop(todo: Work) -> float:
    """What the images need: two passes per step, a decoding; an encoding per source, CLIP."""
    spec, size = todo.spec, (todo.spec.height_px or todo.spec.size_px, todo.spec.size_px)
    first = todo.requests(todo.levels[-1])[0]
    engine = Generator(todo.pipeline, replace(spec, batch=1), todo.sources.__getitem__, todo.device)
    state = engine.slots()
    step = measure.tflop(lambda: engine.noise(state, torch.zeros(1, dtype=torch.long)))
    x = torch.zeros(1, 3, *size, device=todo.device, dtype=todo.pipeline.vae.dtype)
    encoding = measure.tflop(lambda: todo.pipeline.vae.encode(x))
    z = engine.start(first)[None].to(todo.pipeline.vae.dtype)
    decoding = measure.tflop(lambda: todo.pipeline.vae.decode(z))
    side = todo.scorer.side
    look = torch.zeros(1, 3, side, side, device=todo.device)
    clip = measure.tflop(lambda: todo.scorer.model.encode_image(look))
    steps = sum(denoising_steps(g, spec.steps) for g in todo.rows["guidance"])
    return steps * step + len(todo.rows) * (decoding + clip) + len(todo.sources) * encoding


def _pending(todo: Work, made: Made) -> dict[str, Any]:
    """Images that the plan still lacks, and hours for them at these rates, one worker."""
    shards = stages.pending(todo.workspace, stages.requests(todo.workspace))
    lacking = pl.concat([s.rows.select("guidance") for s in shards]) if shards else todo.rows[:0]
    counts = dict(lacking.group_by("guidance").len().iter_rows())
    per_image = {g: made.level_s[g] / len(todo.requests(g)) for g in todo.levels}
    hours = sum(n * per_image[g] for g, n in counts.items() if g in per_image) / 3600
    return {"images": sum(counts.values()), "worker_h": hours}


def _stock(todo: Work, made: Made) -> dict[str, Any]:
    """The stock pipeline, batched per level at the batch size that is best here."""
    pipeline, clock = _fresh(todo), Clock(todo.device)
    lightest, rates = todo.requests(todo.levels[-1]), {}
    for batch in [b for b in stock.BATCHES if b <= len(lightest)] or [len(lightest)]:
        some = lightest[:batch]
        once = partial(stock.stock, pipeline, todo.spec, some, todo.sources)
        rates[batch] = batch / _timed(clock, once)
    best, seconds = max(rates, key=lambda batch: rates[batch]), 0.0
    for level in todo.levels:
        asked = todo.requests(level)
        whole = partial(stock.batched, pipeline, todo.spec, asked, todo.sources, best)
        seconds += _timed(clock, whole)
    ours = made.seconds - sum(
        made.clock.seconds.get(n, 0.0) for n in ("CLIP", "image encode", "write")
    )
    return {
        "batch": best,
        "images_per_s_by_batch": rates,
        "images": len(todo.rows),
        "images_per_s": len(todo.rows) / seconds,
        "ratio": seconds / ours,
        "ratio_is": "images/s of the engine over the pipeline's, without CLIP, encoding, writing",
    }


def _loop(todo: Work, made: Made, images: int) -> dict[str, Any]:
    """One image at a time, on some images of every level; each level weighs as it does in ours."""
    pipeline, clock = _fresh(todo), Clock(todo.device)
    loop = stock.Loop(pipeline, todo.spec, todo.scorer)
    loop.make(todo.requests(todo.levels[-1])[0], todo.sources)
    seconds, n = 0.0, 0
    for level in todo.levels:
        requests = todo.requests(level)
        some = requests[:: max(1, len(requests) // images)][:images]
        took = sum(_timed(clock, partial(loop.make, request, todo.sources)) for request in some)
        seconds += took / len(some) * len(requests)
        n += len(some)
    return {
        "images": n,
        "images_per_s": len(todo.rows) / seconds,
        "ratio": seconds / made.seconds,
        "ratio_is": "images/s of the engine, CLIP and writing included, over the loop's",
    }


def _fresh(todo: Work) -> Any:
    """A pipeline that no engine has touched."""
    dtype = getattr(torch, todo.spec.dtype)
    pipeline = load_pipeline(todo.workspace.generator_source, dtype, todo.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _timed(clock: Clock, function: Callable[[], Any]) -> float:
    begun = clock.now()
    function()
    return clock.now() - begun


def _approximate(todo: Work, exact: Made, text: str) -> dict[str, Any]:
    """An approximation beside the exact generator: rate, grey levels, CLIPScore."""
    other = make(todo, replace(todo.spec, approximate=(text,)))
    keys = sorted(exact.pixels.keys() & other.pixels.keys())
    a, b = (np.stack([m.pixels[k] for k in keys]).astype(np.float32) for m in (exact, other))
    scores = [other.text_score[k] - exact.text_score[k] for k in keys]
    return {
        "images_per_s": len(other.pixels) / other.seconds,
        "ratio": exact.seconds / other.seconds,
        "mean_absolute_difference": float(np.abs(a - b).mean()),
        "rms_difference": float(np.sqrt(((a - b) ** 2).mean())),
        "clip_score_difference": float(np.mean(scores)),
        "clip_score_largest_difference": float(np.abs(scores).max()),
    }
