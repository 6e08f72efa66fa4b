"""Which rows an epoch trains on: asked of the terms by the training loop and by dry runs alike.

PyTorch is not needed: `harness plan` counts epochs without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import polars as pl

from harness.core.guidance import REAL
from harness.core.specs import Recipe, Schedule
from harness.methods.sampling import hundredths
from harness.methods.terms import Method, Progress, Tools


class Rows(Protocol):
    """Real rows, and those of the synthetic images or None; both with data.COLUMNS."""

    @property
    def rows(self) -> pl.DataFrame: ...

    @property
    def pool(self) -> pl.DataFrame | None: ...


class Run(Protocol):
    """A run in one of its phases, whose schedule this is."""

    method: Method
    recipe: Recipe
    schedule: Schedule
    data: Any  # Rows


def progress_of(run: Run, epoch: int, rng: np.random.Generator, state: dict[str, Any]) -> Progress:
    """What the terms of a run may know at the start of an epoch (0-based, of the phase).

    state: what they keep from epoch to epoch. `run` is also their Tools.
    """
    recipe = run.recipe
    return Progress(
        epoch=epoch,
        epochs=run.schedule.epochs,
        curriculum_epochs=recipe.curriculum_epochs or 0,
        levels=hundredths(recipe.levels, "recipe.levels") if recipe.levels else (REAL,),
        rng=rng,
        recipe=recipe,
        at=partial(hard_rows, run.data),
        tools=cast("Tools", run),
        state=state,
    )


def epoch_rows(method: Method, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
    """Rows of an epoch from the real ones; its guidance levels go to progress.state["levels"]."""
    levels = method.curriculum.levels(progress) if method.curriculum else ()
    progress.state["levels"] = list(levels)
    for hook in method.augment:
        rows = hook.rows(rows, progress)
    return rows


def hard_rows(data: Rows, levels: Sequence[int]) -> pl.DataFrame:
    """Hard rows at these guidance levels, in hundredths: real ones (REAL), then synthetic ones."""
    rows, pool = data.rows, data.pool
    parts = [rows.filter(rows["hard"])] if REAL in levels else []
    if pool is not None:
        synthetic = [level for level in levels if level != REAL]
        parts.append(pool.filter(pl.col("guidance").is_in(synthetic)))
    return pl.concat(parts) if parts else rows.clear()
