"""Work done ahead of its use: batches of pictures that other processes prepare.

What is prepared does not depend on how many processes there are: each item is a function of itself,
and they come in order.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from harness.core.errors import DataError, UsageError, brief

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # items of each process that wait to be used


@dataclass(frozen=True)
class _Failure:
    """What an item raised."""

    error: DataError | UsageError


class _Items(torch.utils.data.Dataset[Any]):
    """work(item) by number."""

    def __init__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.work, self.items = work, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        try:
            return self.work(self.items[number])
        except (DataError, UsageError) as error:
            return _Failure(error)


def ahead(
    work: Callable[[T], R], items: Sequence[T], workers: int = 0, pinned: bool = False
) -> Iterator[R]:
    """work(item) of each item, in order; by so many forked processes, or when asked for (0).

    Two items of each process are ready or being made while the present one is used. The processes
    begin as copies of this one and know all that `work` knows, but what they change, they change
    for themselves; they must leave a GPU alone. Tensors that `work` returns come through shared
    memory, pinned: in memory that a GPU reads by itself. DataError and UsageError are raised here;
    DataError when a process dies.
    """
    if not workers or len(items) < 2 or multiprocessing.current_process().daemon:
        yield from map(work, items)
        return
    try:
        with warnings.catch_warnings():  # more processes than cores; a fork beside threads
            warnings.simplefilter("ignore")
            results = iter(_loader(_Items(work, items), min(workers, len(items)), pinned))
        for result in results:
            if isinstance(result, _Failure):
                raise result.error
            yield result
    except RuntimeError as error:  # the words of DataLoader
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a process that prepares pictures died ({brief(error, 120)}): out of memory or shared "
            "memory (/dev/shm; `docker run --shm-size`), or killed; fewer input workers need less"
        ) from error


def _loader(items: _Items, workers: int, pinned: bool) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(
        items,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        multiprocessing_context="fork",
        worker_init_fn=_begin,
        generator=torch.Generator(),  # the global one is the run's
    )


def _as_it_is(value: Any) -> Any:
    return value


def _begin(number: int) -> None:
    """Signals are for the run, which ends its processes."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
