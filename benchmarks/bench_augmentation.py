"""Random chains of picture operations: batches at once against Pillow, picture after picture.

Both change the same 32 px pictures by the same chains (states 0..10) into the same pixels, in this
process on one thread, one after the other; read the ratio, not the seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.training.operations import TOP, Plan, apply_one_by_one, draw
from harness.training.operations_fast import apply

BATCHES = (128, 512)  # a training batch, and nearer to what a level's update asks at once
ROUNDS = 30


def quickest_s(work: Callable[[], Any], rounds: int) -> float:
    def once() -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return min(once() for _ in range(rounds))


def images_and_plan(n: int) -> tuple[np.ndarray, Plan]:
    """Soft shapes with grain, and their chains."""
    rng = np.random.default_rng(0)
    shapes = rng.normal(120, 40, (n, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    images = (shapes + rng.normal(0, 8, shapes.shape)).clip(0, 255).astype(np.uint8)
    plan = draw(rng.integers(0, TOP + 1, n), torch.Generator().manual_seed(0))
    return images, plan


@pytest.mark.parametrize("n", BATCHES)
def test_at_once(benchmark: Any, n: int) -> None:
    """All pictures that need an operation of a family next have it together."""
    torch.set_num_threads(1)
    images, plan = images_and_plan(n)
    np.testing.assert_array_equal(apply(images, plan), apply_one_by_one(images, plan))
    benchmark.pedantic(apply, (images, plan), rounds=ROUNDS, warmup_rounds=3)
    benchmark.extra_info["images_per_s"] = n / benchmark.stats.stats.min
    pillow_s = quickest_s(lambda: apply_one_by_one(images, plan), ROUNDS // 3)
    benchmark.extra_info["times_pillow"] = pillow_s / benchmark.stats.stats.min


@pytest.mark.parametrize("n", BATCHES)
def test_one_by_one(benchmark: Any, n: int) -> None:
    """Pillow alone."""
    images, plan = images_and_plan(n)
    benchmark.pedantic(apply_one_by_one, (images, plan), rounds=ROUNDS // 3, warmup_rounds=1)
    benchmark.extra_info["images_per_s"] = n / benchmark.stats.stats.min
