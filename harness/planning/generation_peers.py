"""How the engine compares with other ways to the same images, and with its approximations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.generation import stock
from harness.generation.engine import load_pipeline
from harness.planning.generation_run import GenerationRun, Work, make
from harness.planning.measure import Clock


def against_stock(todo: Work, run: GenerationRun) -> dict[str, Any]:
    """The stock pipeline, batched per level at the batch size that is best here."""
    pipeline, clock = fresh_pipeline(todo), Clock(todo.device)
    lightest, rates = todo.requests(todo.levels[-1]), {}
    for batch in [b for b in stock.BATCHES if b <= len(lightest)] or [len(lightest)]:
        some = lightest[:batch]
        once = partial(stock.stock, pipeline, todo.spec, some, todo.sources)
        rates[batch] = batch / _timed(clock, once)
    best, seconds = max(rates, key=lambda batch: rates[batch]), 0.0
    for level in todo.levels:
        requests = todo.requests(level)
        whole = partial(stock.batched, pipeline, todo.spec, requests, todo.sources, best)
        seconds += _timed(clock, whole)
    ours = run.seconds - sum(
        run.clock.seconds.get(n, 0.0) for n in ("CLIP", "image encode", "write")
    )
    return {
        "batch": best,
        "images_per_s_by_batch": rates,
        "images": len(todo.rows),
        "images_per_s": len(todo.rows) / seconds,
        "ratio": seconds / ours,
        "ratio_is": "images/s of the engine over the pipeline's, without CLIP, encoding, writing",
    }


def against_loop(todo: Work, run: GenerationRun, images: int) -> dict[str, Any]:
    """One image at a time, on some images of every level; each level weighs as it does in ours."""
    pipeline, clock = fresh_pipeline(todo), Clock(todo.device)
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
        "ratio": seconds / run.seconds,
        "ratio_is": "images/s of the engine, CLIP and writing included, over the loop's",
    }


def fresh_pipeline(todo: Work) -> Any:
    """A pipeline that no engine has touched."""
    dtype = getattr(torch, todo.spec.dtype)
    pipeline = load_pipeline(
        todo.workspace.generator_source, dtype, todo.device, todo.spec.scheduler
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _timed(clock: Clock, function: Callable[[], Any]) -> float:
    begun = clock.now()
    function()
    return clock.now() - begun


def against_exact(todo: Work, exact: GenerationRun, text: str) -> dict[str, Any]:
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
