"""`harness table` on 2,000 records, the start of Python included; and a comparison of two rows.

Records are of random guesses: 60 classes of 20 test images, 8 rows, 2 imbalance ratios, 125 seeds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.core.specs import RunSpec
from harness.datasets import cifar100_lt, longtail, subsets
from harness.results import predictions, records, versus
from harness.results.published import FOLDER, read

CLASSES, IMAGES, SEEDS = 60, 20, 125


def record(method: str, imbalance: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, imbalance, *method.encode()])
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    right = rng.random(len(labels)) < 0.5
    rows = pl.DataFrame({"split": ["test"] * len(labels), "id": range(len(labels))}).with_columns(
        pl.Series("label", labels),
        pl.Series("prediction", np.where(right, labels, (labels + 1) % CLASSES)),
    )
    counts = subsets.class_counts(200, CLASSES, imbalance)
    spec = RunSpec(
        dataset="cifar100-lt",
        imbalance=imbalance,
        method=method,
        arguments=method,
        seed=seed,
        recipe=cifar100_lt.MINI,
        index="a" * 64,
        pool=None,
        start=None,
        reference=None,
        pretrained=None,
    )
    metrics = {name: longtail.metrics(rows, counts) for name in ("last", "oracle")}
    packed = predictions.pack(dict.fromkeys(metrics, rows), CLASSES)
    return records.record(spec, metrics, counts, len(rows), packed=packed)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    methods = [row.method for row in read(FOLDER / "table2.toml").rows]
    for method in methods:
        for imbalance in (100, 50):
            for seed in range(SEEDS):
                records.write(record(method, imbalance, seed), folder / records.ROOT)
    return folder


def test_table_of_2000_records(benchmark: Any, home: Path) -> None:
    words = [sys.executable, "-m", "harness", "table", "--table", "table2", "--home", str(home)]
    done = benchmark.pedantic(
        lambda: subprocess.run(words, capture_output=True, text=True, check=True), rounds=5
    )
    assert "(125)" in done.stdout


@pytest.mark.parametrize("seeds", [3, SEEDS])
def test_comparison_in_four_columns_at_two_ratios(benchmark: Any, home: Path, seeds: int) -> None:
    runs = records.read_all("mini", "cifar100-lt", home / records.ROOT)
    some = [r for r in runs if r["seed"] < seeds]
    columns = {c: f"rules.A.{c}" for c in ("many", "medium", "few")} | {"overall": "overall"}
    compared = benchmark.pedantic(
        lambda: versus.versus(some, ["CE+DisCL", "CE"], columns, [100, 50]), rounds=5
    )
    assert len(compared) == 8
