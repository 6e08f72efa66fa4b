"""Gradients of a batch that is too large for the memory of a device at once.

A mean over images is the sum of its parts' means, each by its share. A loss that compares the
images of a batch with each other is computed on the features of all of them, made part by part and
without what backpropagation needs; then each part is made again and given the gradients of its
features (Gao et al. 2021, arXiv 2101.06983). Batch norm sees one part at a time.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from harness.methods.terms import Augment, Batch
from harness.training.position import random_states, set_random_states


def by_parts(
    step: Any, accelerator: Any, x: Tensor, batch: Batch, on_features: bool, size: int
) -> Tensor:
    """Add the gradients of the batch's loss to those of the parameters; the loss, detached.

    step: loop.Step, not wrapped for data parallelism. size: images of a part, at most. Means over
    the processes of a data-parallel run.
    """
    mixes = any(type(hook).features is not Augment.features for hook in step.hooks)
    whole = (step.objective.whole_batch or mixes) and not on_features
    work = _cached if whole else _accumulated
    loss = work(step, accelerator, x, batch, on_features, size)
    if accelerator.num_processes > 1:
        for parameter in step.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= accelerator.num_processes
    return loss


def _accumulated(
    step: Any, accelerator: Any, x: Tensor, batch: Batch, on_features: bool, size: int
) -> Tensor:
    total = torch.zeros((), device=x.device)
    for first in range(0, len(x), size):
        part = slice(first, first + size)
        share = len(x[part]) / len(x)
        with accelerator.autocast():
            loss = step(x[part], _part(batch, part), on_features)
        accelerator.backward(loss * share)
        total += loss.detach() * share
    return total


def _part(batch: Batch, part: slice) -> Batch:
    y, caption = batch.y[part], batch.caption[part]
    return Batch(y, batch.prior, caption, batch.epoch, batch.epochs)


def _cached(
    step: Any, accelerator: Any, x: Tensor, batch: Batch, on_features: bool, size: int
) -> Tensor:
    encoder, device = step.model.encoder, str(x.device)
    states, features = [], []
    buffers = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    with torch.no_grad():
        for part in x.split(size):
            states.append(random_states(device))
            with accelerator.autocast():
                features.append(encoder(part))
        for name, buffer in buffers.items():  # the parts come once more
            encoder.get_buffer(name).copy_(buffer)
    z = torch.cat(features).requires_grad_()
    with accelerator.autocast():
        changed = z
        for hook in step.hooks:
            changed, batch.y = hook.features(changed, batch.y)
        loss: Tensor = step.objective.loss(step.model, changed, batch)
    accelerator.backward(loss)
    if z.grad is not None and any(p.requires_grad for p in encoder.parameters()):
        after = random_states(device)
        for part, state, grad in zip(x.split(size), states, z.grad.split(size), strict=True):
            set_random_states(state, device)
            with accelerator.autocast():
                again = encoder(part)
            torch.autograd.backward(again, grad)
        set_random_states(after, device)
    return loss.detach()
