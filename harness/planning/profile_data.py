"""Where the seconds of reading a pool and of training go."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.errors import DataError
from harness.core.specs import SMALL_UP_TO_PX, Machine, Schedule
from harness.datasets.pictures import Block
from harness.methods.compose import compose
from harness.pipeline import run_data, stages
from harness.pipeline.workspace import Workspace
from harness.planning import measure
from harness.planning.flops import network, shape_of
from harness.pool.cache import pixels
from harness.pool.reader import Pool
from harness.training.trainer import fit

BATCH = 128
IMAGES = 4096  # read at most
TRAINED = 2048  # images of the epoch that is timed, at most


def reading(workspace: Workspace) -> dict[str, Any]:
    """Images per second of the pool's ways to be read, in shuffled batches, wall clock.

    decoded: pool.reader.Pool, with one thread and with all that this process may use; pixels:
    the mapped block of small pictures, left out for larger ones.
    """
    index = stages.pool_index(workspace)
    if not len(index):
        raise DataError(
            f"{workspace.pool} holds no images by this generator; `harness generate` makes them"
        )
    about = measure.about("reading", workspace.module.NAME, workspace.profile, "cpu") | {
        "images": len(index),
        "batch": BATCH,
    }
    rates = {}
    for workers in sorted({1, Pool(workspace.pool, index).workers}):
        pool = Pool(workspace.pool, index, workers=workers)
        rates[f"decoded, threads: {workers}"] = _rate(pool, len(index))
    small = max(pool[0].shape[:2]) <= SMALL_UP_TO_PX
    if small:
        block = Block(pixels(workspace.pool, index))
        rates["pixels, mapped"] = _rate(block, len(index))
    return about | {"images_per_s": rates}


def _rate(images: Any, n: int) -> float:
    ids = np.random.default_rng(0).permutation(n)[:IMAGES]
    parts = np.split(ids, range(BATCH, len(ids), BATCH))
    images.take(parts[0])
    begun = time.perf_counter()
    for part in parts:
        images.take(part)
    return len(ids) / (time.perf_counter() - begun)


def training(workspace: Workspace, device: str = "cpu") -> dict[str, Any]:
    """Images per second of an epoch of CE on the data set's training images; testing left out."""
    method, recipe = compose("CE", workspace.module.NAME, workspace.profile), workspace.recipe
    data = run_data.train_data(workspace, workspace.imbalances()[0], method)
    data = replace(data, rows=data.rows.sample(min(TRAINED, len(data.rows)), seed=0))
    schedule: Schedule = replace(recipe.scratch, epochs=2, milestones=(), warmup=0)
    recipe = replace(recipe, scratch=schedule)
    epochs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(device=device, threads=torch.get_num_threads())
        fit(method, data, recipe, 0, Path(folder), machine, watch=epochs.append, save_s=1e9)
    seconds = min(entry["train_s"] for entry in epochs)
    cost = network(shape_of(recipe, len(data.counts)))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.precision, torch.float32)
    tflops = cost.train * len(data.rows) / seconds / 1000
    rate = measure.matrix_tflops(device, dtype)
    return measure.about("training", workspace.module.NAME, workspace.profile, device) | {
        "images": len(data.rows),
        "batch": schedule.batch,
        "backbone": recipe.backbone,
        "seconds_are": "wall-clock seconds",
        "images_per_s": len(data.rows) / seconds,
        "tflops": tflops,
        "matrix_tflops": rate,
        "share_of_matrix_rate": tflops / rate,
        "peak_gib": measure.peak_gib(device),
    }
