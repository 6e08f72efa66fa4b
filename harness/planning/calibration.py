"""Measures the unit costs of a plan on this machine, in a minute, on random pictures.

Run as python -m harness.planning.calibration, it writes those that ship with the package; then
python -m harness.core.package_files.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import parallel, registry
from harness.core.files import write_atomic
from harness.core.machine import cpu_name
from harness.core.specs import Machine, Recipe
from harness.methods.compose import compose
from harness.methods.terms import Augment, Method
from harness.mini.weights import BUILT_IN
from harness.pipeline.workspace import DATASETS, Workspace
from harness.planning.unit_costs import COSTS, UnitCosts, name_of, plain

IMAGES = 512  # of an epoch that is timed, at most, and at least two batches
ROUNDS = 3
# Height and width of usual pictures of the official sets; others are of the network's size.
USUAL_PX = {"imagenet-lt": (375, 500), "inaturalist2018": (600, 800), "iwildcam": (448, 448)}
BASE = {True: ("FLYP", "LP-FT"), False: ("CE", "BS")}  # methods, by whether the model reads texts


def measured(workspace: Workspace, base: Sequence[str] | None = None) -> UnitCosts:
    """Unit costs of a workspace's recipe on this machine, one thread.

    base: methods whose objectives are timed; None: those of BASE.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        costs = _views(workspace, UnitCosts(f"measured here, on {cpu_name()}"))
        if workspace.profile != "paper":
            names = BASE[workspace.recipe.pretrained is not None] if base is None else base
            costs = _networks(workspace, costs, names)
            costs = _generator(workspace, costs)
        return _scorer(workspace, costs)
    finally:
        torch.set_num_threads(threads)


def _best(work: Callable[[], Any], n: int) -> float:
    """CPU seconds of one of n, the median of some rounds after one that warms up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return sorted(seconds)[ROUNDS // 2] / n


def _noise(n: int, height: int, width: int) -> np.ndarray:
    """Pictures of coarse noise, which take as many bytes in JPEG as photographs do, about."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width]


# ---------------------------------------------------------------- pictures


def _views(workspace: Workspace, costs: UnitCosts) -> UnitCosts:
    """From files to what the network reads."""
    import simplejpeg

    from harness.core.draws import Draws
    from harness.datasets.codec import encode, resized
    from harness.datasets.pictures import decode
    from harness.training import augmentation

    recipe, n = workspace.recipe, 16
    small = (recipe.view_px, recipe.view_px)
    usual = USUAL_PX.get(workspace.module.NAME, small) if workspace.profile == "paper" else small
    files = [simplejpeg.encode_jpeg(p, 92) for p in _noise(n, *usual)]
    train, test = (
        registry.function(augmentation, name) for name in (recipe.augment, recipe.test_view)
    )
    made_px = (recipe.height_px or recipe.size_px, recipe.size_px)
    pool = [encode(p, workspace.codec) for p in _noise(n, *made_px)]
    fits = recipe.augment not in ("crop-flip", "none") or made_px == small

    def view(stored: Sequence[bytes], change: Any, draws: bool) -> None:
        pictures = [decode(data) for data in stored]
        if not fits and pictures[0].shape[:2] != small:
            pictures = [resized(p, recipe.view_px) for p in pictures]
        change(pictures, Draws((0,)).of("view").at(slice(0, n)) if draws else None, recipe.view_px)

    return replace(
        costs,
        view_s=_best(lambda: view(files, train, True), n),
        test_view_s=_best(lambda: view(files, test, False), n),
        pool_view_s=_best(lambda: view(pool, train, True), n),
        store_s=_best(lambda: [encode(p, workspace.codec) for p in _noise(n, *made_px)], n),
    )


# ---------------------------------------------------------------- networks


def _networks(workspace: Workspace, costs: UnitCosts, names: Sequence[str]) -> UnitCosts:
    train_s: dict[str, float] = {}
    forward = []
    for name in names:
        method = compose(name, workspace.module.NAME, workspace.profile)
        each, without = _passes(workspace, method)
        train_s[type(method.objective).__name__] = each
        forward.append(without)
    return replace(costs, train_s=train_s, forward_s=sum(forward) / len(forward))


def _passes(workspace: Workspace, method: Method, device: str = "cpu") -> tuple[float, float]:
    """Seconds of an image with gradients, and of one without, by short runs of the real loop."""
    from harness.training.trainer import fit

    recipe = workspace.recipe
    schedule = replace(
        recipe.scratch, epochs=ROUNDS + 2, warmup=0, warmup_steps=0, milestones=(), lr=1e-6
    )
    recipe = replace(recipe, scratch=schedule, onward=None, look_every=10_000, look_share=1.0)
    n = max(2 * schedule.batch, IMAGES // schedule.batch * schedule.batch)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            replace(method, start=None), _data(workspace, recipe, n), recipe, 0, Path(folder),
            Machine(device=device), watch=lambda entry: ends.append(time.process_time()),
            save_s=1e9,
        )  # fmt: skip
    epochs = np.diff(ends)
    trained = float(np.median(epochs[:-1]))
    return trained / n, max(0.0, float(epochs[-1]) - trained) / n


