"""In which memory format a network's weights and pictures are kept."""

from __future__ import annotations

import torch
from torch import nn

BLOCK = 8  # channels that oneDNN's AVX2 kernels take at once


def memory_format(model: nn.Module) -> torch.memory_format:
    """channels_last, which is the faster one, unless a convolution of the model is unsafe in it.

    On processors without AVX-512, oneDNN computes the weight gradient of a 1x1 convolution with a
    stride above 1 and fewer than 8 input channels outside its memory (oneDNN issue 6035): wrong
    gradients or a crash. A model with such a convolution stays contiguous, its pictures too.
    """
    unsafe = any(_unsafe(module) for module in model.modules())
    return torch.contiguous_format if unsafe else torch.channels_last


def _unsafe(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < BLOCK
    )
