"""The small AutoencoderKL: 64x64 images to 8x8x12 latents."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from harness.pretrain import web
from harness.pretrain.loop import half_precision, optimise

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 16, 48, 96),
    "layers_per_block": 1,
    "latent_channels": 12,
    "norm_num_groups": 4,
    "sample_size": web.SIZE_PX,
    "mid_block_add_attention": False,
    "force_upcast": False,
}
KL_WEIGHT, EDGE_WEIGHT = 5e-6, 0.25


def train(
    out: Path, start: Path | None = None, steps: int = 4000, batch: int = 32
) -> AutoencoderKL:
    """Learn to rebuild web images, and write out/vae/model.

    L1 and L2 on pixels in [-1, 1], L1 on their differences to the right and below, for crisp edges,
    and a light pull of the posterior to N(0, 1). `batch` is per rank. start: models to go on from.
    """
    torch.manual_seed(0)
    vae = AutoencoderKL(**CONFIG)
    if start is not None:
        vae = AutoencoderKL.from_pretrained(start / "generator" / "vae").float()
    vae = vae.to(memory_format=torch.channels_last)
    images = torch.from_numpy(web.load(out)["images"])

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        x = pixels(images[torch.randint(len(images), (batch,), generator=rng)])
        flip = torch.rand(batch, generator=rng) < 0.5
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        with half_precision():
            posterior = vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=rng)
            error = vae.decode(z).sample.float() - x
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        pixel = error.abs().mean() + 2 * error.pow(2).mean()
        return pixel + EDGE_WEIGHT * edges + KL_WEIGHT * kl

    average: AutoencoderKL = optimise(vae, loss_of, steps, 1.5e-3, out / "vae", ema=0.995)
    if start is None:  # else the denoiser knows latents of this scale
        some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:2000]
        mean, _ = encode(average, images[some])
        average.register_to_config(scaling_factor=round(float(1 / mean.std()), 4))
    average.save_pretrained(out / "vae" / "model")
    return average


def pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.inference_mode()
def encode(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean and standard deviation, each (N, C, 8, 8), unscaled."""
    parts = [vae.encode(pixels(b)).latent_dist for b in images.split(250)]
    return torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts])


def latents(out: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """fp16 `encode` of all web pictures, kept in out/latents.pt."""
    path = out / "latents.pt"
    if not path.exists():
        images = torch.from_numpy(web.load(out)["images"])
        vae = AutoencoderKL.from_pretrained(out / "vae" / "model").eval()
        mean, std = encode(vae, images)
        partial = path.with_suffix(".tmp")
        torch.save((mean.half(), std.half()), partial)
        partial.replace(path)
    mean, std = torch.load(path, weights_only=True, mmap=True)
    return mean, std


def draw(
    mean: torch.Tensor, std: torch.Tensor, pick: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Samples of the posteriors of pictures `pick`, unscaled, float32."""
    noise = torch.randn((len(pick), *mean.shape[1:]), generator=rng)
    return mean[pick].float() + std[pick].float() * noise
