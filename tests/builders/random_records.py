"""Records of runs that guess at random."""

from typing import Any

import numpy as np
import polars as pl

from harness.core.specs import RunSpec
from harness.datasets import cifar100_lt, iwildcam, longtail
from harness.results import predictions, records

COUNTS = [200, 150, 60, 30, 20, 10, 5, 4]


def spec(
    method: str, seed: int, dataset: str = "cifar100-lt", imbalance: int | None = 100
) -> RunSpec:
    module = cifar100_lt if dataset == "cifar100-lt" else iwildcam
    return RunSpec(
        dataset=dataset,
        imbalance=imbalance,
        method=method,
        seed=seed,
        recipe=module.RECIPES["mini"],
        index="a" * 64,
        pool=None,
        start=None,
        arguments=method,
        reference=None,
        pretrained=None,
    )


def table(labels: Any, guessed: Any, split: str = "test", first: int = 0) -> pl.DataFrame:
    ids = np.arange(first, first + len(labels))
    return pl.DataFrame({"split": [split] * len(labels), "id": ids, "label": labels}).with_columns(
        pl.Series("prediction", guessed)
    )


def run(
    method: str, seed: int, p: float, images: int = 10, about: RunSpec | None = None
) -> dict[str, Any]:
    """A run that is right with probability p, and otherwise guesses the next class."""
    labels = np.repeat(np.arange(len(COUNTS)), images)
    rng = np.random.default_rng([seed, *method.encode()])
    right = rng.random(len(labels)) < p
    rows = table(labels, np.where(right, labels, (labels + 1) % len(COUNTS)))
    metrics = longtail.metrics(rows, COUNTS)
    packed = predictions.pack({"last": rows}, len(COUNTS))
    return records.record(
        about or spec(method, seed), {"last": metrics}, COUNTS, len(rows), {}, packed
    )
