"""Training input: decoding and views of 500x375 JPEGs at 224 px, per core and with two processes.

    python benchmarks/bench_input.py [--out FILE]

Everything is measured in this one process, turn by turn, the quickest turn counts; read the ratios.
Seconds per core are CPU time; those of several processes are wall-clock time, so nothing else
should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness.core.draws import Draws
from harness.datasets.pictures import decode
from harness.training import augmentation
from harness.training.ahead import ahead
from harness.training.device_views import DEVICE_VIEWS

BATCH, SIDE = 64, 224
BATCHES = 96  # of the measurements with processes, which start anew for each
CHANGES = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)


def jpegs(n: int) -> list[bytes]:
    """Photo-like pictures of about 90 kB: soft shapes with grain."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(n):
        shapes = rng.normal(120, 40, (47, 63, 3)).repeat(8, 0).repeat(8, 1)[:375, :500]
        photo = (shapes + rng.normal(0, 10, shapes.shape)).clip(0, 255).astype(np.uint8)
        pixels = np.ascontiguousarray(Image.fromarray(photo).resize((500, 375)))
        files.append(simplejpeg.encode_jpeg(pixels, quality=92, colorsubsampling="420"))
    return files


def by_torchvision(pictures: list[np.ndarray], draws: Draws) -> torch.Tensor:
    """The view `imagenet` by torchvision's functions, one picture after the other."""
    sizes = np.array([picture.shape[:2] for picture in pictures])
    u = draws.of("crop").uniform(4 * augmentation.TRIES)
    boxes = augmentation._crop_boxes(sizes, u, (0.08, 1.0)).tolist()
    flips, colours = draws.of("flip").uniform(1)[:, 0] < 0.5, draws.of("jitter").uniform(4)
    views = []
    for picture, box, flip, u in zip(pictures, boxes, flips, colours, strict=True):
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        x = functional.resized_crop(x, *box, [SIDE, SIDE], antialias=True)
        x = x.flip(-1) if flip else x
        for which in augmentation.ORDERS[int(len(augmentation.ORDERS) * u[3])]:
            x = CHANGES[which](x, float(0.6 + 0.8 * u[which]))
        views.append(x)
    return torch.stack(views).permute(0, 2, 3, 1).contiguous()


def per_core(files: list[bytes], turns: int) -> dict[str, float]:
    """Milliseconds of CPU per picture, and their ratios."""
    draws = Draws((1,), 0, len(files))

    def decoded() -> list[np.ndarray]:
        return [decode(file) for file in files]

    assert torch.equal(
        augmentation.imagenet(decoded(), draws, SIDE), by_torchvision(decoded(), draws)
    )
    work: dict[str, Callable[[], Any]] = {
        "decode": decoded,
        "decode, views left to the device": (
            lambda: DEVICE_VIEWS["imagenet"].packed(decoded(), draws, SIDE)
        ),
        "decode and view": lambda: augmentation.imagenet(decoded(), draws, SIDE),
        "decode and view by torchvision": lambda: by_torchvision(decoded(), draws),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(turns):
        for name, do in work.items():
            begun = time.thread_time()
            do()
            seconds[name].append(time.thread_time() - begun)
    ms = {name: 1e3 * min(some) / len(files) for name, some in seconds.items()}
    first, second, third, fourth = ms.values()
    return ms | {
        "rate with the device's views, of that of decoding": first / second,
        "rate of decoding and views, times torchvision's": fourth / third,
    }


def view(files: list[bytes], batch: int) -> torch.Tensor:
    draws = Draws((1,)).at(slice(batch * BATCH, (batch + 1) * BATCH))
    return augmentation.imagenet([decode(file) for file in files[:BATCH]], draws, SIDE)


def wall_s(files: list[bytes], workers: int) -> float:
    begun = time.perf_counter()
    for _ in ahead(partial(view, files), range(BATCHES), workers):
        pass
    return time.perf_counter() - begun


def independent_s(files: list[bytes], workers: int) -> float:
    """Of so many processes that do as much each and have nothing to do with each other."""
    context = multiprocessing.get_context("fork")
    begun = time.perf_counter()
    each = [context.Process(target=_views, args=(files, BATCHES // 2)) for _ in range(workers)]
    for process in each:
        process.start()
    for process in each:
        process.join()
    return time.perf_counter() - begun


def _views(files: list[bytes], batches: int) -> None:
    for batch in range(batches):
        view(files, batch)


def two_cores(files: list[bytes], turns: int) -> dict[str, float]:
    """Rates of two processes by those of one: the most the machine gives now, and the loader's."""
    rows = []
    for _ in range(turns):
        bare = [independent_s(files, workers) for workers in (1, 2)]
        rows.append([2 * bare[0] / bare[1], *(wall_s(files, workers) for workers in (1, 2))])
    possible, one, two = np.array(rows).T
    return {
        "one input worker, s": one.min(),
        "two, s": two.min(),
        "rate of two, times one (median)": float(np.median(one / two)),
        "the same of two independent processes (median)": float(np.median(possible)),
    }


def waiting(input_s: float, step_s: float, workers: int) -> float:
    """Share of the time that a loop of `step_s` a batch waits for input of `input_s` a batch."""

    def ready(batch: int) -> int:
        _compute(input_s)
        return batch

    waited, begun = 0.0, time.perf_counter()
    batches: Iterator[int] = ahead(ready, range(80), workers)
    for first in range(80):
        before = time.perf_counter()
        next(batches)
        if first:  # the first one has nothing to be prepared beside
            waited += time.perf_counter() - before
        _compute(step_s)
    return waited / (time.perf_counter() - begun)


def _compute(seconds: float) -> None:
    """Keep the processor busy for so much of its own time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--turns", type=int, default=7, help="of each measurement (default 7)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = jpegs(BATCH)
    results = {
        "per picture, ms of one core": per_core(files, arguments.turns),
        "two processes": two_cores(files, max(2, arguments.turns // 2)),
        "share of waiting, 30 ms of input and 50 ms of computing a batch": {
            f"{n} input workers": waiting(0.03, 0.05, n) for n in (0, 1, 2)
        },
    }
    for title, values in results.items():
        print(title)
        for name, value in values.items():
            print(f"  {name:55s} {value:8.3f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
