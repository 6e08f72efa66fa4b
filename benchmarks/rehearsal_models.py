"""The paper profile's models with random weights, in folders as they are published.

Widths, patch sizes and picture sizes are the real ones; at reduced depth each stage has one layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from refiner_networks import SCHEDULE, TEXT, UNET, VAE
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from harness.pretrain import clip

WORDS = ["a photo of a thing in a field at night", "an image of an animal in the wild"]
SHALLOW = (
    {"layers_per_block": 1, "transformer_layers_per_block": 1},
    {"layers_per_block": 1},
    {"num_hidden_layers": 2},
)
LAYERS = 2  # of each tower of an image-text model


def write_generator(folder: Path, full: bool) -> Path:
    """SDXL's refiner as a pipeline with *.fp16.safetensors alone and Euler's scheduler."""
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    unet, vae, text = (
        part | ({} if full else change)
        for part, change in zip((UNET, VAE, TEXT), SHALLOW, strict=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = clip.make_tokenizer(WORDS, folder)
    for file in folder.iterdir():  # the pipeline saves its own copy
        file.unlink()
    tokenizer.model_max_length = 77
    ids = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    config = CLIPTextConfig(
        **text | {"vocab_size": len(tokenizer)}, bos_token_id=ids["bos"], eos_token_id=ids["eos"],
        pad_token_id=ids["eos"],
    )  # fmt: skip
    torch.set_default_dtype(torch.float16)
    try:
        parts: dict[str, Any] = {
            "vae": AutoencoderKL(**vae),
            "text_encoder_2": CLIPTextModelWithProjection(config),
            "unet": UNet2DConditionModel(**unet),
        }
    finally:
        torch.set_default_dtype(torch.float32)
    schedule = {k: v for k, v in SCHEDULE.items() if k.startswith(("beta", "steps"))}
    StableDiffusionXLImg2ImgPipeline(
        **{name: part.half() for name, part in parts.items()},
        text_encoder=None, tokenizer=None, tokenizer_2=tokenizer,
        scheduler=EulerDiscreteScheduler(**schedule, timestep_spacing="leading"),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    ).save_pretrained(folder, variant="fp16")  # fmt: skip
    return folder


def write_clip(folder: Path, name: str, full: bool) -> Path:
    """An open_clip folder of that architecture."""
    if (folder / "open_clip_config.json").is_file():
        return folder
    import open_clip
    from open_clip.model import CLIP

    torch.manual_seed(1)
    config: dict[str, Any] = open_clip.get_model_config(name)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = clip.make_tokenizer(WORDS, folder)
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    text |= {"vocab_size": len(tokenizer), "tokenizer_kwargs": {"clean": "lower"}}
    if not full:
        vision["layers"] = text["layers"] = LAYERS
    cut = {"embed_dim": config["embed_dim"], "vision_cfg": vision, "text_cfg": text}
    cut["quick_gelu"] = config.get("quick_gelu", False)
    model = CLIP(config["embed_dim"], vision, text, quick_gelu=cut["quick_gelu"])
    text["hf_tokenizer_name"] = "clip"
    clip.save(model, cut, folder)
    return folder
