"""What a model says about images: features, predictions, the probability of the true class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.core.draws import Draws
from harness.methods.terms import Objective
from harness.training.ahead import ahead
from harness.training.augmentation import Pictures
from harness.training.device_views import DeviceView, Packed

T = TypeVar("T")
R = TypeVar("R")

BATCH = 256
Change = Callable[[Pictures, Any, int], Tensor]  # Any: Draws, or None in testing


class _OnDevice(NamedTuple):
    """A batch that a view in testing, or in training, is to be made of on the device."""

    tested: bool
    packed: Packed


@dataclass(frozen=True)
class View:
    """How pictures become what a network sees. mean, std: of images in [0, 1], on its device."""

    train: Change  # functions of harness/training/augmentation.py
    test: Change
    side: int  # pixels
    mean: Tensor
    std: Tensor
    memory_format: torch.memory_format = torch.channels_last  # of what the network reads
    workers: int = 0  # processes that prepare pictures
    # in training and in testing, where the device makes the views; None: the CPU does
    on_device: tuple[DeviceView | None, DeviceView | None] = (None, None)

    def ahead(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """work(item) of each item, in order, by the processes there are: harness.training.ahead."""
        return ahead(work, items, self.workers, self.mean.is_cuda)

    def images(self, pictures: Pictures, draws: Draws | None = None) -> Tensor:
        """uint8 (B, side, side, 3) on the CPU: as in training with `draws`, else as tested."""
        change = self.test if draws is None else self.train
        return change(pictures, draws, self.side)

    def prepared(self, pictures: Pictures, draws: Draws | None = None) -> Any:
        """What `finished` makes `images` of."""
        view = self.on_device[1 if draws is None else 0]
        if view is None:
            return self.images(pictures, draws)
        return _OnDevice(draws is None, view.packed(pictures, draws, self.side))

    def finished(self, prepared: Any) -> Tensor:
        """uint8 (B, side, side, 3), on the device or to go there."""
        if not isinstance(prepared, _OnDevice):
            return cast(Tensor, prepared)
        view = self.on_device[int(prepared.tested)]
        assert view is not None
        return view.rendered(prepared.packed, self.side, self.mean.device)

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, H, side, 3) -> float32 (B, 3, H, side) on the device, in the memory format."""
        n, h, w, _ = images.shape
        scale, shift = self._line
        flat = images.to(self.mean.device, non_blocking=True).reshape(n, h, 3 * w).to(torch.float32)
        scaled = torch.addcmul(shift, flat, scale).view(n, h, w, 3).permute(0, 3, 1, 2)
        return scaled.contiguous(memory_format=self.memory_format)

    @cached_property
    def _line(self) -> tuple[Tensor, Tensor]:
        """Factors and summands of the bytes of a line of pixels, (3 * side,) each."""
        return (1 / (255 * self.std)).repeat(self.side), (-self.mean / self.std).repeat(self.side)


def features(
    model: Any,
    view: View,
    take: Callable[[slice], Pictures],
    n: int,
    change: Callable[[Tensor, Draws], Tensor] | None = None,
    draws: Draws | None = None,
) -> Iterator[Tensor]:
    """z of `n` pictures in batches, on the device; call it in inference mode.

    take: rows -> pictures. change: takes uint8 images (B, H, W, 3), returns them changed; it goes
    with `draws`, those of the first row.
    """

    def prepared(part: slice) -> Any:
        own = None if draws is None else draws.at(part)
        seen = None if own is None else own.of("view")
        if change is None:
            return view.prepared(take(part), seen)
        assert own is not None
        return change(view.images(take(part), seen), own)

    for images in view.ahead(prepared, list(parts(n, BATCH))):
        yield model.encoder(view.normalised(view.finished(images)))


def true_class(
    model: Any, objective: Objective, batches: Callable[[], Iterable[Tensor]], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted class (N,) int32 and probability of the true class (N,) float32, in eval mode.

    batches: starts the features of all N pictures. Equal logits go to the lower class.
    """
    guesses, probabilities, first = [], [], 0
    for logits in _logits(model, objective, batches):
        y = torch.tensor(labels[first : first + len(logits)], dtype=torch.int64)
        first += len(logits)
        guesses.append(logits.argmax(1).to(torch.int32).cpu())
        p = logits.softmax(1).gather(1, y[:, None].to(logits.device))
        probabilities.append(p[:, 0].cpu())
    if not guesses:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    return torch.cat(guesses).numpy(), torch.cat(probabilities).numpy()


def probabilities(
    model: Any, objective: Objective, batches: Callable[[], Iterable[Tensor]]
) -> np.ndarray:
    """Class probabilities (N, C) float32, in eval mode."""
    parts = [logits.softmax(1).cpu() for logits in _logits(model, objective, batches)]
    return torch.cat(parts).numpy()


def _logits(
    model: Any, objective: Objective, batches: Callable[[], Iterable[Tensor]]
) -> Iterator[Tensor]:
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        objective.ready(model)
        for z in batches():
            yield objective.logits(model, z).float()
    model.train(was_training)


def table(
    ids: np.ndarray, labels: np.ndarray, predictions: np.ndarray, p_true: np.ndarray, split: str
) -> pl.DataFrame:
    """Predictions as they are stored: split, id, label, prediction, p_true."""
    return pl.DataFrame(
        {
            "split": pl.Series([split] * len(ids), dtype=pl.Utf8),
            "id": pl.Series(ids, dtype=pl.Int64),
            "label": pl.Series(labels, dtype=pl.Int32),
            "prediction": pl.Series(predictions, dtype=pl.Int32),
            "p_true": pl.Series(p_true, dtype=pl.Float32),
        }
    )


def parts(n: int, size: int) -> Iterator[slice]:
    """Slices of `size` over n, the last one shorter."""
    return (slice(first, min(first + size, n)) for first in range(0, n, size))