def _data(workspace: Workspace, recipe: Recipe, n: int) -> Any:
    """Random pictures of a few classes, as many for testing."""
    import polars as pl

    from harness.core.guidance import REAL
    from harness.datasets.pictures import Block
    from harness.training.data import COLUMNS, Split, TrainData
    from harness.training.numbered_images import Store

    classes = 60
    labels, block = np.arange(n) % classes, Block(_noise(n, recipe.view_px, recipe.view_px))
    columns = {"image": np.arange(n), "label": labels, "guidance": REAL, "hard": False}
    columns |= {"count": n // classes, "score": None, "parent": np.arange(n), "caption": 0}
    module: Any = workspace.module
    captions = tuple(module.captions(f"thing {label}") for label in range(classes))
    return TrainData(
        rows=pl.DataFrame({name: columns[name] for name in COLUMNS}, schema=COLUMNS),
        images=Store(block, None),
        counts=tuple(np.bincount(labels, minlength=classes).tolist()),
        splits={module.TEST: Split(block, labels, np.arange(n))},
        mean=module.MEAN,
        std=module.STD,
        captions=captions,
        pretrained=recipe.pretrained,
        test=module.TEST,
    )


def changes_pixels(method: Method) -> bool:
    """Whether a term changes pictures after the recipe's view."""
    return any(type(hook).pixels is not Augment.pixels for hook in method.augment)


# ---------------------------------------------------------------- the generator


def _generator(workspace: Workspace, costs: UnitCosts) -> UnitCosts:
    """From two guidance levels: what a step takes, and what an image takes beside."""
    import torch

    from harness.core.guidance import hundredths
    from harness.datasets.codec import encode
    from harness.generation.engine import Generator, Request, load_pipeline, picture_of
    from harness.generation.schedule import denoising_steps

    if workspace.recipe.generator != BUILT_IN:
        return costs
    spec = workspace.generator
    pictures = _noise(spec.batch, spec.height_px or spec.size_px, spec.size_px)
    pipeline = load_pipeline(workspace.generator_source, torch.float32, "cpu")
    engine = Generator(pipeline, spec, lambda name: pictures[int(name)])

    def make(guidance: int) -> None:
        some = [Request(str(i), str(i), guidance, 0, "a photo") for i in range(spec.batch)]
        for _, picture in engine.images(some):
            encode(picture_of(picture), spec.codec)

    make(0)
    few, many = hundredths(0.9), 0
    short, long = (_best(partial(make, level), spec.batch) for level in (few, many))
    steps = [denoising_steps(level, spec.steps) for level in (few, many)]
    step_s = (long - short) / (steps[1] - steps[0])

    def encoded() -> None:
        engine.posterior.clear()
        for i in range(spec.batch):
            engine.posterior(str(i))

    with torch.inference_mode():
        source_s = _best(encoded, spec.batch)
    return replace(
        costs, step_s=step_s, image_s=max(0.0, short - steps[0] * step_s), source_s=source_s
    )


def _scorer(workspace: Workspace, costs: UnitCosts) -> UnitCosts:
    """The preparation of pictures for CLIP; its embedding where the model is built in."""
    from harness.datasets.codec import encode
    from harness.datasets.pictures import decode
    from harness.generation.clip_scores import Scorer

    recipe, n = workspace.recipe, 64
    made_px = (recipe.height_px or recipe.size_px, recipe.size_px)
    stored = [encode(p, workspace.codec) for p in _noise(n, *made_px)]
    if recipe.clip == BUILT_IN:
        scorer = Scorer(*workspace.clip_source)
        work = lambda: scorer.images(np.stack([decode(data) for data in stored]))  # noqa: E731
        return replace(costs, score_s=_best(work, n))
    prepared = _prepared(Scorer)
    view = lambda: prepared(np.stack([decode(data) for data in stored[:16]]))  # noqa: E731
    return replace(costs, score_view_s=_best(view, 16))


def _prepared(scorer: Any) -> Callable[[np.ndarray], Any]:
    """What a scorer does with pictures before its model, without one: of 224 px, not squashed."""
    import torch

    bare = scorer.__new__(scorer)
    bare.side, bare.whole = 224, False

    def prepare(pictures: np.ndarray) -> Any:
        return bare._sized(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)

    return prepare


# ---------------------------------------------------------------- what ships


def workspaces() -> list[Workspace]:
    """Every data set and profile, with its own backbone and, where a CPU trains, the others."""
    return [
        Workspace(name, profile, backbone=backbone)
        for name in registry.names(DATASETS)
        for module in [registry.find(DATASETS, name)]
        for profile in module.RECIPES
        for backbone in (None, *(module.BACKBONES.get(profile, {}) if profile != "paper" else ()))
    ]


def _likeness(workspace: Workspace) -> tuple[Any, ...]:
    """What the costs of a workspace depend on: equal ones are measured once."""
    r = workspace.recipe
    usual = USUAL_PX.get(workspace.module.NAME) if workspace.profile == "paper" else None
    network = (r.backbone, r.width, r.pretrained, r.scratch.batch, r.scratch.optimiser)
    made = (r.generator, r.clip, r.size_px, r.height_px)
    return (workspace.profile == "paper", usual, r.view_px, r.augment, r.test_view, network, made)


def main(names: Sequence[str]) -> None:
    """Measure those of these names anew, of all without one; others stay in the file."""
    every = workspaces()
    chosen = [w for w in every if not names or name_of(w) in names]
    known = json.loads(COSTS.read_text())["costs"] if names else {}
    for workspace in chosen:
        costs = plain(measured(workspace))
        same = [w for w in every if _likeness(w) == _likeness(workspace)]
        known |= {name_of(w): costs for w in same}
        content = {
            "machine": f"{cpu_name()}, one of {parallel.cores()} cores",
            "date": datetime.now(UTC).strftime("%B %Y"),
            "costs": dict(sorted(known.items())),
        }
        write_atomic(COSTS, (json.dumps(content, indent=1) + "\n").encode())
        print(f"{', '.join(map(name_of, same))}: measured")


if __name__ == "__main__":
    main(sys.argv[1:])
