"""Testing a run between its epochs, and the predictions it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.core import parquet
from harness.core.errors import DataError
from harness.training import inference
from harness.training.checkpoint import State
from harness.training.loop import Loop

Predictions = tuple[np.ndarray, np.ndarray]  # predicted class, p of the true class
Guesses = dict[str, Predictions]  # by split
Places = dict[str, np.ndarray | None]  # by split


class Evaluation:
    """Looks at the splits of a run's data with the loop's model.

    `state.best` keeps, by selection ("oracle": the test split, "best_val": the validation split),
    the score and the predictions of the best epoch so far, the earlier of two. Where the recipe's
    look_share is below 1, these are of that part of the splits, the last epoch's too.
    """

    def __init__(self, loop: Loop, state: State) -> None:
        self.loop, self.state = loop, state
        self.z: dict[str, list[Tensor]] = {}  # features by split while the encoder is frozen
        self.whole: Guesses = {}  # of the present weights
        self.part: Guesses = {}  # likewise
        data, share = loop.data, loop.recipe.look_share
        self.selections = {"oracle": data.test} | ({"best_val": data.val} if data.val else {})
        # numbers of the pictures that looks see; None: all
        self.places: Places = {
            name: split.first(share) if share < 1 else None for name, split in data.splits.items()
        }

    def look(self, last: bool = False) -> float:
        """Score of the test split by new weights; keeps the predictions of the best epochs.

        last: the run ends with these, so all of the split is looked at and scored.
        """
        self.changed()
        if last:
            self.guesses()  # which are kept anyway, and hold those of a part
        for selection, split in self.selections.items():
            score, best = self.score(split, self._looked), self.state.best.get(selection)
            if best is None or score > best["score"]:
                tensors = {
                    name: tuple(map(torch.from_numpy, self._looked(name)))
                    for name in self.loop.data.splits
                }
                self.state.best[selection] = {"score": score, "guesses": tensors}
        return self.score(self.loop.data.test, self._all if last else self._looked)

    def changed(self) -> None:
        """The model has new weights: what is known of the earlier ones goes."""
        self.whole, self.part = {}, {}
        self.loop.share_buffers()

    def score(self, split: str, of: Callable[[str], Predictions] | None = None) -> float:
        """The data's metric on a split, by the present weights; of: those on all of it, or not."""
        predictions, places = (of or self._all)(split), self.places[split]
        labels = self.loop.data.splits[split].labels
        if places is not None and len(predictions[0]) < len(labels):
            labels = labels[places]
        return self.loop.data.metric(labels, predictions[0])

    def guesses(self) -> Guesses:
        """Predictions of every split; DataError when the weights are not finite."""
        return {name: self._all(name) for name in self.loop.data.splits}

    def _all(self, name: str) -> Predictions:
        """Predictions of a split, made once for the present weights."""
        if name not in self.whole:
            self.whole[name] = self._predicted(name, None)
        return self.whole[name]

    def _looked(self, name: str) -> Predictions:
        """The same of the part of a split that looks see."""
        places = self.places[name]
        if places is None:
            return self._all(name)
        if name in self.whole or self.loop.frozen:
            guesses, p = self._all(name)
            return guesses[places], p[places]
        if name not in self.part:
            self.part[name] = self._predicted(name, places)
        return self.part[name]

    def _predicted(self, name: str, places: np.ndarray | None) -> Predictions:
        """Of all processes together, each of which makes some batches of one process."""
        loop, labels = self.loop, self.loop.data.splits[name].labels
        some = np.arange(len(labels)) if places is None else places
        own = _rank_share(len(some), loop.ranks, int(loop.accelerator.process_index))
        features = self._features(name, some[own])
        part = inference.true_class(loop.model, loop.method.objective, features, labels[some[own]])
        predictions = self._gathered(own, part, len(some))
        if not np.isfinite(predictions[1]).all():
            raise DataError(f"{loop.method.expression}: the weights left are not finite")
        return predictions

    def _gathered(self, own: np.ndarray, part: Predictions, n: int) -> Predictions:
        if self.loop.ranks == 1:
            return part
        from accelerate.utils import gather_object

        guesses, p = np.empty(n, np.int32), np.empty(n, np.float32)
        for places, (some, probabilities) in gather_object([(own, part)]):
            guesses[places], p[places] = some, probabilities
        return guesses, p

    def _features(self, name: str, places: np.ndarray) -> Callable[[], Iterable[Tensor]]:
        def once() -> Iterable[Tensor]:
            if name not in self.z:
                self.z[name] = list(self.loop.split_features(name, places))
            return self.z[name]

        return once if self.loop.frozen else lambda: self.loop.split_features(name, places)

    def complete(self) -> None:
        """All that `write` writes is known, which takes all processes."""
        if not self.state.best:  # nothing was trained
            self.look(last=True)
        self.guesses()

    def write(self, folder: Path) -> None:
        """predictions-<selection>.parquet of the last and the best epochs, once complete."""
        write(self.loop, folder, "last", self.guesses())
        for selection, best in self.state.best.items():
            arrays = {k: (g.numpy(), p.numpy()) for k, (g, p) in best["guesses"].items()}
            write(self.loop, folder, selection, arrays, self.places)


def _rank_share(n: int, ranks: int, rank: int) -> np.ndarray:
    """Numbers of a rank's images among n: its turns of the batches that one process would make."""
    turns = list(inference.parts(n, inference.BATCH))[rank::ranks]
    numbers = [np.arange(part.start, part.stop) for part in turns]
    return np.concatenate(numbers) if numbers else np.empty(0, np.int64)


def write(
    loop: Loop, folder: Path, selection: str, by_split: Guesses, places: Places | None = None
) -> None:
    """predictions-<selection>.parquet: split, id, label, prediction, p_true.

    places: by split, of which of its pictures these are; None: of all.
    """
    tables: list[Any] = []
    for name, split in loop.data.splits.items():
        some = None if places is None else places[name]
        of = slice(None) if some is None else some
        tables.append(inference.table(split.ids[of], split.labels[of], *by_split[name], name))
    parquet.write(folder / f"predictions-{selection}.parquet", pl.concat(tables))
