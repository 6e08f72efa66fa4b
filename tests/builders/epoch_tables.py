"""Tables of training rows, and what a curriculum is told of an epoch."""

import numpy as np
import polars as pl

from harness.core.specs import Mixture, Recipe, Schedule
from harness.methods.terms import Progress
from harness.training.data import COLUMNS

PAPER_LEVELS = (0, 10, 30, 50, 100)


RECIPE = Recipe(
    profile="mini",
    backbone="resnet10",
    width=8,
    scratch=Schedule("sgd", 0.1, 8, 1),
    onward=Schedule("adam", 0.001, 8, 65),
    curriculum_epochs=60,
    mixture=Mixture(keep=0.5, tail_fraction=0.5),
    levels=(0.0, 0.1, 0.3, 0.5),
    pool_seeds=(1,),
    threshold=0.3,
    generator="mini",
    clip="mini",
    steps=1,
    text_guidance=1.0,
    size_px=32,
    view_px=32,
)


def table(n, first=0, guidance=100, label=0, hard=False, score=None, parent=None):
    label = label if isinstance(label, list) else [label] * n
    columns = {
        "image": range(first, first + n),
        "label": label,
        "guidance": [guidance] * n,
        "hard": [hard] * n,
        "count": [n] * n,
        "score": [score] * n,
        "parent": range(first, first + n) if parent is None else parent,
        "caption": [0] * n,
    }
    return pl.DataFrame(columns, schema=COLUMNS)


def progress(epoch=0, levels=PAPER_LEVELS, curriculum_epochs=60, seed=0, **more):
    return Progress(
        epoch=epoch,
        epochs=65,
        curriculum_epochs=curriculum_epochs,
        levels=levels,
        rng=np.random.default_rng(seed + epoch),
        recipe=RECIPE,
        at=more.pop("at", lambda levels: table(0)),
        **more,
    )
