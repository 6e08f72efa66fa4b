"""The paper profile's models with random weights, in folders as they are published.

Widths, patch sizes and picture sizes are the real ones; at reduced depth each stage has one layer.
The vocabulary is CLIP's, which comes with open_clip: texts take as many tokens as they do there.
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
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from harness.pretrain import clip

CONTEXT = 77  # tokens of a text
Sizes = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
SHALLOW: Sizes = (
    {"layers_per_block": 1, "transformer_layers_per_block": 1},
    {"layers_per_block": 1},
    {"num_hidden_layers": 2},
)
LAYERS = 2  # of each tower of an image-text model


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's published vocabulary; filled up with "!", as the refiner's is published."""
    from open_clip.tokenizer import SimpleTokenizer

    simple = SimpleTokenizer(context_length=CONTEXT)
    *words, start, end = simple.encoder
    assert (start, end) == ("<start_of_text>", "<end_of_text>")
    vocab = {token: i for i, token in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    merges = list(simple.bpe_ranks)
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token="!", model_max_length=CONTEXT)


def write_generator(folder: Path, full: bool, sizes: Sizes = SHALLOW) -> Path:
    """SDXL's refiner as a pipeline with *.fp16.safetensors alone and Euler's scheduler.

    sizes: what UNet, VAE and text encoder have of their own, unless full.
    """
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    unet, vae, text = (
        part | ({} if full else change)
        for part, change in zip((UNET, VAE, TEXT), sizes, strict=True)
    )
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        **text, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
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
    """An open_clip folder of that architecture, with the files of its tokenizer."""
    if (folder / "open_clip_config.json").is_file():
        return folder
    import open_clip
    from open_clip.model import CLIP

    torch.manual_seed(1)
    config: dict[str, Any] = open_clip.get_model_config(name)
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    if not full:
        vision["layers"] = text["layers"] = LAYERS
    cut = {"embed_dim": config["embed_dim"], "vision_cfg": vision, "text_cfg": text}
    cut["quick_gelu"] = config.get("quick_gelu", False)
    model = CLIP(config["embed_dim"], vision, text, quick_gelu=cut["quick_gelu"])
    clip.save(model, cut, folder)
    clip_tokenizer().save_pretrained(folder)
    return folder
