"""Training on a GPU: images per second and how busy it is, with and without the input path.

    python benchmarks/gpu_training.py [--out FILE] [--steps 60] [--input-workers N] [--tiny]

This needs a GPU with 80 GB (--tiny runs everything with small networks on a CPU, to see that it
runs). No file is fetched: weights are random, pictures are JPEGs of noise of 500x375 px.

NOT RUN YET: there is no figure of a GPU from this script in the repository.

For ResNet-10 with the recipe of ImageNet-LT in float32, TF32 and bfloat16, and for FLYP with
ViT-B/16 and ViT-L/14 in bfloat16 (L/14 in parts of 50 with activations computed again): the rate of
the whole loop and of the same steps on batches that lie on the device; their quotient is the share
of the time for which input leaves the GPU busy. busy: the mean that NVML samples meanwhile (needs
the extra `gpu`). peak_gib: of PyTorch's allocator.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg
import torch

from harness.core.specs import Machine, Recipe, Schedule
from harness.datasets.iwildcam_recipes import RECIPES as IWILDCAM
from harness.datasets.pictures import Files
from harness.datasets.recipes import PAPER
from harness.methods.compose import compose
from harness.training.data import COLUMNS, Split, TrainData
from harness.training.inference import View
from harness.training.numbered_images import Store
from harness.training.trainer import fit

CLASSES = 100


def pictures(folder: Path, n: int) -> Files:
    """Noise on soft shapes, as JPEGs of about 90 kB."""
    rng = np.random.default_rng(0)
    for number in range(n):
        shapes = rng.normal(120, 40, (47, 63, 3)).repeat(8, 0).repeat(8, 1)[:375, :500]
        photo = (shapes + rng.normal(0, 10, shapes.shape)).clip(0, 255).astype(np.uint8)
        file = simplejpeg.encode_jpeg(np.ascontiguousarray(photo), 92, colorsubsampling="420")
        (folder / f"{number}.jpg").write_bytes(file)
    return Files(folder, [f"{number}.jpg" for number in range(n)], budget_gib=0)


def train_data(files: Files, images: int) -> TrainData:
    """A training set that shows each picture several times."""
    labels = np.arange(images) % CLASSES
    columns: dict[str, Any] = {name: [0] * images for name in COLUMNS} | {"label": labels}
    columns |= {"image": np.arange(images) % len(files), "guidance": [100] * images}
    columns |= {"hard": [False] * images, "score": [None] * images}
    test = Split(files, np.arange(16) % CLASSES, np.arange(16))
    names = [f"thing {label}" for label in range(CLASSES)]
    return TrainData(
        rows=pl.DataFrame(columns, schema=COLUMNS),
        images=Store(files),
        counts=(images // CLASSES,) * CLASSES,
        splits={"test": test},
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        captions=tuple((f"a photo of {name}.", f"{name} in the wild.") for name in names),
    )


@contextmanager
def busy(device: str) -> Iterator[list[float]]:
    """Samples of NVML's utilisation, in percent, ten a second; none without NVML or a GPU."""
    samples: list[float] = []
    over = threading.Event()

    def sample() -> None:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        while not over.wait(0.1):
            samples.append(float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))

    watched = device != "cpu" and _has_nvml()
    thread = threading.Thread(target=sample) if watched else None
    if thread is not None:
        thread.start()
    try:
        yield samples
    finally:
        over.set()
        if thread is not None:
            thread.join()


def _has_nvml() -> bool:
    try:
        import pynvml  # noqa: F401
    except ImportError:
        return False
    return True


def seconds(data: TrainData, recipe: Recipe, expression: str, machine: Machine) -> float:
    """Of the second of two epochs; the first one warms up."""
    entries: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            compose(expression), data, recipe, 0, Path(folder), machine, watch=entries.append,
            save_s=1e9, within_s=1e9,
        )  # fmt: skip
    return float(entries[-1]["train_s"])


