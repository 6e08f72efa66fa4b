"""What a number in a record's metrics says of its predictions: the score behind each path."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.metrics import GROUPS, RULES, groups
from harness.results import predictions

if TYPE_CHECKING:
    import numpy as np

    from harness.results.bootstrap import Guesses, Score

Record = Mapping[str, Any]


class NoSuchClasses(UsageError):
    """More worst classes than the data set has, or a group without any: no run has that number."""


def score(path: str, base: Sequence[Record], select: str) -> Score:
    """How the number at a path follows from guesses; UsageError for a path that does not.

    base: runs of the row whose worst classes a path "worst.10" or "naive_worst.10" means.
    """
    from harness.results.bootstrap import Score

    module, parts = _module(base[0]["dataset"]), path.split(".")
    match parts:
        case ["overall"]:
            return Score(module.TEST)
        case ["rules", rule, group] if group in GROUPS:
            classes = groups(base[0]["counts"], rule)
            return Score(
                module.TEST, "accuracy", tuple(classes[GROUPS.index(group)]), RULES[rule].pooled
            )
        case ["naive_worst", k] if k.isdecimal():
            return Score(module.TEST, "accuracy", worst(base, int(k), select), pooled=False)
        case ["worst", k] if k.isdecimal():
            return crossfitted(base, int(k), select)
        case [name, "macro_f1" | "accuracy" as kind] if name in getattr(module, "SCORED", {}):
            return Score(module.SCORED[name], kind)
    raise UsageError(f"{path!r} is no number that guesses of {module.NAME} tell")


def guesses(record: Record, score: Score, select: str) -> tuple[tuple[int, ...], Guesses]:
    """Images of each class, and labels and guesses, of the classes that the score is of.

    By halves, class c has two: 2 c of the images of even rank (by id, within the class), 2 c + 1 of
    the others.
    """
    import numpy as np

    images = predictions.of_split(record, score.split, select)["images"]
    labels, guessed = predictions.unpack(record, score.split, select)
    if not score.halves:
        return tuple(images), (labels, guessed)
    half = _ranks(images) % 2
    order = np.argsort(2 * labels + half, kind="stable")
    labels, guessed = (2 * labels + half)[order], (2 * guessed + half)[order]
    return tuple(np.bincount(labels, minlength=2 * len(images)).tolist()), (labels, guessed)


def worst(runs: Sequence[Record], k: int, select: str = "last") -> tuple[int, ...]:
    """The k classes that a row's runs, on average, know least; ties by label."""
    by_run = [r["selection"][select]["per_class"] for r in runs]
    means = [sum(values) / len(values) for values in zip(*by_run, strict=True)]
    return tuple(_lowest(dict(enumerate(means)), k))


def crossfitted(runs: Sequence[Record], k: int, select: str = "last") -> Score:
    """The mean accuracy on the k worst classes, chosen on other images than they are scored on.

    The classes that the runs, on average, know least on one half of each class's test images are
    scored on the other half, and the other way round.
    """
    import numpy as np

    from harness.results.bootstrap import Score

    halves = Score(_module(runs[0]["dataset"]).TEST, pooled=False, halves=True)
    means = np.mean([_by_class(r, halves, select) for r in runs], 0)
    both = np.flatnonzero(~np.isnan(means).reshape(-1, 2).any(1))
    chosen = [
        2 * c + 1 - half
        for half in (0, 1)
        for c in _lowest({int(c): float(means[2 * c + half]) for c in both}, k)
    ]
    return Score(halves.split, "accuracy", tuple(chosen), pooled=False, halves=True)


def accuracy(record: Record, score: Score, select: str) -> float:
    """Of one run: the mean of its accuracies on the classes of the score."""
    by_class = _by_class(record, score, select)
    return float(by_class[list(score.classes or ())].mean())


def _by_class(record: Record, score: Score, select: str) -> np.ndarray:
    """Accuracy on each class (C,) as `guesses` numbers them; nan for one without images."""
    import numpy as np

    images, (labels, guessed) = guesses(record, score, select)
    right = np.bincount(labels[labels == guessed], minlength=len(images))
    n = np.asarray(images)
    return np.where(n > 0, right / np.maximum(n, 1), np.nan)


def _ranks(images: Sequence[int]) -> np.ndarray:
    """Of each image within its class, from 0."""
    import numpy as np

    n = np.asarray(images)
    return np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)


def _lowest(values: Mapping[int, float], k: int) -> list[int]:
    if k > len(values):
        raise NoSuchClasses(f"{k} worst classes of {len(values)}")
    return sorted(values, key=lambda label: (values[label], label))[:k]


@functools.cache
def _module(dataset: str) -> Any:
    return registry.find("harness.datasets", dataset)
