"""Accuracy, the four grouping rules, and statistics over seeds."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.core.errors import DataError, UsageError
from harness.core.metrics import RULES, groups, metrics
from harness.datasets import cifar100_lt, subsets
from harness.results.statistics import Interval, crossed, mean_sd


def predictions(labels: list[Any], guesses: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"id": range(len(labels)), "label": labels, "prediction": guesses})


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("imbalance", "rule", "sizes"),
    [
        (100, "A", [35, 35, 30]),
        (100, "B", [35, 35, 30]),
        (100, "C", [35, 34, 31]),
        (100, "D", [35, 34, 31]),
        (50, "A", [41, 41, 18]),
        (50, "B", [41, 41, 18]),
        (50, "C", [41, 40, 19]),
        (50, "D", [41, 40, 19]),
    ],
)
def test_published_group_sizes(imbalance: int, rule: str, sizes: list[int]) -> None:
    counts = subsets.class_counts(500, 100, imbalance)
    assert [len(g) for g in groups(counts, rule)] == sizes


@pytest.mark.parametrize(
    ("imbalance", "images"), [(100, [8824, 1718, 305]), (50, [10331, 2028, 249])]
)
def test_published_images_per_group(imbalance: int, images: list[int]) -> None:
    counts = subsets.class_counts(500, 100, imbalance)
    assert [sum(counts[c] for c in g) for g in groups(counts)] == images


def test_classes_at_the_borders() -> None:
    at20 = {100: 69, 50: 81}
    for imbalance, label in at20.items():
        counts = subsets.class_counts(500, 100, imbalance)
        assert [c for c, n in enumerate(counts) if n == 20] == [label]
        assert 100 not in counts
    assert subsets.class_counts(500, 100, 10).count(100) == 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("A", ([0], [1, 2, 3], [4])),
        ("B", ([0, 1], [2, 3], [4])),
        ("C", ([0], [1, 2], [3, 4])),
        ("D", ([0, 1], [2], [3, 4])),
    ],
)
def test_borders(rule: str, expected: tuple[list[int], ...]) -> None:
    assert groups([101, 100, 99, 20, 19], rule) == expected


def test_unknown_rule() -> None:
    with pytest.raises(UsageError, match="there are A, B, C, D; did you mean A"):
        groups([1], "a")


# ---------------------------------------------------------------- metrics


def test_worked_example() -> None:
    # class 0: 1 of 2, class 1: 1 of 1 (medium under A), class 2: 0 of 1, class 3: 1 of 2 (few)
    found = metrics(predictions([0, 0, 1, 2, 3, 3], [0, 1, 1, 0, 3, 0]), [200, 20, 19, 5])
    assert found["overall"] == 0.5
    assert found["per_class"] == [0.5, 1.0, 0.0, 0.5]
    assert found["rules"]["A"] == {"many": 0.5, "medium": 1.0, "few": 0.25, "classes": [1, 1, 2]}
    assert found["rules"]["B"]["few"] == 1 / 3  # pooled: one of three images
    assert found["rules"]["C"] == {"many": 0.5, "medium": None, "few": 0.5, "classes": [1, 0, 3]}
    assert set(found["rules"]) == set(RULES)


def test_all_rules_are_class_means_on_a_balanced_test_set() -> None:
    rng = np.random.default_rng(0)
    counts = subsets.class_counts(500, 100, 100)
    labels = np.repeat(np.arange(100), 10)
    guesses = np.where(rng.random(1000) < 0.4, labels, rng.integers(0, 100, 1000))
    found = metrics(predictions(labels.tolist(), guesses.tolist()), counts)
    right = (labels == guesses).reshape(100, 10).mean(axis=1)
    assert found["overall"] == pytest.approx((labels == guesses).mean())
    assert found["per_class"] == pytest.approx(right.tolist())
    for name in RULES:
        for group, chosen in zip(("many", "medium", "few"), groups(counts, name), strict=True):
            assert found["rules"][name][group] == pytest.approx(right[chosen].mean())


def test_overall_is_the_class_weighted_mean_of_the_groups() -> None:
    rng = np.random.default_rng(1)
    counts = subsets.class_counts(500, 100, 50)
    labels = np.repeat(np.arange(100), 5)
    found = metrics(predictions(labels.tolist(), rng.integers(0, 100, 500).tolist()), counts)
    for rule in found["rules"].values():
        weighted = sum(
            rule[g] * n for g, n in zip(("many", "medium", "few"), rule["classes"], strict=True)
        )
        assert weighted / 100 == pytest.approx(found["overall"])


def test_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    rows = predictions(
        rng.permutation(np.arange(60) % 20).tolist(), rng.integers(0, 20, 60).tolist()
    )
    counts = list(range(1, 21))
    assert metrics(rows, counts) == metrics(rows.sample(fraction=1, shuffle=True, seed=3), counts)


def test_results_are_plain_numbers() -> None:
    rows = predictions([0, 1], [0, 0]).cast({"label": pl.Int32, "prediction": pl.Int32})
    found = metrics(rows, np.array([30, 5]))  # type: ignore[arg-type]
    assert type(found["overall"]) is float
    assert all(type(v) is float for v in found["per_class"])
    assert all(type(n) is int for n in found["rules"]["A"]["classes"])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (predictions([0, 1], [0, 2]), r"prediction 2 found, expected integers 0\.\.1"),
        (predictions([0, 1], [0, -1]), "prediction -1 found"),
        (predictions([0, 2], [0, 1]), "label 2 found"),
        (predictions([0, 1], [0, None]), "prediction None found"),
        (predictions([0, 1], [0.0, 1.0]), r"prediction 0\.0, 1\.0 found"),
        (predictions([0, 0], [0, 1]), "no test image of class 1"),
        (predictions([], []), "no test image of class 0, 1"),
        (predictions([0, 1], [0, 1]).with_columns(id=pl.lit(3)), "1 rows repeat an id"),
        (predictions([0, 1], [0, 1]).with_columns(id=pl.lit(None)), "a row without id"),
        (predictions([0, 1], [0, 1]).drop("label"), "no column label among id, prediction"),
    ],
)
def test_wrong_predictions(rows: pl.DataFrame, says: str) -> None:
    with pytest.raises(DataError, match=says):
        metrics(rows, [30, 5])


def test_data_set_scores_with_the_same_function() -> None:
    rows = predictions([0, 1], [0, 0])
    assert cifar100_lt.metrics(rows, [30, 5]) == metrics(rows, [30, 5])


# ---------------------------------------------------------------- statistics


def test_mean_sd() -> None:
    assert mean_sd([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, math.sqrt(5 / 3)))
    assert mean_sd([0.25]) == (0.25, None)
    with pytest.raises(UsageError, match="no values"):
        mean_sd([])


def test_without_luck_of_images_the_interval_is_that_of_the_paired_t_test() -> None:
    # differences 1, 2, 3: mean 2, standard error 1/sqrt(3); t(0.975; 2) = 4.302653
    found = crossed(2, np.array([1.0, 2.0, 3.0]), np.full((50, 3), [1.0, 2.0, 3.0]))
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert found.p == pytest.approx(0.0741799, abs=1e-7)


def test_the_paired_t_test_is_scipys() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 0.1, 8), rng.normal(0.35, 0.1, 8)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.9)
    found = crossed((a - b).mean(), a - b, np.tile(a - b, (9, 1)), confidence=0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)


def test_luck_that_the_seeds_share_does_not_shrink_with_them() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.02, (4000, 1))
    for seeds in (2, 8, 32):
        same = np.full(seeds, 0.1)
        found = crossed(0.1, same, shared + np.zeros((1, seeds)))
        assert found.high - 0.1 == pytest.approx(1.96 * 0.02, rel=0.05)
        own = crossed(0.1, same, rng.normal(0, 0.02, (4000, seeds)))
        assert own.high - 0.1 == pytest.approx(1.96 * 0.02 / seeds**0.5, rel=0.05)


def test_numbers_without_any_spread() -> None:
    still = np.ones((50, 2))
    assert crossed(0, np.zeros(2), 0 * still) == Interval(0, 0, 1)
    assert crossed(1, np.ones(2), still) == Interval(1, 1, 0)
    with pytest.raises(UsageError, match="confidence 95"):
        crossed(1, np.ones(2), still, confidence=95)
