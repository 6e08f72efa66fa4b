"""Memory of a GPU that stages take, by count, and what to change where it is too small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.core.specs import Recipe
from harness.methods.terms import Method
from harness.planning.flops import (
    DECODE_MIB,
    REFINER_PARAMETERS,
    UNET_MIB,
    Network,
)

GIB = 2**30
CONTEXT_GIB = 1.0  # of CUDA and its libraries; an estimate
USABLE = 0.95  # of a card, the allocator's gaps left out; an estimate
STATES = {"sgd": 1, "adam": 2, "adamw": 2}  # tensors of an optimiser per weight
# Activations under mixed precision, of those in float32: products are half as large, norms and
# losses are not. An estimate.
MIXED = 0.6
DECODED = 8  # pictures that the engine decodes at once
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class TrainingMemory:
    """Of a run: weights, gradients and the optimiser; and activations, in proportion to a batch."""

    method: str
    fixed_gib: float
    image_gib: float  # activations of one image of a batch, with its text
    batch: int

    @property
    def activations_gib(self) -> float:
        return self.batch * self.image_gib

    @property
    def gib(self) -> float:
        return self.fixed_gib + self.activations_gib + CONTEXT_GIB

    def parts(self, card_gib: float) -> int | None:
        """In how many parts a batch fits a card; None: not even image by image."""
        room = USABLE * card_gib - CONTEXT_GIB - self.fixed_gib
        at_once = math.floor(room / self.image_gib) if self.image_gib else self.batch
        if at_once < 1:
            return None
        return math.ceil(self.batch / min(at_once, self.batch))

    def advice(self, card_gib: float) -> str | None:
        """What to change so that it fits; None where it does."""
        parts = self.parts(card_gib)
        if parts == 1:
            return None
        need = (
            f"{self.method}: {self.activations_gib:.1f} GiB of activations (batch {self.batch}) "
            f"and {self.fixed_gib:.1f} GiB of weights, gradients and optimiser do not fit "
            f"{card_gib:.1f} GiB"
        )
        if parts is None:
            return f"{need}, nor does a single image: take a larger card"
        size = math.ceil(self.batch / parts)
        fits = self.fixed_gib + size * self.image_gib + CONTEXT_GIB
        return (
            f"{need}: accumulate gradients over {parts} steps of {size} images "
            f"(--set micro_batch={size}), which takes {fits:.1f} GiB"
        )


def training(
    method: Method, recipe: Recipe, cost: Network, batch: int, captions: int
) -> TrainingMemory:
    """captions: different ones that a batch can have."""
    weights = 4 * cost.parameters / GIB
    per_weight = 2 + STATES[recipe.scratch.optimiser]
    reference = weights if method.reference is not None and not method.repeats else 0.0
    mixed = MIXED if recipe.precision in ("bf16", "fp16") else 1.0
    texts = min(1.0, captions / batch) if "text" in method.objective.trains else 0.0
    image = mixed * (cost.image_b + texts * cost.text_b) / GIB
    micro: Any = getattr(recipe, "micro_batch", 0)
    return TrainingMemory(
        method.expression, per_weight * weights + reference, image, min(batch, micro or batch)
    )


@dataclass(frozen=True)
class GenerationMemory:
    """Of the refiner's engine: weights, and the larger of a step's and a decoding's tensors."""

    weights_gib: float
    row_gib: float  # of a step, per row; a slot has two
    decoding_gib: float
    batch: int

    @property
    def gib(self) -> float:
        work = max(2 * self.batch * self.row_gib, self.decoding_gib)
        return self.weights_gib + work + CONTEXT_GIB

    def advice(self, card_gib: float) -> str | None:
        room = USABLE * card_gib
        if self.gib <= room:
            return None
        least = self.weights_gib + max(2 * self.row_gib, self.decoding_gib) + CONTEXT_GIB
        need = f"generation takes {self.gib:.1f} GiB and the card has {card_gib:.1f}"
        if least > room:
            return f"{need}: even one image at a time takes {least:.1f}; take a larger card"
        batch = int((room - self.weights_gib - CONTEXT_GIB) / (2 * self.row_gib))
        return f"{need}: --set generator_batch={max(1, batch)} fits"


def generation(dtype: str, width_px: int, height_px: int, batch: int) -> GenerationMemory:
    """Of the SDXL refiner."""
    size, pixels = BYTES[dtype], width_px * height_px / 512**2
    scale = size / BYTES["bfloat16"] * pixels / 1024  # GiB of MiB
    return GenerationMemory(
        size * REFINER_PARAMETERS / GIB, scale * UNET_MIB, DECODED * scale * DECODE_MIB, batch
    )
