"""A batch of pictures up to where the device takes over; other processes may make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.core.draws import Draws
from harness.methods.terms import Augment
from harness.training import behaviour
from harness.training.data import Images
from harness.training.inference import View


class Prepared(NamedTuple):
    """images: what View.finished takes. The rest: what is counted of the first batches of a run.

    brightness: (B,) float64 before the hooks; changed: pictures that each hook changed.
    """

    images: Any
    brightness: Tensor | None = None
    changed: Sequence[int] | None = None


def prepare(
    view: View,
    images: Images,
    ids: np.ndarray,
    y: Tensor,
    draws: Draws,
    hooks: Sequence[Augment],
    counted: tuple[bool, bool],
) -> Prepared:
    """Pictures (B,) of a training batch with the labels y, changed by the hooks.

    counted: whether their brightness is wanted, and what the hooks changed.
    """
    pictures = images.take(ids)
    if not any(_changes(hook) for hook in hooks):
        ready = view.prepared(pictures, draws.of("view"))
        bright = None
        if counted[0] and isinstance(ready, Tensor):
            bright = torch.from_numpy(behaviour.brightness(ready))
        return Prepared(ready, bright, [0] * len(hooks) if counted[1] else None)
    x, changed = view.images(pictures, draws.of("view")), []
    bright = torch.from_numpy(behaviour.brightness(x)) if counted[0] else None
    for number, hook in enumerate(hooks):
        before, x = x, hook.pixels(x, y, draws.of(f"hook {number}"))
        changed.append(behaviour.changed(before, x) if counted[1] else 0)
    return Prepared(x, bright, changed if counted[1] else None)


def _changes(hook: Augment) -> bool:
    return type(hook).pixels is not Augment.pixels


def count(
    memory: dict[str, Any],
    batch: Prepared,
    images: Tensor,
    y: Tensor,
    hooks: Sequence[Augment],
    classes: int,
    counted: tuple[bool, bool],
    ranks: int = 1,
) -> None:
    """Add a batch to what a record says of a run's pictures; images: as the device has them.

    With several ranks, each has its share of the batch, and all of them count the whole.
    """
    bright = batch.brightness
    if counted[0] and bright is None:
        bright = torch.from_numpy(behaviour.brightness(images.cpu()))
    shares = [(bright if counted[0] else None, y, batch.changed or ())]
    if ranks > 1 and (counted[0] or shares[0][2]):
        from accelerate.utils import gather_object

        shares = gather_object(shares)
    for values, labels, changed in shares:
        if values is not None:
            behaviour.count_pictures(memory, values.numpy(), labels.numpy(), classes)
        for hook, number in zip(hooks, changed, strict=False):
            behaviour.count_change(memory, hook, number, len(labels))
