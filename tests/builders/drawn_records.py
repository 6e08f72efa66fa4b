"""Records of runs that nobody trained: guesses drawn so that methods differ."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core import registry
from harness.core.specs import RunSpec
from harness.pipeline.workspace import Workspace
from harness.results import predictions, published, records

CLASSES, LARGEST = 24, 150  # of the long-tailed sets
TESTED = 8  # images of each class
VERSIONS = {"torch": "2.0"}


def counts(classes: int = CLASSES, ratio: int = 100) -> list[int]:
    """Images per class, from LARGEST down to its `ratio`th part."""
    return [max(1, round(LARGEST * ratio ** (-i / (classes - 1)))) for i in range(classes)]


def spec(
    workspace: Workspace, method: str, seed: int, imbalance: int | None, backbone: str | None
) -> RunSpec:
    recipe = workspace.recipe
    if backbone is not None and backbone != recipe.backbone:
        from dataclasses import replace

        recipe = replace(recipe, backbone=backbone)
    about: dict[str, Any] = {"pool": None, "start": None, "reference": None, "pretrained": None}
    return RunSpec(
        dataset=workspace.module.NAME, imbalance=imbalance, method=method, seed=seed, recipe=recipe,
        index="a" * 64, arguments=method, **about,
    )  # fmt: skip


def run(
    workspace: Workspace,
    method: str,
    seed: int,
    imbalance: int | None = None,
    skill: float = 0.4,
    lift: float = 0.0,
    backbone: str | None = None,
) -> dict[str, Any]:
    """skill: chance of a right guess in the largest class; lift: what the smallest has more."""
    sizes = counts(ratio=imbalance or 100)
    rng = np.random.default_rng([seed, *method.encode()])
    splits = sorted(set(getattr(workspace.module, "SCORED", {"": "test"}).values()))
    parts = []
    for k, split in enumerate(splits):
        labels = np.repeat(np.arange(CLASSES), TESTED)
        chance = skill * np.log(np.array(sizes))[labels] / np.log(LARGEST) + lift
        right = rng.random(len(labels)) < chance * (1 - 0.2 * (split == "test"))
        guess = np.where(right, labels, rng.integers(0, CLASSES, len(labels)))
        ids = np.arange(len(labels)) + 10_000 * k
        table = {"split": [split] * len(labels), "id": ids, "label": labels, "prediction": guess}
        parts.append(pl.DataFrame(table))
    rows = pl.concat(parts)
    metrics = {"last": workspace.module.metrics(rows, sizes)}
    packed = predictions.pack({"last": rows}, CLASSES)
    about = spec(workspace, method, seed, imbalance, backbone)
    return records.record(about, metrics, sizes, len(rows), VERSIONS, packed)


def table(
    workspace: Workspace, name: str | None = None, seeds: Iterable[int] = (0, 1, 2)
) -> list[Any]:
    """A record of every row, block and seed of a published table (default: the main one)."""
    file = published.find(name) if name else published.of(workspace.module.NAME)
    paper = published.read(file)
    return [
        run(workspace, row.method, seed, block.imbalance, 0.5, 0.02 * i, paper.backbone)
        for i, row in enumerate(paper.rows)
        for block in paper.blocks
        for seed in seeds
    ]


def write(home: Path, runs: Iterable[dict[str, Any]]) -> None:
    for record in runs:
        records.write(record, home / "results" / "records")


def all_sets(home: Path, profile: str = "mini") -> None:
    """Main tables of the four data sets."""
    for name in registry.names("harness.datasets"):
        write(home, table(Workspace(name, profile, home)))
