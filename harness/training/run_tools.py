"""What the terms of a method may ask of a training run: harness.methods.terms.Tools."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.core.draws import Draws
from harness.core.errors import UsageError
from harness.methods.terms import Method, Objective
from harness.training import inference
from harness.training.augmentation import Pictures
from harness.training.data import TrainData, batches
from harness.training.inference import View


class RunTools:
    """Features, predictions and probabilities by the present weights of a run."""

    method: Method
    data: TrainData
    view: View
    model: Any
    reference: tuple[Any, Objective] | None

    @property
    def ranks(self) -> int:
        raise NotImplementedError

    def pause(self, keep: Callable[[], None] | None = None) -> None:
        """Between two batches: a run that is to end ends here, once `keep` was called."""

    def features(
        self, rows: pl.DataFrame, seed: int, *, batch: int, batch_statistics: bool
    ) -> Tensor:
        """Tools."""
        ids, was_training = rows["image"].to_numpy(), self.model.training
        draws = Draws((seed,)).of("view")
        buffers = copy.deepcopy(dict(self.model.named_buffers())) if batch_statistics else {}
        self.model.train(batch_statistics)
        parts = []

        def prepared(part: slice) -> Any:
            return self.view.prepared(self.data.images.take(ids[part]), draws.at(part))

        with torch.inference_mode():
            for images in self.view.ahead(prepared, list(batches(len(ids), batch, 1))):
                x = self.view.normalised(self.view.finished(images))
                parts.append(self.model.encoder(x).float().cpu())
                self.pause()
            for name, buffer in buffers.items():
                self.model.get_buffer(name).copy_(buffer)
        self.model.train(was_training)
        return torch.as_tensor(self._same(torch.cat(parts).clone()))

    def tested(self, split: str) -> Tensor:
        """Tools."""
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            parts = [part.float().cpu() for part in self.split_features(split)]
        self.model.train(was_training)
        return torch.as_tensor(self._same(torch.cat(parts).clone()))

    def split_features(self, split: str, places: np.ndarray | None = None) -> Iterator[Tensor]:
        """z of a split's images in batches; call it in inference mode, with the model in eval.

        places: numbers of some of them; None: all.
        """
        images, ids = self.data.splits[split].images, np.arange(len(self.data.splits[split].ids))
        some = ids if places is None else places

        def take(part: slice) -> Pictures:
            return images.take(some[part])

        for z in inference.features(self.model, self.view, take, len(some)):
            self.pause()
            yield z

    def probe(
        self,
        rows: pl.DataFrame,
        change: Callable[[Tensor, Draws], Tensor] | None = None,
        seed: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tools."""
        labels = rows["label"].to_numpy()
        draws = None if seed is None else Draws((seed,))
        some = self._some(self.model, rows, change, draws)
        return self._same(inference.true_class(self.model, self.method.objective, some, labels))

    def consult(self, rows: pl.DataFrame) -> np.ndarray:
        """Tools."""
        if self.reference is None:
            raise UsageError(f"{self.method.expression} consults a run: give its weights")
        model, objective = self.reference
        return inference.probabilities(model, objective, self._some(model, rows))

    def _some(
        self, model: Any, rows: pl.DataFrame, change: Any = None, draws: Draws | None = None
    ) -> Callable[[], Iterator[Tensor]]:
        ids, take = rows["image"].to_numpy(), self.data.images.take
        return lambda: inference.features(
            model, self.view, lambda part: take(ids[part]), len(ids), change, draws
        )

    def _same(self, value: Any) -> Any:
        """The first rank's result: what follows from it must not differ between ranks."""
        if self.ranks == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]
