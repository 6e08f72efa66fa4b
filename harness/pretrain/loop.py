"""The optimisation loop of the pre-training scripts: warm-up, cosine, averaging, resuming."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from harness.core.progress import ProgressBar

SAVE_EVERY_S = 120


def optimise(
    model: nn.Module,
    loss_of: Callable[[int, torch.Generator], torch.Tensor],
    steps: int,
    lr: float,
    folder: Path,
    ema: float = 0.999,
    weight_decay: float = 0.01,
    warmup: int = 200,
    seed: int = 0,
    stop: int | None = None,
) -> nn.Module:
    """Minimise `loss_of(step, rng)` over `model` and return the averaged copy.

    AdamW, linear warm-up, cosine to 0, gradient norm at most 1, exponential moving average of the
    weights with a bias-corrected decay. Every two minutes the state goes to folder/state.pt, from
    where a later call goes on; `stop` ends the schedule early. In a process group every rank draws
    its own batches and gradients are averaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay, fused=True)
    average = copy.deepcopy(model).requires_grad_(False)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    first = _resume(folder / "state.pt", parts)
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    rng, running, saved_at = torch.Generator(), 0.0, time.perf_counter()
    bar = ProgressBar(
        range(first, stop or steps), initial=first, total=steps, desc=folder.name, mininterval=5
    )
    bar.disable = rank > 0
    model.train()
    for step in bar:
        rng.manual_seed((seed * 1_000_003 + step) * ranks + rank)
        rate = lr * min(1, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(step, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if ranks > 1:
            _share(params, ranks)
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        _average(average, model, min(ema, (1 + step) / (10 + step)))
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        due = time.perf_counter() - saved_at > SAVE_EVERY_S or step + 1 == (stop or steps)
        if rank == 0 and due:
            saved_at = time.perf_counter()
            _save(folder / "state.pt", parts, step + 1)
    return average.eval()


def half_precision() -> torch.autocast:
    """bfloat16 where the processor computes with it; elsewhere it would be slower than float32."""
    fast = torch.cpu._is_avx512_bf16_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def _resume(path: Path, parts: dict[str, Any]) -> int:
    """Load what `_save` left, if anything; the step to go on with."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])


def _save(path: Path, parts: dict[str, Any], step: int) -> None:
    partial = path.with_suffix(".tmp")
    content = {name: part.state_dict() for name, part in parts.items()}
    torch.save(content | {"step": step}, partial)
    partial.replace(path)


def _share(params: list[nn.Parameter], ranks: int) -> None:
    """Average the gradients over all ranks, in one message."""
    grads = [p.grad for p in params if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads]).div_(ranks)
    dist.all_reduce(flat)
    for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    averages: list[torch.Tensor] = list(average.parameters())
    weights: list[torch.Tensor] = list(model.parameters())
    torch._foreach_lerp_(averages, weights, 1 - decay)
    for a, b in zip(average.buffers(), model.buffers(), strict=True):
        a.copy_(b)
