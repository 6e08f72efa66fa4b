"""Attention of a diffusers UNet for one prompt over many steps.

The keys and values that a prompt gives to cross-attention are the same at every step: they are
computed once per prompt and handed to the UNet through diffusers' own `cross_attention_kwargs`.
Self-attention projects queries, keys and values by one matrix. Both are the stock arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from harness.core.errors import DataError

KeysValues = dict[str, tuple[torch.Tensor, torch.Tensor]]  # by layer: (B, heads, L, D / heads)


class Attend:
    """diffusers' AttnProcessor2_0 for one layer, with `texts` instead of the prompt's states.

    Without `texts` a cross-attention layer projects the states it is given, as in stock.
    """

    def __init__(self, name: str, attention: Any) -> None:
        self.name = name
        parts = [attention.to_k, attention.to_v]
        if not attention.is_cross_attention:
            parts.insert(0, attention.to_q)
        self.weight = torch.cat([part.weight.detach() for part in parts])
        biases = [part.bias for part in parts]
        self.bias = None if biases[0] is None else torch.cat([b.detach() for b in biases])

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        texts: KeysValues | None = None,
    ) -> torch.Tensor:
        """hidden_states (B, N, C) -> (B, N, C)."""
        heads = attention.heads
        if encoder_hidden_states is None:
            joint = linear(hidden_states, self.weight, self.bias)
            q, k, v = (_split(part, heads) for part in joint.chunk(3, -1))
        else:
            q = _split(attention.to_q(hidden_states), heads)
            k, v = (texts or {}).get(self.name) or self.project(attention, encoder_hidden_states)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        projected: torch.Tensor = attention.to_out[0](attended)
        return projected

    def project(self, attention: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States of texts (B, L, D) as keys and values, each (B, heads, L, D / heads)."""
        k, v = linear(states, self.weight, self.bias).chunk(2, -1)
        return _split(k, attention.heads), _split(v, attention.heads)


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, N, C) -> (B, heads, N, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(unet: Any) -> None:
    """Give every attention layer of a UNet its Attend; DataError for layers of another kind."""
    layers = {name: module for name, module in unet.named_modules() if hasattr(module, "to_q")}
    for name, module in layers.items():
        if not _plain(module):
            raise DataError(
                f"the generator's UNet has an attention layer not of SDXL's kind: {name}"
            )
        module.set_processor(Attend(name, module))


def _plain(attention: Any) -> bool:
    """Whether a layer does just what Attend does."""
    extra = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k", "added_kv_proj_dim")
    return (
        not any(getattr(attention, name, None) for name in extra)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


@torch.inference_mode()
def keys_values(unet: Any, states: torch.Tensor) -> KeysValues:
    """What a prompt's states (B, L, D) give to each layer of cross-attention."""
    return {
        module.processor.name: module.processor.project(module, states)
        for module in unet.modules()
        if isinstance(getattr(module, "processor", None), Attend) and module.is_cross_attention
    }
