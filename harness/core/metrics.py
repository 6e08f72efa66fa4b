"""Accuracy over all test images, per class, and for many, medium and few under four rules."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

GROUPS = ("many", "medium", "few")


def accuracy(labels: np.ndarray, guesses: np.ndarray) -> float:
    """Share of right guesses (N,)."""
    return float((labels == guesses).mean())


@dataclass(frozen=True)
class Rule:
    """Where a class belongs by its number of training images, and how a group is averaged."""

    many: int  # this many images or more
    few: int  # fewer than this
    pooled: bool  # share of the group's images, not the mean of its class accuracies
    says: str
    origin: str

    def group(self, count: int) -> int:
        """0, 1 or 2: the position in GROUPS."""
        return 0 if count >= self.many else 2 if count < self.few else 1


# Published tables mix these four; on balanced test sets pooling changes nothing. The code behind
# rule B also rounds to 4 decimals and adds 1e-6 to the denominator, which is left out here.
RULES = {
    "A": Rule(101, 20, False, ">100 / 20..100 / <20", "Kang, BALMS, CUDA on CIFAR"),
    "B": Rule(100, 20, True, ">=100 / 20..99 / <20, pooled over images", "LDMLR, DisCL"),
    "C": Rule(101, 21, False, ">100 / 21..100 / <=20", "CUDA, large scale"),
    "D": Rule(100, 21, False, ">=100 / 21..99 / <=20", "OLTR"),
}


def rule_named(name: str) -> Rule:
    """The rule of that name; UsageError names those that exist."""
    if name in RULES:
        return RULES[name]
    near = difflib.get_close_matches(name.upper(), RULES, n=1, cutoff=0.1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"no grouping rule {name!r}; there are {', '.join(RULES)}{hint}")


def groups(counts: Sequence[int], rule: str = "A") -> tuple[list[int], list[int], list[int]]:
    """Labels of the many, medium and few classes, by training images per class."""
    chosen = rule_named(rule)
    by_group: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label, count in enumerate(counts):
        by_group[chosen.group(count)].append(label)
    return by_group


def metrics(predictions: pl.DataFrame, counts: Sequence[int]) -> dict[str, Any]:
    """Scores of predictions (id, label, prediction) by training images per class.

    Plain fractions: {"overall": f, "per_class": [f] * C, "rules": {"A": {"many", "medium", "few",
    "classes": [m, d, f]}, ...}}; a group without classes is None. DataError for a class without
    test images, a repeated or missing id, and labels or predictions outside 0..C-1.
    """
    _check_ids(predictions)
    size = len(counts)
    labels = _classes(predictions, "label", size)
    guesses = _classes(predictions, "prediction", size)
    total, right = [0] * size, [0] * size
    for label, guess in zip(labels, guesses, strict=True):
        total[label] += 1
        right[label] += label == guess
    absent = [label for label in range(size) if total[label] == 0]
    if absent:
        raise DataError(
            f"predictions: no test image of class {_some(absent)}, expected some of all {size} "
            "classes"
        )
    return {
        "overall": sum(right) / sum(total),
        "per_class": [r / t for r, t in zip(right, total, strict=True)],
        "rules": {name: _by_rule(name, counts, right, total) for name in RULES},
    }


def _by_rule(
    name: str, counts: Sequence[int], right: Sequence[int], total: Sequence[int]
) -> dict[str, Any]:
    by_group = groups(counts, name)
    score = _pooled if RULES[name].pooled else _mean_of_classes
    values = (score(g, right, total) if g else None for g in by_group)
    return {**dict(zip(GROUPS, values, strict=True)), "classes": [len(g) for g in by_group]}


def _pooled(group: Sequence[int], right: Sequence[int], total: Sequence[int]) -> float:
    return sum(right[c] for c in group) / sum(total[c] for c in group)


def _mean_of_classes(group: Sequence[int], right: Sequence[int], total: Sequence[int]) -> float:
    # fsum: the same bits on every machine, whatever the order of summation
    return math.fsum(right[c] / total[c] for c in group) / len(group)


def _check_ids(predictions: pl.DataFrame) -> None:
    missing = [c for c in ("id", "label", "prediction") if c not in predictions.columns]
    if missing:
        raise DataError(
            f"predictions: no column {', '.join(missing)} among {', '.join(predictions.columns)}, "
            "expected id, label and prediction"
        )
    if predictions["id"].null_count():
        raise DataError("predictions: a row without id, expected one id per test image")
    repeated = predictions.height - predictions["id"].n_unique()
    if repeated:
        raise DataError(f"predictions: {repeated} rows repeat an id, expected one row per image")


def _classes(predictions: pl.DataFrame, column: str, size: int) -> list[int]:
    values = predictions[column].to_list()
    wrong = {v for v in values if not isinstance(v, int) or not 0 <= v < size}
    if wrong:
        examples = _some(sorted(wrong, key=str))
        raise DataError(f"predictions: {column} {examples} found, expected integers 0..{size - 1}")
    return values


def _some(values: Sequence[object]) -> str:
    shown = ", ".join(str(v) for v in values[:5])
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
