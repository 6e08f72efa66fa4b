"""CUDA: augmentation of a strength that each class has of its own (Ahn et al. 2023, 2302.05499).

The rule is that of the authors' code for CIFAR. In their code for large pictures the levels are
brought into their range, and the counts of right answers emptied, within the loop over the classes
instead of after it: from the second class on there is nothing left to count, and the level only
falls. Here the rule is the same for all data sets; with large pictures only `accept` differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from harness.core.guidance import REAL
from harness.methods.arguments import Range
from harness.methods.terms import Augment, Progress, TermParts, Tools

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import torch

    from harness.core.draws import Draws

NAME = "CUDA"
ROWS = ("CE+CUDA", "BS+CUDA")
STATE = "class_levels"  # in Progress.state: the level of every class, 0..10


class ClassLevels(Augment):
    """Chains of random operations, as many and as strong as the level L of the image's class.

    Before an epoch, for s = 0..L, trials * (s + 1) training images of the class are drawn with
    replacement and augmented with chains of state s; L rises by one when the network is right about
    more than the share `accept` of them for every s, and falls by one otherwise, within 0..10 (the
    paper's V_LoL). In training an image gets a chain of state L with `probability`.
    """

    def __init__(
        self, accept: float, trials: int, probability: float, every: int, hole_px: int
    ) -> None:
        self.accept, self.trials, self.every = accept, trials, every
        self.probability, self.hole_px = probability, hole_px
        self.levels: torch.Tensor | None = None

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        assert progress.tools is not None
        if progress.epoch % self.every == 0:
            before = _levels(progress)
            after = self._updated(before, progress.tools, progress.rng)
            progress.state[STATE] = after.tolist()
        return rows

    def dress(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        import torch

        self.levels = torch.from_numpy(_levels(progress))
        return rows

    def pixels(self, images: torch.Tensor, y: torch.Tensor, draws: Draws) -> torch.Tensor:
        import torch

        from harness.training import operations, operations_fast

        assert self.levels is not None
        chosen = draws.of("chosen").uniform(1)[:, 0] < self.probability
        plan = operations.draw(self.levels[y].numpy() * chosen, draws)
        changed = torch.from_numpy(operations_fast.apply(images.numpy(), plan))
        return _cut_out(changed, self.hole_px, draws) if self.hole_px else changed

    def _updated(self, levels: np.ndarray, tools: Tools, rng: np.random.Generator) -> np.ndarray:
        """Levels (C,) after one update; 0 for a class without images.

        All classes are asked together, each from its level downwards (most fail there, if at all);
        who fails once is not asked again.
        """
        import numpy as np

        from harness.training.operations import TOP

        real = tools.data.rows.filter(tools.data.rows["guidance"] == REAL)
        labels = real["label"].to_numpy()
        members, n = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=len(levels))
        first, passes = np.cumsum(n) - n, n > 0
        for below in range(TOP + 1):
            classes_left = np.flatnonzero(passes & (levels >= below))
            if not len(classes_left):
                break
            states = levels[classes_left] - below
            draws = self.trials * (states + 1)
            classes = np.repeat(classes_left, draws)
            chosen = members[first[classes] + rng.integers(n[classes])]
            right = _right(real[chosen], np.repeat(states, draws), tools, rng)
            share = np.bincount(classes, right, len(levels))[classes_left] / draws
            passes[classes_left] = share > self.accept
        return np.where(n > 0, np.clip(levels + np.where(passes, 1, -1), 0, TOP), 0)


def _levels(progress: Progress) -> np.ndarray:
    """(C,) int64, 0 for all classes at first."""
    import numpy as np

    assert progress.tools is not None
    first = [0] * len(progress.tools.data.counts)
    return np.array(progress.state.get(STATE, first), np.int64)


def _right(
    rows: pl.DataFrame, states: np.ndarray, tools: Tools, rng: np.random.Generator
) -> np.ndarray:
    """Which rows (N,) the network recognises after the recipe's augmentation and a random chain."""
    seed, labels = int(rng.integers(2**63)), rows["label"].to_numpy()
    if getattr(tools, "dry", False):  # no picture is changed, and PyTorch not needed
        return tools.probe(rows)[0] == labels
    import torch

    from harness.training import operations, operations_fast

    def change(images: torch.Tensor, draws: Draws) -> torch.Tensor:
        plan = operations.draw(states[draws.positions], draws)
        return torch.from_numpy(operations_fast.apply(images.numpy(), plan))

    guesses, _ = tools.probe(rows, change, seed)
    return guesses == labels


def _cut_out(images: torch.Tensor, hole_px: int, draws: Draws) -> torch.Tensor:
    """Black squares, one per image, whose centres are anywhere in it (DeVries and Taylor 2017)."""
    import torch

    _, h, w, _ = images.shape
    centres = torch.from_numpy(draws.of("hole").uniform(2))
    y, x = ((centres[:, i : i + 1] * size).long() - hole_px // 2 for i, size in enumerate((h, w)))
    rows, columns = torch.arange(h) - y, torch.arange(w) - x
    inside_y, inside_x = ((at >= 0) & (at < hole_px) for at in (rows, columns))
    return images * ~(inside_y[:, :, None] & inside_x[:, None, :])[..., None]


# ---------------------------------------------------------------- the term


def defaults(dataset: str, profile: str) -> dict[str, Any]:
    """The authors' code takes another share for large pictures."""
    return {} if dataset.startswith("cifar") else {"accept": 0.4}


Share = Annotated[float, Range(0, 1)]
Whole = Annotated[int, Range(1, 10_000)]


def term(
    *,
    accept: Annotated[Share, "share of right answers above which a class's level rises"] = 0.6,
    trials: Annotated[Whole, "images that an update draws per class and state, times s + 1"] = 10,
    probability: Annotated[Share, "with which an image of an epoch is changed"] = 0.5,
    every: Annotated[Whole, "epochs from one update of the levels to the next"] = 1,
    cutout: Annotated[bool, "a black square in every image of an epoch, none in updates"] = False,
    hole_px: Annotated[Whole, "side of that square"] = 16,
) -> TermParts:
    """The update is described at `ClassLevels`."""
    levels = ClassLevels(accept, trials, probability, every, hole_px if cutout else 0)
    return TermParts(augment=levels)
