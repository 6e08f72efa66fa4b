"""The small SDXL-refiner-shaped UNet, and the pipeline folder that diffusers loads."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from harness.pretrain import clip, vae, web
from harness.pretrain.loop import half_precision, optimise

CONFIG = {
    "sample_size": 8,
    "in_channels": vae.CONFIG["latent_channels"],
    "out_channels": vae.CONFIG["latent_channels"],
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (96, 128),
    "layers_per_block": 1,
    "attention_head_dim": (3, 4),  # diffusers reads this as the number of heads
    "cross_attention_dim": clip.WIDTH,
    "norm_num_groups": 16,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 5 * 32 + clip.WIDTH,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
LR = 6e-4
NO_CAPTION = 0.15  # share of the batch trained without a caption, for classifier-free guidance


def aesthetic(quality: torch.Tensor) -> torch.Tensor:
    """Quality in [0, 1] on the refiner's scale, where 6 is good and 2.5 is poor."""
    return 2 + 5 * quality


def train(
    out: Path, start: Path | None = None, steps: int = 15_000, batch: int = 32
) -> UNet2DConditionModel:
    """Learn to predict the noise in web latents (DDPM, min-SNR weights with gamma 5).

    `batch` is per rank; start: models to go on from, whose text encoder is kept. The source is the
    posterior sampled anew each time. Conditions: caption
    states of the text encoder's last but one layer, its projection, and time ids
    (height, width, crop top, crop left, aesthetic score).
    """
    torch.manual_seed(0)
    content = web.load(out)
    coder = AutoencoderKL.from_pretrained(out / "vae" / "model")
    mean, std = vae.latents(out)
    texts = ["", *sorted(set(content["captions"].ravel().tolist()))]
    states, pooled = embed(*text_tower(out, start), texts)
    number = {t: i for i, t in enumerate(texts)}
    caption = torch.tensor([[number[c] for c in row] for row in content["captions"].tolist()])
    score = aesthetic(torch.from_numpy(content["quality"]))
    model, factor = UNet2DConditionModel(**CONFIG), coder.config.scaling_factor
    if start is not None:
        model = UNet2DConditionModel.from_pretrained(start / "generator" / "unet").float()
    side = float(web.SIZE_PX)
    alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(mean), (batch,), generator=rng)
        text = caption[pick, torch.randint(caption.shape[1], (batch,), generator=rng)]
        text = text * (torch.rand(batch, generator=rng) >= NO_CAPTION)
        z = vae.draw(mean, std, pick, rng) * factor
        t = torch.randint(len(alphas), (batch,), generator=rng)
        a, noise = alphas[t].view(-1, 1, 1, 1), torch.randn(z.shape, generator=rng)
        ids = torch.tensor([side, side, 0.0, 0.0, 0.0]).repeat(batch, 1)
        ids[:, 4] = score[pick]
        extra = {"text_embeds": pooled[text].float(), "time_ids": ids}
        x = a.sqrt() * z + (1 - a).sqrt() * noise
        with half_precision():
            guess = model(x, t, states[text].float(), added_cond_kwargs=extra).sample.float()
        snr = (a / (1 - a)).flatten()
        return ((guess - noise).pow(2).mean((1, 2, 3)) * (5 / snr).clamp(max=1)).mean()

    average: UNet2DConditionModel = optimise(
        model, loss_of, steps, LR, out / "unet", ema=0.9995, weight_decay=0.0
    )
    average.save_pretrained(out / "unet" / "model")
    return average


def text_tower(
    out: Path, start: Path | None = None
) -> tuple[CLIPTextModelWithProjection, CLIPTokenizer]:
    """The text encoder of the generator and its tokenizer: the one trained, or that of `start`."""
    if start is None:
        tower, tokenizer = clip.load(out / "text" / "model")
        return clip.text_encoder(tower, tokenizer), tokenizer
    folder = start / "generator"
    encoder = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2").float()
    return encoder.eval(), CLIPTokenizer.from_pretrained(folder / "tokenizer_2")


@torch.inference_mode()
def embed(
    encoder: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, texts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """fp16 caption states (N, CONTEXT, WIDTH) and projections (N, WIDTH), as SDXL takes them."""
    states, pooled = [], []
    ids = clip.tokenize(tokenizer, texts)
    for part in ids.split(256):
        encoded = encoder(part, output_hidden_states=True)
        states.append(encoded.hidden_states[-2].half())
        pooled.append(encoded.text_embeds.half())
    return torch.cat(states), torch.cat(pooled)


def assemble(out: Path, folder: Path, start: Path | None = None) -> None:
    """Write the pipeline in fp16 as `StableDiffusionXLImg2ImgPipeline.from_pretrained` loads it."""
    encoder, tokenizer = text_tower(out, start)
    model = UNet2DConditionModel.from_pretrained(out / "unet" / "model")
    autoencoder = AutoencoderKL.from_pretrained(out / "vae" / "model")
    for part in (model, autoencoder):
        part.register_to_config(_name_or_path="")  # the folder it was trained in
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=autoencoder,
        text_encoder=None,
        text_encoder_2=encoder,
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=model,
        scheduler=DDIMScheduler(**SCHEDULE),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
