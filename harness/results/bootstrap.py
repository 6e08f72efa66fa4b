"""Scores of runs on resampled test images: the same resamples for all of them.

Images are drawn within their class, one fewer than it has and each weighted up to make up for that
(Rao and Wu 1988): the variance of a class mean is then right for small classes, too, and no class
is ever lost. A class of one image does not vary.

Where the images are of locations, locations are drawn instead, with all of their images: again one
fewer than there are, each weighted up.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from harness.core.errors import UsageError

DRAWS = 1000
_CELLS = 2**24  # weights held at once: 64 MiB

Guesses = tuple[np.ndarray, np.ndarray]  # labels and guesses (N,), in the order of the labels


@dataclass(frozen=True)
class Score:
    """What is measured on a split: macro F1, or accuracy on the images of some classes."""

    split: str
    kind: str = "accuracy"  # or "macro_f1"
    classes: tuple[int, ...] | None = None  # None: all
    pooled: bool = True  # share of the images; else the mean of the classes' accuracies
    halves: bool = False  # classes are halves of classes, see measures.guesses


def scores(
    score: Score, images: tuple[int, ...], runs: Sequence[Guesses], draws: int = DRAWS
) -> tuple[np.ndarray, np.ndarray]:
    """The score of each run (R,), and the same on each resample of the images (draws, R).

    images: how many there are of each label; every run's labels are in that order. The resamples
    depend on `images` and `draws` alone, so that runs scored in different calls stay paired.
    """
    whole = np.ones((1, sum(images)))
    take = _macro_f1 if score.kind == "macro_f1" else _accuracy
    resampled = [take(score, images, runs, w) for w in _weights(images, draws)]
    return take(score, images, runs, whole)[0], np.concatenate(resampled)


def scores_by_location(
    score: Score, locations: np.ndarray, runs: Sequence[Guesses], draws: int = DRAWS
) -> np.ndarray:
    """The score of each run on each resample of the locations (draws, R).

    locations: of each image (N,), 0..G-1. A class whose locations are all left out of a resample
    does not count in it. UsageError for an accuracy of some classes, which has no such resamples.
    """
    if score.classes is not None or not score.pooled:
        raise UsageError("resamples of locations are of all classes, not of some")
    each = np.bincount(locations)
    if len(each) < 2:
        raise UsageError("resamples of locations need two locations, not one")
    drawn = np.random.default_rng([0, len(each)]).multinomial(
        len(each) - 1, np.full(len(each), 1 / len(each)), size=draws
    )
    up = len(each) / (len(each) - 1)
    most = max(1, _CELLS // len(locations))
    take = _macro_f1_of_locations if score.kind == "macro_f1" else _accuracy_of_locations
    parts = (drawn[first : first + most] * up for first in range(0, draws, most))
    return np.concatenate([take(runs, part.astype(np.float32)[:, locations]) for part in parts])


def _accuracy_of_locations(runs: Sequence[Guesses], weights: np.ndarray) -> np.ndarray:
    """(B, R) from weights (B, N)."""
    right = np.stack([labels == guesses for labels, guesses in runs], 1).astype(weights.dtype)
    scores: np.ndarray = (weights @ right / weights.sum(1, keepdims=True)).astype(np.float64)
    return scores


def _macro_f1_of_locations(runs: Sequence[Guesses], weights: np.ndarray) -> np.ndarray:
    """(B, R) from weights (B, N), over the classes that occur in each resample."""
    labels = runs[0][0]
    size = int(max(labels.max(), *(guesses.max() for _, guesses in runs))) + 1
    true = _summed([(labels, slice(None))], weights, size)[0]
    some = [pair for y, guesses in runs for pair in ((guesses, slice(None)), (y, y == guesses))]
    summed = _summed(some, weights, size).reshape(len(runs), 2, size, -1)
    present = true > 0
    f1 = 2 * summed[:, 1] / np.where(present, true + summed[:, 0], 1)
    scores: np.ndarray = (f1 * present).sum(1, dtype=np.float64) / present.sum(0)
    return scores.T


def _summed(
    some: Sequence[tuple[np.ndarray, slice | np.ndarray]], weights: np.ndarray, size: int
) -> np.ndarray:
    """Weights (B, N) summed by class, over a part of the images each: (len(some), size, B)."""
    at = [np.arange(weights.shape[1])[part] for _, part in some]
    rows = [i * size + classes[part] for i, (classes, part) in enumerate(some)]
    ones = np.ones(sum(map(len, at)), weights.dtype)
    shape = (len(some) * size, weights.shape[1])
    counts = sparse.csr_matrix((ones, (np.concatenate(rows), np.concatenate(at))), shape=shape)
    summed: np.ndarray = (counts @ weights.T).reshape(len(some), size, len(weights))
    return summed


def _accuracy(
    score: Score, images: tuple[int, ...], runs: Sequence[Guesses], weights: np.ndarray
) -> np.ndarray:
    """(B, R) from weights (B, N)."""
    n = np.asarray(images)
    chosen = np.arange(len(n)) if score.classes is None else np.asarray(score.classes)
    share = np.zeros(len(n))
    share[chosen] = 1 / n[chosen].sum() if score.pooled else 1 / (len(chosen) * n[chosen])
    right = np.stack([(labels == guesses) * share[labels] for labels, guesses in runs], 1)
    scores: np.ndarray = weights @ right.astype(weights.dtype)
    return scores.astype(np.float64)


def _macro_f1(
    score: Score, images: tuple[int, ...], runs: Sequence[Guesses], weights: np.ndarray
) -> np.ndarray:
    """(B, R) from weights (B, N): see harness.datasets.iwildcam.macro_f1."""
    n, size = np.asarray(images), len(images)
    present = np.flatnonzero(n)
    some = [pair for y, guesses in runs for pair in ((guesses, slice(None)), (y, y == guesses))]
    summed = _summed(some, weights, size).reshape(len(runs), 2, size, -1)[:, :, present]
    f1 = 2 * summed[:, 1] / (n[present, None] + summed[:, 0])
    scores: np.ndarray = f1.mean(1, dtype=np.float64).T
    return scores


def _weights(images: tuple[int, ...], draws: int) -> Iterator[np.ndarray]:
    """Weights (b, N) float32 of all resamples, as many at once as fit."""
    most = max(1, _CELLS // max(1, sum(images)))
    for first in range(0, draws, most):
        yield _some_weights(images, first, min(most, draws - first))


@functools.lru_cache(maxsize=2)
def _some_weights(images: tuple[int, ...], first: int, draws: int) -> np.ndarray:
    n = np.asarray(images)
    some, total = np.maximum(n - 1, 0), int(n.sum())
    begins = np.repeat(np.cumsum(n) - n, some)
    rng = np.random.default_rng([0, first])
    drawn = begins + rng.integers(0, np.repeat(n, some), size=(draws, int(some.sum())))
    drawn += np.arange(draws)[:, None] * total
    counts = np.bincount(drawn.ravel(), minlength=draws * total).reshape(draws, total)
    up = np.repeat(np.where(n > 1, n / np.maximum(some, 1), 1), n)
    single = np.repeat(n == 1, n)
    weights: np.ndarray = ((counts + single) * up).astype(np.float32)
    weights.flags.writeable = False
    return weights
