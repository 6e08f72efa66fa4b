"""Where a run stands within an epoch: what it takes to go on from there with the same bits."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor


@dataclass
class Position:
    """The last pass of an epoch, at one of its batches.

    rows, memory, generator: the pass's rows (None: features), Progress.state and the state of the
    epoch's generator as the pass began, before any hook of its saw them. The loop's counters have
    their names in Loop; done, total, images: batches of the pass that are done, the sum of the
    losses of their images, and how many these are. random: PyTorch's generators by device after the
    last of them; None where the pass has yet to begin. memory_now: likewise Progress.state, which
    the checkpoint has beside the position.
    """

    rows: pl.DataFrame | None
    memory: dict[str, Any]
    generator: Mapping[str, Any]
    passes: int
    before: int
    lr: float
    batches: int = 0
    steps: int = 0
    warm: float = 0.0
    first_loss: float = 0.0
    done: int = 0
    images: int = 0
    total: float = 0.0
    memory_now: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Tensor] | None = None

    def content(self) -> dict[str, Any]:
        """Tensors and plain values, as a checkpoint keeps them."""
        content = vars(self) | {"generator": json.dumps(self.generator), "total": float(self.total)}
        if self.rows is not None:
            file = io.BytesIO()
            self.rows.write_ipc(file)
            content["rows"] = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        del content["memory_now"]
        return content


def position_of(content: Mapping[str, Any]) -> Position:
    """The position that `content` was made of."""
    rows = content["rows"]
    if rows is not None:
        rows = pl.read_ipc(io.BytesIO(rows.numpy().tobytes()))
    return Position(**{**content, "rows": rows, "generator": json.loads(content["generator"])})


def start(
    rows: pl.DataFrame | None, memory: Mapping[str, Any], rng: np.random.Generator, **counts: Any
) -> Position:
    """A pass that is to begin."""
    return Position(rows, copy.deepcopy(dict(memory)), rng.bit_generator.state, **counts)


def random_states(device: str) -> dict[str, Tensor]:
    """Of PyTorch's generators that work on this device may draw from."""
    states = {"cpu": torch.get_rng_state()}
    return states if device == "cpu" else states | {"cuda": torch.cuda.get_rng_state(device)}


def set_random_states(states: Mapping[str, Tensor], device: str) -> None:
    """The generators go on from where they were."""
    torch.set_rng_state(states["cpu"])
    if device != "cpu" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
