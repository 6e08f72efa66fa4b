"""What a training run needs to go on after a kill, in one file that is replaced whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from harness.core.errors import DataError
from harness.models import torch_files

VERSION = 4


class OtherRun(DataError):
    """A state that another run saved."""


@dataclass
class State:
    """All that a run knows between two epochs; randomness is a function of (seed, epochs done).

    within: where it stands in the epoch after these (harness.training.position); None: at its
    beginning.
    """

    phase: int = 0
    epoch: int = 0  # epochs done in this phase
    steps: int = 0  # of the optimiser in this phase
    warm: float = 0.0  # position in the phase, in epochs, where its warm-up steps ended
    memory: dict[str, Any] = field(default_factory=dict)  # Progress.state
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per epoch of all phases
    best: dict[str, dict[str, Any]] = field(default_factory=dict)  # selection -> see evaluate.py
    model: dict[str, Any] | None = None  # as read from a file, not kept up to date
    optimiser: dict[str, Any] | None = None  # likewise
    within: dict[str, Any] | None = None  # likewise


_KEPT = ("phase", "epoch", "steps", "warm", "memory", "history", "best")


def save(
    path: Path,
    state: State,
    model: Any,
    optimiser: torch.optim.Optimizer,
    run: str,
    within: dict[str, Any] | None = None,
) -> None:
    """Write a state; `run` says whose it is. DataError (disk full, ...) leaves the old file."""
    content = {name: getattr(state, name) for name in _KEPT}
    content |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    if within is not None:
        content["within"] = within
    torch_files.write(path, {"version": VERSION, "run": run, **content})


def read(path: Path, run: str) -> State | None:
    """The state that was saved; None where there is none, or a damaged file, which is told.

    OtherRun for one that another run wrote.
    """
    again = "the run is trained from the beginning"
    saved = torch_files.read_or_none(path, ("version", "run"), again)
    if saved is None:
        return None
    identity, content = saved
    if identity != (VERSION, run):
        raise OtherRun(
            f"{path} belongs to another run (other method, recipe, seed, rows or start weights); "
            "remove it or name another folder"
        )
    return State(**content)


def fingerprint(parts: Iterable[Any]) -> str:
    """SHA-256 over texts, numbers, arrays, tables of numbers and state dicts, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pl.DataFrame):
            part = {name: part[name].cast(pl.Float64).to_numpy() for name in part.columns}
        arrays = part if isinstance(part, dict) else {"": part}
        for name, value in arrays.items():
            if isinstance(value, torch.Tensor):
                value = value.detach().cpu().contiguous().numpy()
            is_array = isinstance(value, np.ndarray)
            shape = value.shape if is_array else type(value).__name__
            digest.update(f"{name} {shape}\n".encode())
            digest.update(value.tobytes() if is_array else f"{value}\n".encode())
    return digest.hexdigest()
