"""Worst classes: chosen on one half of the test images, scored on the other."""

from typing import Any

import numpy as np
import pytest
from random_records import COUNTS, run, spec, table

from harness.core.errors import UsageError
from harness.datasets import longtail
from harness.results import measures, predictions, records
from harness.results.comparison import difference


def drawn(
    rng: np.random.Generator, method: str, seed: int, chance: np.ndarray, images: int
) -> dict[str, Any]:
    """A run that is right on class c with probability chance[c]."""
    labels = np.repeat(np.arange(len(chance)), images)
    right = rng.random(len(labels)) < chance[labels]
    rows = table(labels, np.where(right, labels, (labels + 1) % len(chance)))
    metrics = {"last": longtail.metrics(rows, COUNTS)}
    packed = predictions.pack({"last": rows}, len(COUNTS))
    return records.record(spec(method, seed), metrics, COUNTS, len(rows), {}, packed)


def both() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    a = [run("BS+DisCL", s, 0.7) for s in range(3)]
    return a, [run("BS", s, 0.5) for s in range(3)]


def per_class(runs: list[dict[str, Any]]) -> np.ndarray:
    return np.mean([r["selection"]["last"]["per_class"] for r in runs], 0)


def test_naive_worst_classes_are_those_of_the_other_row() -> None:
    a, b = both()
    worst = measures.worst(b, 3)
    assert worst == tuple(np.argsort(per_class(b), kind="stable")[:3])
    result = difference(a, b, "naive_worst.3")
    assert result is not None
    assert result.value == pytest.approx((per_class(a) - per_class(b))[list(worst)].mean())


def test_halves_are_by_id_within_the_class_and_cover_every_image() -> None:
    _, (first, *_) = both()
    halves = measures.crossfitted([first], 1)
    images, (labels, guessed) = measures.guesses(first, halves, "last")
    assert images == (5,) * 16  # ten images of each of eight classes
    whole, right = predictions.unpack(first, "test", "last")
    for half in (0, 1):
        there = labels % 2 == half
        of_half = np.arange(len(whole)) % 10 % 2 == half
        assert (labels[there] // 2 == whole[of_half]).all()
        assert (guessed[there] // 2 == right[of_half]).all()
        assert ((guessed == labels)[there] == (right == whole)[of_half]).all()


def test_classes_are_chosen_on_the_half_that_does_not_score_them() -> None:
    a, b = both()
    score = measures.crossfitted(b, 3)
    assert score.classes is not None
    means = {}
    for name, runs in (("a", a), ("b", b)):
        by_run = [measures.guesses(r, score, "last")[1] for r in runs]
        right = [np.bincount(y[y == guess], minlength=16) / 5 for y, guess in by_run]
        means[name] = np.mean(right, 0).reshape(8, 2)
    gains = []
    for half in (0, 1):
        worst = np.argsort(means["b"][:, half], kind="stable")[:3]
        assert {2 * c + 1 - half for c in worst} <= set(score.classes)
        gains += [(means["a"] - means["b"])[c, 1 - half] for c in worst]
    result = difference(a, b, "worst.3")
    assert result is not None
    assert result.value == pytest.approx(np.mean(gains))
    assert len(score.classes) == len(gains)


def test_regression_to_the_mean_is_of_the_naive_form_alone() -> None:
    """Two rows that are equal, on classes that are equal: only the choice makes a difference."""
    rng, gains = np.random.default_rng(7), {"worst.2": [], "naive_worst.2": []}
    covered = 0
    for _ in range(150):
        chance = np.full(len(COUNTS), 0.5)
        a, b = ([drawn(rng, m, 0, chance, 20)] for m in ("BS+DisCL", "BS"))
        for path, values in gains.items():
            result = difference(a, b, path)
            assert result is not None
            values.append(result.value)
        result = difference(a, b, "worst.2")
        assert result is not None
        covered += result.low <= 0 <= result.high
    fair, naive = (np.array(values) for values in gains.values())
    assert abs(fair.mean()) < 3 * fair.std() / np.sqrt(len(fair))
    assert naive.mean() > 0.1
    assert covered / 150 > 0.9


def test_more_worst_classes_than_there_are() -> None:
    a, b = both()
    for path in ("worst.9", "naive_worst.9"):
        with pytest.raises(measures.NoSuchClasses, match="9 worst classes of 8"):
            difference(a, b, path)
    with pytest.raises(UsageError, match="is no number that guesses"):
        difference(a, b, "own_worst.2")
    alone = [run("BS", s, 0.5, images=1) for s in range(3)]  # nothing left to score a class on
    with pytest.raises(measures.NoSuchClasses, match="1 worst classes of 0"):
        difference(alone, alone, "worst.1")
