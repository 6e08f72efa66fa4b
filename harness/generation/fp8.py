"""A UNet whose linear layers multiply in 8-bit floating point (E4M3, Micikevicius et al. 2022).

Weights have a scale per output channel, activations one per row (token), found as they come: an
image's numbers do not depend on its neighbours. NVIDIA's cards from compute capability 8.9 multiply
in 8 bits; elsewhere the rounding is the same and the product is in 32 bits, slower than without.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

LARGEST = 448.0  # of E4M3
MULTIPLE = 16  # of both sides of a matrix, for the cards' products


class Linear8(nn.Module):
    """A linear layer in 8 bits: (..., in) -> (..., out), in the dtype of what comes."""

    weight: torch.Tensor  # (out, in)
    scale: torch.Tensor  # (out,)

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, scale = rounded(layer.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale[:, 0])
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, scale = rounded(x.flatten(0, -2).float())
        if x.is_cuda and torch.cuda.get_device_capability(x.device) >= (8, 9):
            product = torch._scaled_mm(
                rows, self.weight.t(), scale, self.scale[None], out_dtype=torch.bfloat16
            )
        else:
            product = rows.float() @ self.weight.float().t() * scale * self.scale
        if self.bias is not None:
            product = product + self.bias
        return product.to(x.dtype).unflatten(0, x.shape[:-1])


def rounded(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (N, D) float32 as E4M3, and the factor (N, 1) float32 that brings each back."""
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (x / scale).to(torch.float8_e4m3fn), scale


def eight_bit(unet: Any) -> Any:
    """A copy of a UNet with its linear layers in 8 bits; the UNet stays as it is.

    Left out are those whose sides are no multiples of MULTIPLE, and the joint projection of
    queries, keys and values, which the attention processors keep themselves.
    """
    other = copy.deepcopy(unet)
    for module in list(other.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.Linear) and not any(n % MULTIPLE for n in layer.weight.shape):
                setattr(module, name, Linear8(layer))
    return other
