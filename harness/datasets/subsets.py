"""Long-tailed subsets of balanced data sets: class sizes, and the images that LDAM draws.

Protocol: Cao et al. 2019 (LDAM), as CUDA uses it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np

from harness.core.errors import UsageError
from harness.core.specs import Recipe


def class_counts(
    n_max: int, classes: int, imbalance: int, count_profile: str = "floor"
) -> tuple[int, ...]:
    """Images to keep per class: floor(n_max * f ** (i / (C - 1))) with f = 1 / imbalance (LDAM).

    "floor" takes the exact power. "multiplicative" takes mu ** i with a root mu that was rounded
    down, so a whole number is just missed and the last class has one image fewer; with the rule
    <= 20 this gives the 324 and 268 hard images that the paper counts at imbalance 100 and 50.
    Both are computed in integers: in floats, the last class depends on whose pow() computes mu
    (at imbalance 100, Python's leaves 5 images and numpy's 4).
    """
    if count_profile not in ("floor", "multiplicative"):
        raise UsageError(f"count profile {count_profile!r}; there are 'floor', 'multiplicative'")
    reach = operator.le if count_profile == "floor" else operator.lt
    largest = n_max if count_profile == "floor" else n_max - 1
    if not 1 <= imbalance <= largest:
        raise UsageError(
            f"imbalance {imbalance}; expected a whole number from 1 to {largest} (class size "
            f"{n_max}, count profile {count_profile})"
        )
    tail = (_largest(n_max, imbalance, i, classes - 1, reach) for i in range(1, classes))
    return (n_max, *tail)


def _largest(
    n_max: int, imbalance: int, i: int, last: int, reach: Callable[[int, int], bool]
) -> int:
    """The largest n whose power n ** last * imbalance ** i does reach n_max ** last."""
    bound, factor = n_max**last, imbalance**i
    n = int(n_max * imbalance ** (-i / last))  # a float: off by one at most
    while not reach(n**last * factor, bound):
        n -= 1
    while reach((n + 1) ** last * factor, bound):
        n += 1
    return n


def sizes(n_max: int, classes: int) -> Callable[[int | None, Recipe], tuple[int, ...]]:
    """Class sizes as a function of imbalance and recipe."""

    def counts(imbalance: int | None, recipe: Recipe) -> tuple[int, ...]:
        if imbalance is None:
            return (n_max,) * classes
        return class_counts(n_max, classes, imbalance, recipe.count_profile)

    return counts


def select(labels: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Indices (int64, by class) of the images kept, as LDAM draws them.

    numpy's legacy generator, seeded once with 0; for each label in order, its ascending indices
    are shuffled and the first counts[label] taken. So a smaller imbalance contains a larger one.
    """
    rng = np.random.RandomState(0)  # the protocol names this generator and this seed
    subset = []
    for label, count in enumerate(counts):
        indices = np.flatnonzero(labels == label)
        rng.shuffle(indices)
        subset.append(indices[:count])
    return np.concatenate(subset).astype(np.int64)
