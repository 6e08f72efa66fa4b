"""Batch norm over the batches of all processes of a data-parallel run."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What torch.nn.SyncBatchNorm computes, on a CPU too, which that one refuses.

    In training the mean and the variance are those of all processes' batches together, whatever
    their sizes, and gradients flow back to all of them.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input of two dimensions or more, not {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.training or dist.get_world_size() == 1:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        n = input.new_full((1,), input.numel() / input.shape[1])
        sums = _of_all(torch.cat([input.sum(dims), n]))
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1]
        centred = input - mean.view(shape)
        variance = _of_all(centred.square().sum(dims)) / n
        if self.running_mean is not None and self.running_var is not None:
            self._run(mean.detach(), variance.detach() * n / (n - 1))
        scaled = centred * (variance + self.eps).rsqrt().view(shape)
        return (
            scaled
            if self.weight is None
            else torch.addcmul(self.bias.view(shape), scaled, self.weight.view(shape))
        )

    @torch.no_grad()
    def _run(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # a mean over all batches
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _of_all(x: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow."""
    from torch.distributed.nn.functional import all_reduce

    total: Tensor = all_reduce(x)
    return total


def shared(model: Any) -> Any:
    """The model with its batch norms over all processes: torch's own on GPUs."""
    if any(parameter.is_cuda for parameter in model.parameters()):
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, module in list(model.named_children()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            setattr(model, name, _converted(module))
        else:
            shared(module)
    return model


def _converted(norm: Any) -> SharedBatchNorm:
    tracks, affine = norm.track_running_stats, norm.affine
    other = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, affine, tracks)
    other.load_state_dict(norm.state_dict())
    return other.train(norm.training)
