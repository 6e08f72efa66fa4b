"""What the generator keeps on its device: the slots' tensors, what is computed once, and copies."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

from harness.core.errors import DataError
from harness.generation.attention import KeysValues

T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """What one prompt tells the UNet, each with a batch of one."""

    pooled: torch.Tensor  # (1, P)
    states: KeysValues

    @property
    def tensors(self) -> list[torch.Tensor]:
        return [self.pooled, *(t for pair in self.states.values() for t in pair)]


class Kept(Generic[T]):
    """Values that were computed, the latest used ones, up to a number of bytes."""

    def __init__(self, make: Callable[[str], T], size: Callable[[T], int], budget: int) -> None:
        self.make, self.size, self.budget = make, size, budget
        self.bytes = 0
        self._of: OrderedDict[str, T] = OrderedDict()

    def clear(self) -> None:
        self._of.clear()
        self.bytes = 0

    def __call__(self, key: str) -> T:
        if key in self._of:
            self._of.move_to_end(key)
            return self._of[key]
        value = self._of[key] = self.make(key)
        self.bytes += self.size(value)
        while self.bytes > self.budget and len(self._of) > 1:
            self.bytes -= self.size(self._of.popitem(last=False)[1])
        return value


def bytes_of(tensors: list[torch.Tensor]) -> int:
    return sum(t.nbytes for t in tensors)


class Slots:
    """Tensors of B slots, each denoising one image; unguided rows first where there are 2 B.

    x: latents (B, C, h, w) float32. empty: the text of the unguided half. ids: time ids of an
    unguided and of a guided row, (2, n).
    """

    def __init__(self, batch: int, latent: tuple[int, ...], empty: Text, ids: torch.Tensor) -> None:
        self.x = torch.zeros(batch, *latent, device=ids.device)
        self.pooled = empty.pooled.repeat(2 * batch, 1)
        self.states = {
            name: (k.repeat(2 * batch, 1, 1, 1), v.repeat(2 * batch, 1, 1, 1))
            for name, (k, v) in empty.states.items()
        }
        # the UNet wants a prompt's states even when no layer reads them
        self.unused = self.pooled.new_zeros(2 * batch, 1, 1)
        self.ids = ids.repeat_interleave(batch, 0)

    def fill(self, i: int, x: torch.Tensor, text: Text) -> None:
        """Put noised latents (C, h, w) and a text into slot i."""
        self.x[i] = x
        row = len(self.x) + i
        self.pooled[row] = text.pooled[0]
        for name, (k, v) in text.states.items():
            self.states[name][0][row], self.states[name][1][row] = k[0], v[0]


class Memory:
    """How many pictures go through a model at once: halved whenever memory does not suffice."""

    def __init__(self, what: str, at_once: int) -> None:
        self.what, self.at_once = what, at_once

    def work(self, function: Callable[[slice], torch.Tensor], rows: slice) -> torch.Tensor:
        """function on runs of `rows`, together; DataError when even one picture is too much."""
        while True:
            try:
                starts = range(rows.start, rows.stop, self.at_once)
                parts = [function(slice(i, min(i + self.at_once, rows.stop))) for i in starts]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve(error)

    def _halve(self, error: BaseException) -> None:
        if self.at_once == 1:
            raise DataError(f"{self.what} one picture needs more memory than there is") from error
        self.at_once = (self.at_once + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"out of memory: {self.what} goes on with {self.at_once} pictures at once; the lowest "
            "bits of their numbers may differ from those of the whole batch",
            RuntimeWarning,
            stacklevel=4,
        )


def _out_of_memory(error: BaseException) -> bool:
    message = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in message or "not enough memory" in message
    )


def to_host(pixels: torch.Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a tensor to this side; the function returned waits for the end of it.

    From a CUDA device on a stream of its own into pinned memory, while the next steps go on.
    """
    if pixels.device.type != "cuda":
        return lambda: pixels.cpu().numpy()
    stream = torch.cuda.Stream(pixels.device)
    stream.wait_stream(torch.cuda.current_stream(pixels.device))
    here = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
    with torch.cuda.stream(stream):
        here.copy_(pixels, non_blocking=True)
        pixels.record_stream(stream)
        done = torch.cuda.Event()
        done.record()

    def wait() -> np.ndarray:
        done.synchronize()
        return here.numpy()

    return wait
