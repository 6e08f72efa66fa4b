"""A data set of coloured noise that every method can train on."""

import numpy as np
import polars as pl
from epoch_tables import table

from harness.core.specs import Machine
from harness.datasets.pictures import Block
from harness.training.data import Split, TrainData
from harness.training.numbered_images import Store

CPU = Machine()


COUNTS = (40, 20, 8)


LEVELS = (0, 30, 50)  # hundredths


MADE = 3  # synthetic images per hard image and level


CLASSES = ("red thing", "green thing", "blue thing")


def world(side, kind):
    """Three classes of noise around their own colours; the last one is hard and has a pool."""
    rng = np.random.default_rng(1)
    labels, tests = np.repeat(np.arange(3), COUNTS), np.repeat(np.arange(3), 6)

    def paint(labels, colour=120):
        images = rng.integers(0, 80, (len(labels), side, side, 3))
        images[np.arange(len(labels)), :, :, labels] += colour
        return images.astype(np.uint8)

    rows = [table(40, 0), table(20, 40, label=1), table(8, 60, label=2, hard=True)]
    n, levels = sum(COUNTS), LEVELS if kind == "spectrum" else (50,)
    parts = [
        table(8, n + 8 * i, level, 2, True, 0.5, parent=range(60, 68))
        for i, level in enumerate(level for level in levels for _ in range(MADE))
    ]
    real, test = paint(labels), paint(tests)
    weak = 120 if kind == "spectrum" else 5  # a classifier is to be unsure of some edits
    split = Split(Block(test), tests, np.arange(18))
    return TrainData(
        rows=pl.concat(rows),
        images=Store(Block(real), Block(paint(np.full(8 * len(parts), 2), weak))),
        counts=COUNTS,
        splits={"test": split, "id_val": split},
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        pool=pl.concat(parts),
        captions=tuple((f"a photo of a {c}.", f"{c} in the wild.") for c in CLASSES),
        val="id_val",
    )
