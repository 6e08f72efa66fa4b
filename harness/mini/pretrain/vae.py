"""The small AutoencoderKL: 32x32 pictures to 8x8x8 latents."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from harness.mini.pretrain import web
from harness.mini.pretrain.loop import optimise

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (16, 48, 96),
    "layers_per_block": 1,
    "latent_channels": 8,
    "norm_num_groups": 16,
    "sample_size": 32,
    "mid_block_add_attention": False,
    "force_upcast": False,
}
KL_WEIGHT = 2e-5


def train(data: Path, out: Path, steps: int = 1000, batch: int = 24) -> AutoencoderKL:
    """Learn to rebuild web pictures (L1 and L2 on pixels in [-1, 1], a light pull to N(0, 1))."""
    torch.manual_seed(0)
    vae = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)
    images = torch.from_numpy(web.load(data)["images"])

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        x = pixels(images[torch.randint(len(images), (batch,), generator=rng)])
        posterior = vae.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=rng)
        error = vae.decode(z).sample.float() - x
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        return error.abs().mean() + 2 * error.pow(2).mean() + KL_WEIGHT * kl

    average: AutoencoderKL = optimise(vae, loss_of, steps, 3e-3, out / "vae", ema=0.995)
    latents = encode(average, images[:: len(images) // 2000])
    average.register_to_config(scaling_factor=round(float(1 / latents[0].std()), 4))
    average.save_pretrained(out / "vae" / "model")
    return average


def refine(data: Path, out: Path, steps: int = 1200, batch: int = 32) -> AutoencoderKL:
    """Learn the decoder further while the latents stay as they are; rewrites out/vae/model.

    L1 on pixels and, for crisp edges, on their differences to the right and below.
    """
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(out / "vae" / "model")
    images = torch.from_numpy(web.load(data)["images"])
    mean, std = encode(vae.eval(), images)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(images), (batch,), generator=rng)
        x = pixels(images[pick])
        z = mean[pick] + std[pick] * torch.randn(mean[pick].shape, generator=rng)
        error = vae.decode(z).sample.float() - x
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        return error.abs().mean() + error.pow(2).mean() + 0.5 * edges

    average: AutoencoderKL = optimise(vae, loss_of, steps, 1.5e-3, out / "decoder", ema=0.99)
    average.save_pretrained(out / "vae" / "model")
    return average


def pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.inference_mode()
def encode(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean and standard deviation, each (N, 8, 8, 8), unscaled."""
    parts = [vae.encode(pixels(b)).latent_dist for b in images.split(500)]
    return torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts])
