"""Three classes of coloured noise, and a recipe that trains on them in a second."""

from dataclasses import replace

import numpy as np
import polars as pl
from epoch_tables import RECIPE, table

from harness.core.specs import Machine, Mixture, Schedule
from harness.datasets.pictures import Block
from harness.training.data import Split, TrainData
from harness.training.numbered_images import Store

SCRATCH = Schedule("sgd", 0.05, 16, 6, momentum=0.9, nesterov=True, weight_decay=1e-4, warmup=2)


ONWARD = Schedule("adam", 1e-3, 16, 6, decay="cosine")


MINI = replace(
    RECIPE,
    scratch=replace(SCRATCH, milestones=(4,)),
    onward=ONWARD,
    curriculum_epochs=4,
    levels=(0.0, 0.5),
    mixture=Mixture(keep=0.5, tail_fraction=0.5),
)


CPU = Machine()


def world(seed=0, classes=3):
    """Three classes of noise around their own colours, 40, 20 and 6 images; the last is hard."""
    rng = np.random.default_rng(seed)
    counts = (40, 20, 6)
    labels = np.repeat(np.arange(classes), counts)
    tests = np.repeat(np.arange(classes), 10)

    def paint(labels):
        images = rng.integers(0, 80, (len(labels), 32, 32, 3))
        images[np.arange(len(labels)), :, :, labels] += 120
        return images.astype(np.uint8)

    real, synthetic = paint(labels), paint(np.full(24, 2))
    rows = pl.concat(
        [table(40, 0, label=0), table(20, 40, label=1), table(6, 60, label=2, hard=True)]
    )
    pool = pl.concat([table(12, 66 + 12 * i, g, 2, True, 0.5) for i, g in enumerate((0, 50))])
    return TrainData(
        rows=rows,
        images=Store(Block(real), Block(synthetic)),
        counts=counts,
        splits={"test": Split(Block(paint(tests)), tests, np.arange(len(tests)) + 500)},
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        pool=pool,
    )
