"""The noise schedule: how much of it is left at a guidance level, and what samplers make of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError
from harness.core.guidance import REAL, level_text

if TYPE_CHECKING:
    from torch import Tensor

# Samplers that a pipeline may be published with: the engine's own are exactly these.
PUBLISHED = ("DDIMScheduler", "EulerDiscreteScheduler")


def denoising_steps(guidance: int, steps: int) -> int:
    """Steps left of the schedule at a guidance level: steps * strength, halves rounded up.

    The one place where strength = 1 - guidance. In integers, because 1 - 0.9 in floats loses a
    step; rounded (ours: diffusers and the released code round down), because with few steps levels
    that lie close would otherwise share a number.
    None are left close to the real image, which is then only encoded and decoded. Raises
    UsageError for a guidance outside 0..99.
    """
    if not 0 <= guidance < REAL:
        raise UsageError(f"guidance {level_text(guidance)} of a synthetic image; it is in [0, 1)")
    strength = REAL - guidance
    return (steps * strength + 50) // 100


# ---------------------------------------------------------------- samplers

Values = tuple["Tensor", "Tensor", "Tensor"]  # timesteps, alpha-bar before and after, (steps,) each


def ddim(config: Any, steps: int) -> Values:
    """DDIM's, which ends at the alpha-bar that the configuration says."""
    import torch
    from diffusers import DDIMScheduler

    sampler = DDIMScheduler.from_config(config, clip_sample=False)
    sampler.set_timesteps(steps)
    after = sampler.timesteps - sampler.config.num_train_timesteps // steps
    bars = sampler.alphas_cumprod
    p = torch.where(after >= 0, bars[after.clamp(min=0)], sampler.final_alpha_cumprod)
    return sampler.timesteps, bars[sampler.timesteps], p


def euler(config: Any, steps: int) -> Values:
    """Euler's: sigma^2 = (1 - alpha-bar) / alpha-bar, and the last one is 0, no noise at all."""
    from diffusers import EulerDiscreteScheduler

    sampler = EulerDiscreteScheduler.from_config(config)
    sampler.set_timesteps(steps)
    bars = 1 / (1 + sampler.sigmas.double() ** 2)
    return sampler.timesteps, bars[:-1].float(), bars[1:].float()


SCHEDULERS: dict[str, Callable[[Any, int], Values]] = {"ddim": ddim, "euler": euler}


def _of_noise(x: Tensor, e: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    return (x - (1 - a).sqrt() * e) / a.sqrt(), e


def _of_velocity(x: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    return a.sqrt() * x - (1 - a).sqrt() * v, a.sqrt() * v + (1 - a).sqrt() * x


def _of_picture(x: Tensor, x0: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    return x0, (x - a.sqrt() * x0) / (1 - a).sqrt()


# What a UNet may predict: (x, prediction, alpha-bar) -> the clean latents x0 and the noise e.
PREDICTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "epsilon": _of_noise,
    "v_prediction": _of_velocity,
    "sample": _of_picture,
}


def check(published: Any) -> None:
    """DataError, one clause, for a pipeline's sampler that the engine does not compute exactly."""
    name, config = type(published).__name__, published.config
    if name not in PUBLISHED:
        known = " and ".join(PUBLISHED)
        raise DataError(f"its scheduler is {name}; the engine denoises as {known} do")
    predicts = config.get("prediction_type", "epsilon")
    if predicts not in PREDICTIONS:
        raise DataError(
            f"its UNet predicts {predicts!r}; the engine knows {', '.join(map(repr, PREDICTIONS))}"
        )
    for option in ("clip_sample", "thresholding"):
        if config.get(option):
            raise DataError(f"its scheduler asks for {option}, which the engine does not compute")
