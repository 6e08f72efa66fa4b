"""A run without pictures: its epochs and passes, counted.

The run's own curriculum and augmentations are asked for the rows of every epoch, of tables of the
right sizes in which a picture is only a number, and a network that is never right.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl

from harness.core.guidance import REAL
from harness.core.specs import Recipe
from harness.methods.terms import Finetune, Method, Phase, Tools
from harness.planning.dataset_sizes import DatasetSizes
from harness.training.data import COLUMNS, batches
from harness.training.epoch_rows import epoch_rows, progress_of


class _Systematic(np.random.Generator):
    """Draws neighbours from a random first one on: counted like rows drawn one by one, but quicker.

    A row is as likely as ever to be among those drawn; only which others come with it differs.
    """

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """Of a number of rows (N,): all from the random one on, then those before it."""
        if not isinstance(x, int):
            return super().permutation(x, axis)
        first = int(self.integers(max(1, x)))
        return np.concatenate([np.arange(first, x), np.arange(first)])

    def choice(  # type: ignore[override]
        self, a: Any, size: Any = None, replace: bool = True, **options: Any
    ) -> Any:
        """Of a number of rows, so many that follow each other."""
        possible = isinstance(a, int) and isinstance(size, int) and (replace or size <= a)
        if options or not possible:
            return super().choice(a, size, replace, **options)
        return (int(self.integers(a)) + np.arange(size)) % a

    def integers(self, low: Any, *bounds: Any, **options: Any) -> Any:
        """Below each of many numbers (N,): the same share of all of them."""
        if bounds or options or not isinstance(low, np.ndarray):
            return super().integers(low, *bounds, **options)
        return (self.random() * low).astype(np.int64)


@dataclass(frozen=True)
class Passes:
    """What one run puts through its network."""

    epochs: int
    batches: int
    images: tuple[int, int]  # of the smallest and the largest epoch
    trained: int  # images with gradients for the encoder
    texts: int  # with gradients; at most one per image
    forward: int  # images without: with a frozen encoder, looked at, tested
    looked: int  # of these, those that depend on what the network says
    fitted_tflop: float | None  # by the method itself before the first epoch; None: it does not say


class DryRun:
    """The loop's tools (harness.methods.terms.Tools) as far as rows of epochs may ask for them."""

    dry = True

    device, bars = "cpu", False

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        sizes: DatasetSizes,
        features: int,
        grid: pl.DataFrame | None,
        share: float,
    ) -> None:
        self.method, self.recipe, self.sizes, self.features = method, recipe, sizes, features
        self.data: Any = _tables(sizes, grid, share)
        self.state: dict[str, Any] = {}
        self.schedule = recipe.scratch
        self.tally = Counter[str]()

    @property
    def batch(self) -> int:
        return self.schedule.batch

    def passes(self) -> Passes:
        """Of the whole run, tests included: after epochs, the last one's being those at the end."""
        if self.method.merges is not None:
            return self._merged()
        onward = self.method.start is not None and self.recipe.onward is not None
        schedule = self.recipe.onward if onward else self.recipe.scratch
        assert schedule is not None
        finetune, tests = self.method.finetune, sum(self.sizes.splits.values())
        for hook in self.method.augment:
            hook.start(None, cast("Tools", self))
        epochs, images = 0, []
        for phase in finetune.phases(schedule) if finetune else (Phase("all"),):
            self.schedule = phase.schedule or schedule
            trains = phase.trains or self.method.objective.trains
            images += [] if phase.on_features else self._phase(trains)
            epochs += self.schedule.epochs
            self.tally["forward"] += self._tested(tests) if "encoder" in trains else tests
        self.tally["forward"] += 0 if epochs else tests
        ends = (min(images), max(images)) if images else (0, 0)
        fitted = self._fitted()
        names = ("batches", "trained", "texts", "forward", "looked")
        sums = {name: self.tally[name] for name in names}
        return Passes(epochs=epochs, images=ends, fitted_tflop=fitted, **sums)

    def _tested(self, tests: int) -> int:
        """Test images that a phase looks at, of so many; features of a frozen encoder are kept."""
        recipe, epochs = self.recipe, self.schedule.epochs
        before = (epochs - 1) // recipe.look_every
        return round(before * recipe.look_share * tests) + tests

    def _fitted(self) -> float | None:
        """TFLOP of what the method fits before its first epoch, as its `price` says.

        price(class sizes, entries of z) -> images that pass the encoder for it, TFLOP beside those.
        `validates`: whether it also looks at the validation split.
        """
        finetune = self.method.finetune
        if finetune is None or type(finetune).start is Finetune.start:
            return 0.0
        price = getattr(finetune, "price", None)
        if price is None:
            return None
        passes, tflop = price(self.sizes.counts, self.features)
        judges = self.sizes.validation if getattr(finetune, "validates", False) else 0
        self.tally["forward"] += passes + judges
        return float(tflop)

    def _merged(self) -> Passes:
        assert self.method.ensemble is not None
        choices = len(self.method.ensemble.grid) if self.method.ensemble.alpha is None else 0
        tests = sum(self.sizes.splits.values()) + choices * self.sizes.validation
        start, finetune = 0, self.method.finetune
        if finetune is not None and type(finetune).first_weights is not Finetune.first_weights:
            start = finetune.price(self.sizes.counts, self.features)[0]  # type: ignore[attr-defined]
        return Passes(0, 0, (0, 0), 0, 0, start + tests, 0, 0.0)

    def _phase(self, trains: tuple[str, ...]) -> list[int]:
        """Images of every epoch."""
        images = []
        for epoch in range(self.schedule.epochs):
            before = self.tally["images"]
            rows = self._rows(epoch)
            self.train(rows)
            images.append(rows.height)
            n = self.tally["images"] - before
            self.tally["trained" if "encoder" in trains else "forward"] += n
            self.tally["texts"] += n if "text" in trains else 0
        return images

    def _rows(self, epoch: int) -> pl.DataFrame:
        progress = progress_of(self, epoch, _Systematic(np.random.PCG64(epoch)), self.state)
        return epoch_rows(self.method, self.data.rows, progress)

    def train(self, rows: pl.DataFrame) -> None:
        self.tally["images"] += rows.height
        self.tally["batches"] += _batches(rows.height, self.batch)

    def probe(
        self, rows: pl.DataFrame, change: Any = None, seed: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Always wrong, so that what follows from right answers is not counted."""
        self.tally["forward"] += rows.height
        self.tally["looked"] += rows.height
        return np.full(rows.height, -1, np.int32), np.zeros(rows.height, np.float32)

    def consult(self, rows: pl.DataFrame) -> np.ndarray:
        self.tally["forward"] += rows.height
        return np.broadcast_to(np.float32(0), (rows.height, len(self.sizes.counts)))


@functools.cache
def _batches(images: int, size: int) -> int:
    return sum(1 for _ in batches(images, size))


def _tables(sizes: DatasetSizes, grid: pl.DataFrame | None, share: float) -> Any:
    """Rows and pool as of train_data; of the pool, the share `kept` of every level scores 1."""
    rows = _real(sizes.counts, sizes.hard, sizes.hard_classes)
    pool = None if grid is None else _synthetic(rows, grid["guidance"].to_numpy(), share)
    captions = [("", "")] * len(sizes.counts)
    return SimpleNamespace(rows=rows, pool=pool, counts=sizes.counts, captions=captions)


@functools.lru_cache(maxsize=4)  # one imbalance ratio after the other
def _real(sizes: tuple[int, ...], hard_images: int, hard_classes: int | None) -> pl.DataFrame:
    counts = np.array(sizes)
    labels = np.repeat(np.arange(len(counts)), counts)
    hard = _spread(len(labels), hard_images)
    if hard_classes is not None:
        hard = np.isin(labels, np.argsort(counts, kind="stable")[:hard_classes])
    image = np.arange(len(labels))
    real = {"image": image, "label": labels, "guidance": REAL, "hard": hard, "parent": image}
    real |= {"count": counts[labels], "score": None, "caption": 0}
    return pl.DataFrame({name: real[name] for name in COLUMNS}, schema=COLUMNS)


def _synthetic(rows: pl.DataFrame, levels: np.ndarray, share: float) -> pl.DataFrame:
    """Images at these levels of every hard row, of each level the share `kept` with score 1."""
    hard = rows.filter("hard")
    guidance = np.tile(levels, hard.height)
    score = np.full(len(guidance), -1.0)
    for level in np.unique(guidance):
        there = np.flatnonzero(guidance == level)
        score[there[_spread(len(there), int(share * len(there)))]] = 1
    columns: dict[str, Any] = {
        name: np.repeat(hard[name].to_numpy(), len(levels)) for name in ("label", "count", "parent")
    }
    columns |= {
        "image": rows.height + np.arange(len(guidance)),
        "guidance": guidance,
        "score": score,
    }
    columns |= {"hard": True, "caption": 0}
    return pl.DataFrame({name: columns[name] for name in COLUMNS}, schema=COLUMNS)


def _spread(n: int, chosen: int) -> np.ndarray:
    """A mask (n,) with so many True, at even distances."""
    return np.diff(np.arange(n + 1) * chosen // max(1, n)) == 1
