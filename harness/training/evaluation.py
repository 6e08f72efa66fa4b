"""Testing a run after every epoch, and the predictions it leaves behind."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.training import inference
from harness.training.checkpoint import State
from harness.training.loop import Loop

Guesses = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> predicted class, p of the true class


class Evaluation:
    """Looks at the splits of a run's data with the loop's model.

    `state.best` keeps, by selection ("oracle": the test split, "best_val": the validation split),
    the score and the predictions of the best epoch so far, the earlier of two.
    """

    def __init__(self, loop: Loop, state: State) -> None:
        self.loop, self.state = loop, state
        self.z: dict[str, list[Tensor]] = {}  # features by split while the encoder is frozen
        self.by_split: Guesses = {}  # of the present weights
        data = loop.data
        self.selections = {"oracle": data.test} | ({"best_val": data.val} if data.val else {})

    def look(self) -> float:
        """Score of the test split by new weights; keeps the predictions of the best epochs."""
        self.changed()
        for selection, split in self.selections.items():
            score, best = self.score(split), self.state.best.get(selection)
            if best is None or score > best["score"]:
                tensors = {
                    k: (torch.from_numpy(g), torch.from_numpy(p))
                    for k, (g, p) in self.guesses().items()
                }
                self.state.best[selection] = {"score": score, "guesses": tensors}
        return self.score(self.loop.data.test)

    def changed(self) -> None:
        """The model has new weights: what is known of the earlier ones goes."""
        self.by_split = {}

    def score(self, split: str) -> float:
        """The data's metric on a split, by the present weights."""
        data = self.loop.data
        return data.metric(data.splits[split].labels, self._of(split)[0])

    def guesses(self) -> Guesses:
        """Predictions of every split; DataError when the weights are not finite."""
        return {name: self._of(name) for name in self.loop.data.splits}

    def _of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of a split, made once for the present weights."""
        loop = self.loop
        if name not in self.by_split:
            labels = loop.data.splits[name].labels
            predictions = inference.true_class(
                loop.model, loop.method.objective, self._features(name), labels
            )
            if not np.isfinite(predictions[1]).all():
                raise DataError(f"{loop.method.expression}: the weights left are not finite")
            self.by_split[name] = predictions
        return self.by_split[name]

    def _features(self, name: str) -> Callable[[], Iterable[Tensor]]:
        def once() -> Iterable[Tensor]:
            if name not in self.z:
                self.z[name] = list(self.loop.split_features(name))
            return self.z[name]

        return once if self.loop.frozen else lambda: self.loop.split_features(name)

    def write(self, folder: Path) -> None:
        """predictions-<selection>.parquet of the last and the best epochs."""
        if not self.state.best:  # nothing was trained
            self.look()
        write(self.loop, folder, "last", self.guesses())
        for selection, best in self.state.best.items():
            arrays = {k: (g.numpy(), p.numpy()) for k, (g, p) in best["guesses"].items()}
            write(self.loop, folder, selection, arrays)


def write(loop: Loop, folder: Path, selection: str, by_split: Guesses) -> None:
    """predictions-<selection>.parquet: split, id, label, prediction, p_true."""
    tables: list[Any] = []
    for name, split in loop.data.splits.items():
        tables.append(inference.table(split.ids, split.labels, *by_split[name], name))
    buffer = io.BytesIO()
    pl.concat(tables).write_parquet(buffer)
    write_atomic(folder / f"predictions-{selection}.parquet", buffer.getbuffer())
