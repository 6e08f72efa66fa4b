"""A diffusers UNet of which some steps compute the outermost blocks alone.

DeepCache (Ma et al. 2024, arXiv 2312.00858, section 3.3): what the deep blocks hand to the last up
block changes little from one step to the next; that of an earlier step can stand in for it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Last(nn.Module):
    """A UNet's last up block, which keeps what enters it, or takes what was kept in its place.

    substitute: (B, C, h, w) to take, or None. entry: what entered last.
    """

    substitute: torch.Tensor | None
    entry: torch.Tensor

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block, self.resnets = block, block.resnets
        self.has_cross_attention = getattr(block, "has_cross_attention", False)
        self.substitute = None

    def forward(self, hidden_states: torch.Tensor, **rest: Any) -> Any:
        if self.substitute is None:
            self.entry = hidden_states
        else:
            hidden_states = self.substitute
        return self.block(hidden_states=hidden_states, **rest)


class Deep:
    """A UNet, which stays as it is, in two views, and the features that go from one to the other.

    whole: all of it. shallow: of the down blocks the first, without its downsampler, no middle, and
    the last up block.
    """

    features: torch.Tensor  # (rows, C, h, w)

    def __init__(self, unet: Any) -> None:
        self.last = Last(unet.up_blocks[-1])
        self.whole, self.shallow, first = _view(unet), _view(unet), _view(unet.down_blocks[0])
        first.downsamplers = None
        self.whole.up_blocks = nn.ModuleList([*unet.up_blocks[:-1], self.last])
        self.shallow.down_blocks, self.shallow.mid_block = nn.ModuleList([first]), None
        self.shallow.up_blocks = nn.ModuleList([self.last])

    def view(self, whole: bool, rows: slice) -> Any:
        """The UNet for some rows of the batch."""
        self.last.substitute = None if whole else self.features[rows]
        return self.whole if whole else self.shallow

    def keep(self, rows: slice, of: int) -> None:
        """Put aside what a whole pass of some of so many rows gave."""
        entry = self.last.entry
        if rows.start == 0:
            self.features = entry.new_empty(of, *entry.shape[1:])
        self.features[rows] = entry


def _view(module: Any) -> Any:
    """A module of the same parts, of which others can be put in their place."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other
