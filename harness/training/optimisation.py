"""Optimisers and learning rates that a Schedule describes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from harness.core.registry import one_of
from harness.core.specs import Schedule


def optimiser(parameters: Iterable[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW with the schedule's settings; UsageError for another name."""
    name = one_of("optimiser", schedule.optimiser, ("sgd", "adam", "adamw"))
    common: dict[str, Any] = {
        "lr": schedule.lr,
        "weight_decay": schedule.weight_decay,
        "fused": True,  # a third of the time of one tensor by one, for networks as small as ours
    }
    if name == "sgd":
        momentum, nesterov = schedule.momentum, schedule.nesterov
        return torch.optim.SGD(parameters, momentum=momentum, nesterov=nesterov, **common)
    return (torch.optim.Adam if name == "adam" else torch.optim.AdamW)(parameters, **common)


def learning_rate(schedule: Schedule, position: float, step: int, begun: float = 0.0) -> float:
    """Learning rate of an optimiser step, both numbered from 0, at `position`, in epochs.

    Steps: constant in an epoch. Cosine: to 0 at the end of the last epoch, per batch. Both times
    (epoch + 1) / warmup in the warm-up epochs, or (step + 1) / warmup_steps in the warm-up steps,
    after which, at the position `begun`, the cosine begins.
    """
    decay = one_of("decay", schedule.decay, ("steps", "cosine"))
    if step < schedule.warmup_steps:
        return schedule.lr * (step + 1) / schedule.warmup_steps
    epoch = math.floor(position)
    if decay == "cosine":
        done = (position - begun) / (schedule.epochs - begun)
        factor = (1 + math.cos(math.pi * done)) / 2
    else:
        factor = schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    return schedule.lr * factor * min(1.0, (epoch + 1) / max(1, schedule.warmup))
