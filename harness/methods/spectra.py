"""Which synthetic images of a pool a run uses: those above a threshold, and those held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError
from harness.core.guidance import REAL, level_text

if TYPE_CHECKING:
    import polars as pl

FILTERS = {"low": -1, "usual": 0, "high": 1}  # steps above the threshold


def above(rows: pl.DataFrame, levels: Sequence[int], threshold: float) -> pl.DataFrame:
    """Rows whose CLIPScore is at least the threshold; DataError for a level without any."""
    if rows["score"].null_count():
        raise DataError(f"{rows['score'].null_count()} synthetic images have no CLIPScore")
    passing = rows.filter(rows["score"] >= threshold)
    for level in sorted(set(levels) - set(passing["guidance"].unique().to_list())):
        there = rows.filter(rows["guidance"] == level).height
        why = "" if there else "; `harness generate` makes them, or says why it cannot"
        raise DataError(
            f"no synthetic image of guidance {level_text(level)} has a CLIPScore of at least "
            f"{threshold:g} (the pool has {there} of that guidance{why})"
        )
    return passing


def validation(
    real: pl.DataFrame, synthetic: pl.DataFrame, levels: Sequence[int], n: int, seed: int
) -> dict[str, Any]:
    """Up to n real hard images held out to compare levels with, and an image of each per level.

    Drawn from those that have an image of every level in `synthetic`; never a class's only hard
    image. Returns numbers of the real images, "parents", and of all images looked at, "images".
    UsageError for n below 1, DataError when no image can be held out.
    """
    import numpy as np
    import polars as pl

    if n < 1:
        raise UsageError(
            "an adaptive curriculum needs validation images: the recipe's probe_images"
        )
    below = [level for level in levels if level != REAL]
    levels_of = (
        synthetic.filter(pl.col("guidance").is_in(below))
        .group_by("parent")
        .agg(pl.col("guidance").n_unique().alias("levels"))
    )
    whole = levels_of.filter(levels_of["levels"] == len(below))["parent"]
    able = real.filter(pl.col("parent").is_in(whole.implode())).sort("parent")
    able = able.filter(
        pl.int_range(pl.len()).over("label") < pl.col("label").replace_strict(_spare(real))
    )
    if not able.height:
        raise DataError("no hard image that its class can spare has synthetic ones of every level")
    rng = np.random.default_rng(seed)
    parents = able["parent"].to_numpy()[np.sort(rng.permutation(able.height)[:n])]
    chosen = synthetic.filter(
        pl.col("parent").is_in(parents.tolist()), pl.col("guidance").is_in(below)
    ).sort("parent", "guidance", "image")
    chosen = chosen[rng.permutation(chosen.height)].unique(
        ["parent", "guidance"], keep="first", maintain_order=True
    )
    return {
        "parents": parents.tolist(),
        "images": sorted([*parents.tolist(), *chosen["image"].to_list()]),
    }


def _spare(real: pl.DataFrame) -> dict[int, int]:
    """Hard images that each class can do without: all but one."""
    return {label: n - 1 for label, n in real.group_by("label").len().rows()}
