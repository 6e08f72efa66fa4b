"""How a run's network is computed on a device, beyond its formula: precision and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.core.errors import DataError, UsageError
from harness.core.specs import Recipe
from harness.models.batch_norm import shared


def mixed(recipe: Recipe) -> str:
    """What accelerate calls the recipe's precision."""
    return "no" if recipe.precision == "tf32" else recipe.precision


@contextmanager
def products(recipe: Recipe) -> Iterator[None]:
    """Matrix products of float32 are made of TF32 in the block, where the recipe says so.

    Convolutions are on a GPU anyway, as PyTorch has it. A CPU has no TF32.
    """
    before = torch.get_float32_matmul_precision()
    if recipe.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def prepared(model: Any, recipe: Recipe, ranks: int) -> Any:
    """The network with what the recipe asks of its memory and of its batch norm.

    UsageError where its activations cannot be computed again.
    """
    if recipe.recompute:
        for tower in _towers(model, recipe):
            tower.set_grad_checkpointing(True)
    return shared(model) if recipe.sync_batch_norm and ranks > 1 else model


def _towers(model: Any, recipe: Recipe) -> list[Any]:
    text = getattr(model, "text", None)
    towers = [getattr(model.encoder, "tower", None), *([] if text is None else [text])]
    blocks = [getattr(tower, "transformer", None) for tower in towers]
    if not all(hasattr(block, "grad_checkpointing") for block in blocks):
        raise UsageError(
            f"recompute is for image-text models of transformer blocks, not for {recipe.backbone}; "
            "micro_batch needs less memory, too"
        )
    return towers


def memory_advice(recipe: Recipe, batch: int) -> DataError:
    """What to set where a GPU's memory is full at batches of so many images."""
    now = recipe.micro_batch or batch
    advice = [f"set micro_batch={max(1, now // 2)}: the steps stay of {batch} images"]
    if recipe.pretrained is not None and not recipe.recompute:
        advice.append("recompute=true")
    if recipe.precision in ("no", "tf32"):
        advice.append("precision=bf16")
    advice.append("fewer --workers on this GPU")
    return DataError(
        f"the GPU's memory is too small for {now} images at once: {'; or '.join(advice)}"
    )
