"""The training loop against one written by hand for the same steps, in one run."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cross_entropy, pad

from harness.core.specs import Machine
from harness.datasets.cifar100_lt import MINI
from harness.datasets.pictures import Block
from harness.methods.compose import compose
from harness.models.backbones import resnet10
from harness.training.data import COLUMNS, Split, TrainData
from harness.training.numbered_images import Store
from harness.training.trainer import fit

N, CLASSES = 2560, 60
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8), rng.integers(0, CLASSES, N)


def harness_s(width: int, batch: int, folder: Any) -> float:
    """Seconds of the quickest of two epochs of `fit`, testing left out."""
    images, labels = pictures()
    columns = {name: [0] * N for name in COLUMNS} | {"image": range(N), "label": labels}
    columns |= {"guidance": [100] * N, "hard": [False] * N, "score": [None] * N}
    data = TrainData(
        rows=pl.DataFrame(columns, schema=COLUMNS),
        images=Store(Block(images)),
        counts=(N // CLASSES,) * CLASSES,
        splits={"test": Split(Block(images[:64]), labels[:64], np.arange(64))},
        mean=MEAN,
        std=STD,
    )
    schedule = replace(MINI.scratch, batch=batch, epochs=2)
    seconds_by_epoch: list[float] = []
    recipe = replace(MINI, width=width, scratch=schedule)
    fit(
        compose("CE"), data, recipe, 0, folder, Machine(), save_s=1e9,
        watch=lambda entry: seconds_by_epoch.append(entry["train_s"]),
    )  # fmt: skip
    return min(seconds_by_epoch)


def by_hand_s(width: int, batch: int) -> float:
    """The same two epochs as one would write them: crop, flip, normalise, step."""
    images, labels = (torch.from_numpy(a) for a in pictures())
    torch.set_num_threads(1)
    model = resnet10(CLASSES, width).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(
        model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True
    )
    mean, std = (255 * torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        total = torch.zeros(())
        for ids in torch.randperm(N).split(batch):
            x = pad(images[ids].permute(0, 3, 1, 2), (4, 4, 4, 4))
            n = len(x)
            y0, x0 = torch.randint(0, 9, (2, n, 1))
            rows, columns = y0 + torch.arange(32), x0 + torch.arange(32)
            flip = torch.rand(n, 1) < 0.5
            columns = torch.where(flip, columns.flip(1), columns)
            cut = x.permute(0, 2, 3, 1)[
                torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None]
            ]
            batch_x = (cut.permute(0, 3, 1, 2).float() - mean) / std
            loss = cross_entropy(model(batch_x), labels[ids])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


@pytest.mark.parametrize(("width", "batch"), [(16, 64), (64, 128)])
def test_loop(benchmark: Any, tmp_path: Any, width: int, batch: int) -> None:
    """Seconds per epoch of both, turn by turn; `ratio` is ours over the other, medians."""
    ours, by_hand = [], []
    for turn in range(5 if width == 16 else 2):
        by_hand.append(by_hand_s(width, batch))
        ours.append(harness_s(width, batch, tmp_path / str(turn)))
    ratio = float(np.median(np.array(ours) / np.array(by_hand)))
    best = min(ours), min(by_hand)
    benchmark.extra_info.update(ours_s=best[0], by_hand_s=best[1], ratio=ratio)
    print(f"\nwidth {width}, batch {batch}: {best[0]:.2f} s an epoch, by hand {best[1]:.2f}, "
          f"median ratio {ratio:.3f}, best ratio {best[0] / best[1]:.3f}")  # fmt: skip
    benchmark.pedantic(harness_s, (width, batch, tmp_path / "timed"), rounds=1)
