"""The networks of the SDXL refiner with random weights, at their size or at a tiny one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

# stabilityai/stable-diffusion-xl-refiner-1.0: 2.2595 billion parameters in the UNet
UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": (
        "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D",
    ),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": 4,
    "attention_head_dim": (6, 12, 24, 24),  # heads, by diffusers' habit; 64 channels each
    "cross_attention_dim": 1280,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2560,
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
TEXT: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
    "vocab_size": 49408,
}
VISION: dict[str, Any] = {"patch_size": 32}  # ViT-B/32
TINY = (
    {"block_out_channels": (32, 32, 64, 64), "attention_head_dim": (1, 1, 2, 2),
     "cross_attention_dim": 32, "addition_time_embed_dim": 8,
     "projection_class_embeddings_input_dim": 5 * 8 + 32, "transformer_layers_per_block": 1},
    {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
     "projection_dim": 32},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
     "projection_dim": 32},
)  # fmt: skip
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip


class Words:
    """A tokenizer that needs no file: every word is a number."""

    model_max_length = 77

    def __call__(self, prompt: str, **_: Any) -> SimpleNamespace:
        ids = [49406, *(sum(map(ord, word)) % 49000 for word in prompt.split()), 49407]
        return SimpleNamespace(input_ids=ids + [49407] * (self.model_max_length - len(ids)))


def build(device: str, tiny: bool) -> SimpleNamespace:
    """The refiner's parts with random weights, bfloat16; and a CLIP to embed pictures with."""
    changes = TINY if tiny else ({}, {}, {}, {})
    parts = [c | change for c, change in zip((UNET, VAE, TEXT, VISION), changes, strict=True)]
    torch.manual_seed(0)
    with torch.device(device):
        unet, vae = UNet2DConditionModel(**parts[0]), AutoencoderKL(**parts[1])
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**parts[2]))
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**parts[3]))
    for model in (unet, vae, encoder, clip):
        model.to(torch.bfloat16).eval().requires_grad_(False)
    schedule = DDIMScheduler(**SCHEDULE)
    return SimpleNamespace(
        unet=unet,
        vae=vae,
        text_encoder_2=encoder,
        tokenizer_2=Words(),
        scheduler=schedule,
        clip=clip,
    )
