"""Diffusion of feature vectors: a 1-D U-Net of pointwise convolutions, and its noise process.

A feature vector z (D,) is a signal of D entries in one channel. Process: Ho et al. 2020 (DDPM,
arXiv 2006.11239) with the cosine schedule of Nichol and Dhariwal 2021 (arXiv 2102.09672).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.core.errors import DataError, UsageError

GROUPS = 8  # of channels, in group norms; all numbers of channels are multiples of it
PERIOD = 10_000.0  # longest period of the time embedding, over 2 pi


# ---------------------------------------------------------------- parts of the network


class RMSNorm(nn.Module):
    """Each position over the root mean square of its channels: (B, C, L), a factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        scale = (x.square().mean(1, keepdim=True) + 1e-12).rsqrt()
        return x * scale * self.weight


class Block(nn.Module):
    """Pointwise convolution, group norm, (1 + scale) and shift if given, SiLU."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, 1)
        self.norm = nn.GroupNorm(GROUPS, channels)

    def forward(self, x: Tensor, change: tuple[Tensor, Tensor] | None = None) -> Tensor:
        h = self.norm(self.conv(x))
        if change is not None:
            scale, shift = change
            h = h * (1 + scale) + shift
        return F.silu(h)


class ResidualBlock(nn.Module):
    """Two blocks, the first conditioned on c (B, width), plus a shortcut."""

    def __init__(self, channels_in: int, channels: int, width: int) -> None:
        super().__init__()
        self.condition = nn.Linear(width, 2 * channels)
        self.first, self.second = Block(channels_in, channels), Block(channels, channels)
        same = channels_in == channels
        self.shortcut = nn.Identity() if same else nn.Conv1d(channels_in, channels, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.condition(F.silu(c))[:, :, None].chunk(2, dim=1)
        h: Tensor = self.second(self.first(x, (scale, shift)))
        return h + self.shortcut(x)


class Attention(nn.Module):
    """Softmax attention between positions after an RMS norm, plus the shortcut."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.shape = (3, heads, head_width)
        self.norm = RMSNorm(channels)
        self.qkv = nn.Conv1d(channels, math.prod(self.shape), 1, bias=False)
        self.out: nn.Module = nn.Conv1d(heads * head_width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(1, self.shape).unbind(1)  # (B, heads, width, L)
        projected: Tensor = self.out(self.mixed(q, k, v).flatten(1, 2))
        return x + projected

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (part.transpose(2, 3) for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(2, 3)


class LinearAttention(Attention):
    """Attention in time linear in L (Shen et al. 2018, arXiv 1812.01243); an RMS norm after it."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__(channels, heads, head_width)
        self.out = nn.Sequential(self.out, RMSNorm(channels))

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        context = k.softmax(3) @ v.transpose(2, 3)  # (B, heads, width, width)
        return context.transpose(2, 3) @ (q.softmax(2) * q.shape[2] ** -0.5)


class Level(nn.Module):
    """What the network does at one length: two residual blocks, attention, a change of channels."""

    def __init__(
        self, channels_in: int, channels: int, channels_out: int, width: int, heads: tuple[int, int]
    ) -> None:
        super().__init__()
        self.first = ResidualBlock(channels_in, channels, width)
        self.second = ResidualBlock(channels_in, channels, width)
        self.attention = LinearAttention(channels, *heads)
        self.change = nn.Conv1d(channels, channels_out, 1)


# ---------------------------------------------------------------- the network


class Network(nn.Module):
    """Predicts the vectors x0 (B, D) from noisy ones, their time steps and their classes.

    A 1-D U-Net whose convolutions all have kernel 1: `multipliers` of `dim` are the channels of
    its levels, and all but the last halve the length. The class embedding is added to that of the
    time. Group norms and attention treat positions alike, so the network tells two entries apart
    only where halving does: permute aligned groups of 2 ** (levels - 1) entries, and its output is
    permuted. positions=True adds a learned vector per entry to the first convolution's output.

    heads: (number, width) of the attentions. generator: of the first weights, PyTorch's default
    distributions. Raises UsageError for a length that cannot be halved that often and for channels
    that the group norms cannot divide.
    """

    def __init__(
        self,
        length: int,
        classes: int,
        dim: int,
        multipliers: Sequence[int],
        heads: tuple[int, int] = (4, 32),
        positions: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check(length, dim, multipliers)
        self.length, self.dim, width = length, dim, 4 * dim
        channels = [dim, *(dim * m for m in multipliers)]
        steps = list(itertools.pairwise(channels))
        self.first = nn.Conv1d(1, dim, 1)
        self.positions = nn.Parameter(torch.empty(dim, length)) if positions else None
        self.time = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.classes = nn.Embedding(classes, width)
        self.down = nn.ModuleList(Level(a, a, b, width, heads) for a, b in steps)
        self.middle = ResidualBlock(channels[-1], channels[-1], width)
        self.attention = Attention(channels[-1], *heads)
        self.middle_again = ResidualBlock(channels[-1], channels[-1], width)
        self.up = nn.ModuleList(Level(a + b, b, a, width, heads) for a, b in reversed(steps))
        self.last = ResidualBlock(2 * dim, dim, width)
        self.out = nn.Conv1d(dim, 1, 1)
        _initialise(self, generator)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """x (B, D) noisy vectors, t (B,) time steps, y (B,) classes -> (B, D)."""
        c = self.time(sinusoids(t, self.dim)) + self.classes(y)
        x = self.first(x[:, None])
        if self.positions is not None:
            x = x + self.positions
        skips, down, up = [x], cast("list[Level]", self.down), cast("list[Level]", self.up)
        for depth, level in enumerate(down, 1):
            skips.append(x := level.first(x, c))
            skips.append(x := level.attention(level.second(x, c)))
            x = level.change(x if depth == len(down) else x[:, :, ::2])
        x = self.middle_again(self.attention(self.middle(x, c)), c)
        for height, level in enumerate(up, 1):
            x = level.first(torch.cat([x, skips.pop()], dim=1), c)
            x = level.attention(level.second(torch.cat([x, skips.pop()], dim=1), c))
            x = level.change(x)  # before the length doubles: the same, for half the work
            x = x if height == len(up) else x.repeat_interleave(2, dim=2)
        out: Tensor = self.out(self.last(torch.cat([x, skips.pop()], dim=1), c))
        return out[:, 0]


def sinusoids(t: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of t (B,) at dim / 2 frequencies from 1 to 1 / PERIOD: (B, dim)."""
    half = dim // 2
    powers = torch.arange(half, device=t.device) / (half - 1)
    angles = t[:, None] * torch.exp(-math.log(PERIOD) * powers)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _check(length: int, dim: int, multipliers: Sequence[int]) -> None:
    if dim < GROUPS or dim % GROUPS:
        raise UsageError(f"a network of {dim} channels; expected a multiple of {GROUPS}")
    halvings = len(multipliers) - 1
    if halvings < 0:
        raise UsageError("a network without levels; expected one multiplier or more")
    if length < 1 or length % 2**halvings:
        most = (length & -length).bit_length()
        raise UsageError(
            f"a network of {halvings + 1} levels halves features {halvings} times, which "
            f"{length} entries do not allow; expected a multiple of {2**halvings}, or "
            f"{'one level' if most < 2 else f'up to {most} levels'}"
        )


def _initialise(network: nn.Module, generator: torch.Generator | None) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, Network) and module.positions is not None:
            nn.init.normal_(module.positions, generator=generator)


# ---------------------------------------------------------------- the process


class Process:
    """Noise in T time steps, cosine schedule (arXiv 2102.09672, equation 17); tables in float64.

    beta, alpha_bar, snr (T,): alpha_bar = prod(1 - beta), snr = alpha_bar / (1 - alpha_bar).
    Features z become x0 = 2 z - 1. Networks predict x0: (x (B, D), t (B,), y (B,)) -> (B, D).
    All that is random is drawn on the CPU, so that it is the same on any device.
    """

    # Not diffusers' scheduler: in its float32, 1 - alpha_bar of the first steps has three digits.

    def __init__(self, timesteps: int, offset: float = 0.008, largest: float = 0.999) -> None:
        time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        f = torch.cos((time + offset) / (1 + offset) * (math.pi / 2)).square()
        self.timesteps = timesteps
        self.beta = (1 - f[1:] / f[:-1]).clamp(max=largest)
        self.alpha_bar = torch.cumprod(1 - self.beta, 0)
        self.snr = self.alpha_bar / (1 - self.alpha_bar)

    def loss(
        self,
        network: Callable[..., Tensor],
        z: Tensor,
        y: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Mean over z (B, D) of SNR(t) times the mean squared error of x0, t uniform; a scalar."""
        t = torch.randint(0, self.timesteps, (len(z),), generator=generator)
        noise = torch.randn(z.shape, generator=generator).to(z.device)
        signal = self.alpha_bar[t].sqrt().to(z)[:, None]
        spread = (1 - self.alpha_bar[t]).sqrt().to(z)[:, None]
        x0 = 2 * z - 1
        predicted = network(signal * x0 + spread * noise, t.to(z.device), y)
        return (self.snr[t].to(z) * (predicted - x0).square().mean(1)).mean()

    def posterior(self, t: int) -> tuple[float, float, float]:
        """Factors of x0 and of x(t) in the mean of x(t - 1), and its standard deviation.

        DDPM, equations 6 and 7.
        """
        beta, now = float(self.beta[t]), float(self.alpha_bar[t])
        before = float(self.alpha_bar[t - 1]) if t else 1.0
        of_x0 = math.sqrt(before) * beta / (1 - now)
        of_x = math.sqrt(1 - beta) * (1 - before) / (1 - now)
        return of_x0, of_x, math.sqrt(beta * (1 - before) / (1 - now))

    @torch.no_grad()
    def sample(
        self,
        network: Callable[..., Tensor],
        y: Tensor,
        length: int,
        generator: torch.Generator,
        watch: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Features (B, length) in [0, 1] of classes y (B,), on their device, in all T steps.

        DDPM, algorithm 2; the predicted x0 is clamped to [-1, 1] at every step. watch: called
        after each.
        """
        shape = (len(y), length)
        x = torch.randn(shape, generator=generator).to(y.device)
        for t in reversed(range(self.timesteps)):
            x0 = network(x, torch.full_like(y, t), y).clamp(-1, 1)
            of_x0, of_x, deviation = self.posterior(t)
            if t:
                noise = torch.randn(shape, generator=generator).to(y.device)
                x = of_x0 * x0 + of_x * x + deviation * noise
            watch()
        return (x0 + 1) / 2


def learn(
    network: nn.Module,
    process: Process,
    optimiser: torch.optim.Optimizer,
    batches: Sequence[tuple[Tensor, Tensor]],
    generator: torch.Generator,
) -> float:
    """One pass over batches of features and classes, in order; the mean loss.

    DataError for a loss that is not finite.
    """
    total, n = torch.zeros((), device=batches[0][0].device), 0
    for z, y in batches:
        loss = process.loss(network, z, y, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total, n = total + loss.detach() * len(z), n + len(z)
    mean = float(total) / n
    if not math.isfinite(mean):
        rate = optimiser.param_groups[0]["lr"]
        raise DataError(f"diffusion of features: the loss is {mean} at learning rate {rate:g}")
    return mean