@contextmanager
def resident() -> Iterator[None]:
    """Batches that lie on the device, the same one again and again, in place of pictures."""
    prepared, finished, known = View.prepared, View.finished, {}

    def first(self: View, pictures: Any, draws: Any = None) -> Any:
        return len(pictures)

    def last(self: View, n: Any) -> torch.Tensor:
        if n not in known:
            shape = (n, self.side, self.side, 3)
            known[n] = torch.randint(256, shape, dtype=torch.uint8, device=self.mean.device)
        return known[n]

    View.prepared, View.finished = first, last  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        View.prepared, View.finished = prepared, finished  # type: ignore[method-assign]


class One:
    """A store that decodes nothing."""

    def take(self, ids: np.ndarray) -> np.ndarray:
        return np.empty((len(ids), 1, 1, 3), np.uint8)


def cases(tiny: bool) -> Iterator[tuple[str, str, Recipe]]:
    """Name, expression and recipe of what is measured."""
    schedule = replace(PAPER.scratch, epochs=2, milestones=(), warmup=0)
    resnet = replace(PAPER, scratch=schedule, onward=None, look_every=2)
    if tiny:
        resnet = replace(resnet, width=8, view_px=64)
    for precision in ("no", "tf32", "bf16"):
        yield f"ResNet-10, {precision}", "CE", replace(resnet, precision=precision)
    base = IWILDCAM["paper"]
    models = {"B/16": ("ViT-B-16-quickgelu", 256, 0), "L/14": ("ViT-L-14-quickgelu", 200, 50)}
    for name, (model, batch, part) in models.items():
        flyp = replace(
            base, scratch=Schedule("adamw", 1e-5, batch, 2), onward=None, precision="bf16",
            pretrained="mini" if tiny else f"{model}:openai", micro_batch=part,
            recompute=part > 0, look_every=2, view_px=64 if tiny else 224,
        )  # fmt: skip
        yield f"FLYP ViT-{name}, bf16", "FLYP", flyp


def measured(
    files: Files, expression: str, recipe: Recipe, machine: Machine, steps: int
) -> dict[str, float | None]:
    """Rates of the whole loop and of its steps alone."""
    images = steps * recipe.scratch.batch
    data = train_data(files, images)
    if machine.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    with busy(machine.device) as samples:
        whole = seconds(data, recipe, expression, machine)
    split = replace(data.splits["test"], images=One())
    bare = replace(data, images=One(), splits={"test": split})
    with resident():
        alone = seconds(bare, recipe, expression, replace(machine, input_workers=0))
    peak = None if machine.device == "cpu" else torch.cuda.max_memory_allocated() / 2**30
    return {
        "images_per_s": images / whole,
        "images_per_s_without_input": images / alone,
        "share_of_the_time_busy": alone / whole,
        "nvml_busy": sum(samples) / len(samples) / 100 if samples else None,
        "peak_gib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--steps", type=int, default=60, help="of an epoch (default 60)")
    parser.add_argument("--input-workers", type=int, help="default: the cores less one")
    parser.add_argument("--tiny", action="store_true", help="small networks, on a CPU")
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        parser.exit(2, "this benchmark needs a GPU; --tiny runs it with small networks on a CPU\n")
    device = "cpu" if arguments.tiny else "cuda"
    machine = Machine(device, input_workers=arguments.input_workers, device_views=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder, no_weights():
        files = pictures(Path(folder), 64 if arguments.tiny else 2048)
        for name, expression, recipe in cases(arguments.tiny):
            results[name] = measured(files, expression, recipe, machine, arguments.steps)
            print(name, json.dumps(results[name]), flush=True)
    if arguments.out:
        card = "cpu" if device == "cpu" else torch.cuda.get_device_name()
        arguments.out.write_text(json.dumps({"device": card} | results, indent=1))


@contextmanager
def no_weights() -> Iterator[None]:
    """Image-text models as open_clip draws them."""
    from harness.models import clip

    load = clip.load

    def drawn(name: str, classes: int, *, weights: bool = True) -> Any:
        return load(name, classes, weights=weights and name == "mini")

    clip.load = drawn
    try:
        yield
    finally:
        clip.load = load


if __name__ == "__main__":
    main()
