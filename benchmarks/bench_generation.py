"""Generation: the engine against a loop that calls the stock pipeline for one image at a time.

Both make the same images (same sources, prompts, levels, seeds) with the embedded models in this
process on one thread, one after the other; read the ratio, not the seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.generate import Generator, Request, denoising_steps, load_pipeline, noise_seed
from harness.mini import scene, world
from harness.places import Place

LEVELS = (0, 10, 30, 50)
SOURCES, SEEDS = 4, 4
IMAGES = SOURCES * SEEDS * len(LEVELS)


@pytest.fixture(scope="module")
def given() -> tuple[Any, Place, dict[str, np.ndarray], list[Request]]:
    """Pipeline, place, sources and requests."""
    torch.set_num_threads(1)
    place = Place("cifar100-lt")
    pipeline = load_pipeline(place.generator_source, torch.float32, "cpu")
    pipeline.set_progress_bar_config(disable=True)
    sources, requests = {}, []
    for concept in world.rows_of_cifar100()[:: 60 // SOURCES][:SOURCES]:
        name = scene.atlas().names[concept]
        sources[name] = scene.compose("train", concept, 0).pixels
        for level in LEVELS:
            for seed in range(SEEDS):
                prompt = place.module.prompt(name, seed, place.recipe)
                requests.append(Request(f"{name}/{level}/{seed}", name, level, seed, prompt))
    return pipeline, place, sources, requests


def test_engine(benchmark: Any, given: Any) -> None:
    """The engine: a constant batch, sources and texts encoded once."""
    pipeline, place, sources, requests = given

    def work() -> int:
        generator = Generator(pipeline, place.generator, sources.__getitem__)
        return len(list(generator.images(requests)))

    assert benchmark.pedantic(work, rounds=2, warmup_rounds=1) == IMAGES
    benchmark.extra_info["images_per_s"] = IMAGES / benchmark.stats.stats.min


def test_stock_pipeline_one_at_a_time(benchmark: Any, given: Any) -> None:
    """The stock pipeline, batch 1."""
    pipeline, place, sources, requests = given
    spec = place.generator

    def work() -> int:
        made = 0
        for r in requests:
            steps = denoising_steps(r.guidance, spec.steps)
            rng = torch.Generator().manual_seed(noise_seed(r.source, r.seed))
            images = pipeline(
                prompt=r.prompt,
                image=Image.fromarray(sources[r.source]),
                strength=min(1.0, (steps + 0.5) / spec.steps),
                num_inference_steps=spec.steps,
                guidance_scale=spec.text_guidance,
                aesthetic_score=spec.aesthetic,
                negative_aesthetic_score=spec.negative_aesthetic,
                generator=rng,
            ).images
            made += len(images)
        return made

    assert benchmark.pedantic(work, rounds=2, warmup_rounds=0) == IMAGES
    benchmark.extra_info["images_per_s"] = IMAGES / benchmark.stats.stats.min
