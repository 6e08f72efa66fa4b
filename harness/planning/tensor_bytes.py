"""Bytes of tensors that a computation holds, counted on PyTorch's meta device: nothing is computed.

Attention is counted as GPUs compute it, in tiles, without its matrix of probabilities: PyTorch's
meta device would have it stored.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def saved(work: Callable[[], Any], known: Collection[Tensor] = ()) -> int:
    """Bytes that are kept for the backward pass of some work, those of `known` tensors aside."""
    apart = {t.untyped_storage()._cdata for t in known}
    kept: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in apart:
            kept[storage._cdata] = storage  # held, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), _tiled_attention():
        work()
    return sum(storage.nbytes() for storage in kept.values())


def peak(work: Callable[[], Any]) -> int:
    """Most bytes of tensors made by some work that are alive at once."""
    with torch.no_grad(), _tiled_attention(), _Alive() as alive:
        work()
    return alive.most


class _Alive(TorchDispatchMode):
    """Counts the storages of tensors that operations make while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = {_place(t) for t in _tensors((args, kwargs or {}))}
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if _place(tensor) not in before | self.known:
                self._begin(tensor.untyped_storage())
        return result

    def _begin(self, storage: Any) -> None:
        place, size = storage._cdata, storage.nbytes()
        self.known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._end, place, size)

    def _end(self, place: int, size: int) -> None:
        self.known.discard(place)
        self.now -= size


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


class _Tiled(torch.autograd.Function):
    """Keeps queries, keys, values, the result and a number per query and head."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        result = q.new_empty((*q.shape[:-1], v.shape[-1]))
        ctx.save_for_backward(q, k, v, result, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(t) for t in ctx.saved_tensors[:3])


@contextmanager
def _tiled_attention() -> Iterator[None]:
    functional: Any = torch.nn.functional
    usual = functional.scaled_dot_product_attention

    def tiled(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
        return _Tiled.apply(q, k, v)

    functional.scaled_dot_product_attention = tiled
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = usual
