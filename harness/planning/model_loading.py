"""Loads each model of a profile once, as its stages do, and says what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import Recipe
from harness.pipeline.workspace import DATASETS, Workspace
from harness.planning.packages import OK


@dataclass(frozen=True)
class Loaded:
    """A model that was loaded, or not. status: OK or what is wrong."""

    name: str
    status: str
    seconds: float
    gib: float  # of its tensors


def load_each(profile: str, home: Path = Path(), device: str = "cpu") -> Iterator[Loaded]:
    """Every generator, scorer and start of a run of the profile's data sets, once each.

    What is not in the cache of the hub is fetched. One is held at a time.
    """
    for name, load in _loaders(profile, home, device).items():
        begun, gib = time.perf_counter(), 0.0
        try:
            gib, status = _gib(load()), OK
        except (DataError, UsageError) as error:
            status = brief(error, 300)
        yield Loaded(name, status, time.perf_counter() - begun, gib)


def _loaders(profile: str, home: Path, device: str) -> dict[str, Callable[[], Any]]:
    loaders: dict[str, Callable[[], Any]] = {}
    for name in registry.names(DATASETS):
        module = registry.find(DATASETS, name)
        others = module.BACKBONES.get(profile, {})
        for backbone in (None, *others):
            workspace = Workspace(name, profile, home, backbone=backbone)
            loaders |= _of(workspace, workspace.recipe, device)
    return loaders


def _of(workspace: Workspace, recipe: Recipe, device: str) -> dict[str, Callable[[], Any]]:
    loaders: dict[str, Callable[[], Any]] = {
        f"generator {recipe.generator}": partial(_generator, workspace, device),
        f"CLIP {recipe.clip}": partial(_scorer, workspace, device),
    }
    if recipe.pretrained is not None:
        loaders[f"start {recipe.pretrained}"] = partial(_start, recipe.pretrained, device)
    return loaders


def _generator(workspace: Workspace, device: str) -> Any:
    """The pipeline's parts; an engine is made of them, which asks for a size that it can make."""
    import numpy as np
    import torch

    from harness.generation.engine import Generator, load_pipeline

    spec, dtype = workspace.generator, getattr(torch, workspace.dtype)
    pipeline = load_pipeline(workspace.generator_source, dtype, device, spec.scheduler)
    with torch.inference_mode():
        Generator(pipeline, spec, lambda name: np.zeros((1, 1, 3), np.uint8), device).slots()
    return pipeline.unet, pipeline.vae, pipeline.text_encoder_2


def _scorer(workspace: Workspace, device: str) -> Any:
    from harness.generation.clip_scores import Scorer

    return (Scorer(*workspace.clip_source, device=device).model,)


def _start(name: str, device: str) -> Any:
    import torch

    from harness.models import clip

    with torch.device(device):
        return (clip.load(name, 2),)


def _gib(modules: Any) -> float:
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return sum(t.numel() * t.element_size() for t in tensors) / 2**30
