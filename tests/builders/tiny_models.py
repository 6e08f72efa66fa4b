"""Foundation models with random weights and the shapes of the built-in ones, for tests."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from open_clip.model import CLIP
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from harness.datasets.cifar100_lt import TEMPLATES
from harness.pretrain import clip, unet, vae

WIDTH = 16  # of texts
HEADS = 2
NAMES = ("apple", "aquarium fish", "bear", "bus")
# Random weights hardly answer to their inputs; these factors make pictures that do.
GAIN, CONTRAST = 1.5, 3.0

LATENTS = 8  # channels
UNET = unet.CONFIG | {
    "in_channels": LATENTS,
    "out_channels": LATENTS,
    "block_out_channels": (8, 16),
    "attention_head_dim": (1, 2),
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 4,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 5 * 8 + WIDTH,
}
VAE = vae.CONFIG | {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (4, 8, 8),
    "latent_channels": LATENTS,
    "norm_num_groups": 4,
    "sample_size": 32,
}


def generator(folder: Path) -> Path:
    """A pipeline folder as `unet.assemble` writes it: no first text encoder, float32 weights."""
    torch.manual_seed(0)
    tokenizer = clip.make_tokenizer([t.format(name=n) for t in TEMPLATES for n in NAMES], folder)
    for file in folder.iterdir():  # the pipeline saves its own copy
        file.unlink()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=clip.CONTEXT,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModelWithProjection(text)
    coder, model = AutoencoderKL(**VAE), UNet2DConditionModel(**UNET)
    with torch.no_grad():
        encoder.text_model.embeddings.token_embedding.weight.mul_(50)
        for parameter in model.parameters():
            parameter.mul_(GAIN)
        coder.decoder.conv_out.weight.mul_(CONTRAST)
    StableDiffusionXLImg2ImgPipeline(
        vae=coder,
        text_encoder=None,
        text_encoder_2=encoder,
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=model,
        scheduler=DDIMScheduler(**unet.SCHEDULE),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def scorer(folder: Path) -> Path:
    """An open_clip folder as `clip.save` writes it."""
    torch.manual_seed(1)
    tokenizer = clip.make_tokenizer([t.format(name=n) for t in TEMPLATES for n in NAMES], folder)
    vision: dict[str, Any] = {"image_size": 32, "layers": 2, "width": WIDTH, "patch_size": 4}
    vision |= {"head_width": WIDTH // HEADS}
    text: dict[str, Any] = {"context_length": clip.CONTEXT, "vocab_size": len(tokenizer)}
    text |= {"width": WIDTH, "heads": HEADS, "layers": 2, "tokenizer_kwargs": {"clean": "lower"}}
    model = CLIP(WIDTH, vision, text)
    text["hf_tokenizer_name"] = "clip"
    clip.save(model, {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}, folder)
    return folder


def models(folder: Path) -> Path:
    """Both, as harness/mini/models has them."""
    generator(folder / "generator")
    scorer(folder / "clip")
    return folder
