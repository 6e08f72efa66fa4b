"""The `web` stream as the foundation models see it: pictures, captions, qualities."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from harness.mini import scene
from harness.mini.captions import caption

SIZE_PX = 64
PER_CONCEPT = 1000
HELD_OUT = 40  # numbers from PER_CONCEPT on: never trained on
CAPTIONS_EACH = 2
INFRARED = 0.06  # share of the pictures that are infrared ones, taken at night


def concepts() -> range:
    """Atlas rows that the foundation models learn: all."""
    return range(len(scene.atlas().concepts))


def picture(concept: int, number: int) -> scene.Scene:
    """Web picture `number` of a concept, SIZE_PX wide: a scene, now and then in infrared."""
    drawn = scene.compose("web", concept, number, SIZE_PX)
    rng = np.random.Generator(np.random.PCG64([8, concept, number]))
    return scene.infrared(drawn, rng) if rng.random() < INFRARED else drawn


def render(out: Path, workers: int = 2) -> None:
    """Write out/web.npz: images uint8 (N, 64, 64, 3), concept, style (N,), quality, captions."""
    if (out / "web.npz").exists():
        return
    jobs = [(c, start) for c in concepts() for start in range(0, PER_CONCEPT, 100)]
    with ProcessPoolExecutor(workers) as pool:
        parts = list(pool.map(_part, jobs, chunksize=8))
    stacked: dict[str, Any] = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "web.part.npz"
    np.savez(partial, **stacked)
    partial.replace(out / "web.npz")


def _part(job: tuple[int, int]) -> dict[str, np.ndarray]:
    concept, start = job
    scenes = [picture(concept, n) for n in range(start, start + 100)]
    rng = np.random.Generator(np.random.PCG64([7, concept, start]))
    return {
        "images": np.stack([s.pixels for s in scenes]),
        "concept": np.full(len(scenes), concept, np.int16),
        "style": np.array([s.style for s in scenes], np.int8),
        "quality": np.array([s.quality for s in scenes], np.float32),
        "captions": np.array([[caption(s, rng) for _ in range(CAPTIONS_EACH)] for s in scenes]),
    }


def load(folder: Path) -> dict[str, np.ndarray]:
    """Read what `render` wrote."""
    with np.load(folder / "web.npz") as file:
        return {k: file[k] for k in file.files}
