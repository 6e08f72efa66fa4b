"""Where the seconds of generation go, and how it stands beside other ways to the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from harness.core.errors import UsageError
from harness.core.specs import GeneratorSpec
from harness.generation.approximations import parse
from harness.generation.engine import Generator
from harness.generation.schedule import denoising_steps
from harness.pipeline import stages
from harness.planning import measure
from harness.planning.generation_peers import against_exact, against_loop, against_stock
from harness.planning.generation_run import GenerationRun, Work, make

PHASES = ("source encode", "text", "denoise", "decode", "CLIP", "image encode", "write")
PIPELINES = ("stock", "loop")


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
        run = make(todo)
    report = {
        **measure.about(
            "generation", todo.workspace.module.NAME, todo.workspace.profile, todo.device
        ),
        "seconds_are": run.clock.kind,
        "batch": todo.spec.batch,
        "sources": len(todo.sources),
        **summary(todo, run),
        "pending": _pending(todo, run),
    }
    if "stock" in against:
        report["stock"] = against_stock(todo, run)
        report["ratio_to_stock"] = report["stock"]["ratio"]
    if "loop" in against:
        report["loop"] = against_loop(todo, run, loop_images)
    if approximate:
        report["approximate"] = {text: against_exact(todo, run, text) for text in approximate}
    return report


def _traced(path: Path | None) -> AbstractContextManager[Any]:
    """A trace in Chrome's format, which Perfetto and chrome://tracing show."""
    if path is None:
        return nullcontext()
    from torch.profiler import profile as recording

    path.parent.mkdir(parents=True, exist_ok=True)
    return recording(on_trace_ready=lambda run: run.export_chrome_trace(str(path)))


def summary(todo: Work, run: GenerationRun) -> dict[str, Any]:
    """Images per second and the share of each phase; useful FLOPs and their rate."""
    per_level = dict(todo.rows.group_by("guidance").len().iter_rows())
    images, total = len(run.pixels), run.seconds
    phases: dict[str, float] = {name: run.clock.seconds.get(name, 0.0) for name in PHASES}
    phases["idle"] = total - sum(phases.values())
    useful, rate = _useful_tflop(todo), measure.matrix_tflops(todo.device, todo.pipeline.unet.dtype)
    return {
        "images": images,
        "failed": run.failed,
        "slots_filled": _filled(per_level, todo.spec),
        "seconds": total,
        "wall_s": run.wall_s,
        "images_per_s": images / total,
        "levels": [
            {
                "guidance": level,
                "images": per_level[level],
                "steps": denoising_steps(level, todo.spec.steps),
                "images_per_s": per_level[level] / run.level_s[level],
            }
            for level in todo.levels
        ],
        "phases": {n: {"seconds": s, "share": s / total} for n, s in phases.items()},
        "useful_tflop": useful,
        "tflops": useful / total,
        "matrix_tflops": rate,
        "share_of_matrix_rate": useful / total / rate,
        "peak_gib": measure.peak_gib(todo.device),
        "joule_per_image": None if run.joules is None else run.joules / images,
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


def _pending(todo: Work, run: GenerationRun) -> dict[str, Any]:
    """Images that the plan still lacks, and hours for them at these rates, one worker."""
    shards = stages.pending(todo.workspace, stages.requests(todo.workspace))
    lacking = pl.concat([s.rows.select("guidance") for s in shards]) if shards else todo.rows[:0]
    counts = dict(lacking.group_by("guidance").len().iter_rows())
    per_image = {g: run.level_s[g] / len(todo.requests(g)) for g in todo.levels}
    hours = sum(n * per_image[g] for g, n in counts.items() if g in per_image) / 3600
    return {"images": sum(counts.values()), "worker_h": hours}
