"""The small AutoencoderKL: 64x64 pictures to 8x8x12 latents."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from harness.pretrain import web
from harness.pretrain.loop import optimise

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
KL_WEIGHT = 5e-6


def train(data: Path, out: Path, steps: int = 1300, batch: int = 24) -> AutoencoderKL:
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

    average: AutoencoderKL = optimise(vae, loss_of, steps, 2e-3, out / "vae", ema=0.995)
    some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:2000]
    mean, _ = encode(average, images[some])
    average.register_to_config(scaling_factor=round(float(1 / mean.std()), 4))
    average.save_pretrained(out / "vae" / "model")
    return average


def refine(data: Path, out: Path, steps: int = 700, batch: int = 32) -> AutoencoderKL:
    """Learn the decoder further while the latents stay as they are; rewrites out/vae/model.

    L1 on pixels and, for crisp edges, on their differences to the right and below.
    """
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(out / "vae" / "model")
    images = torch.from_numpy(web.load(data)["images"])
    mean, std = latents(out)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(images), (batch,), generator=rng)
        x = pixels(images[pick])
        z = draw(mean, std, pick, rng)
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
