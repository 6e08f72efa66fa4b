"""FLOPs, rates and sizes that a plan reckons with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.core import documents, package_files, registry
from harness.core.specs import Recipe

COUNTS = Path(__file__).with_name("network_counts.json")  # of the networks of all recipes

# FLOPs (two per multiply-add) of the SDXL refiner and CLIP ViT-B/32, in TFLOP, counted by PyTorch's
# FLOP counter on meta tensors of the published configurations. With r = (side / 512 px)^2 they are
# a + b r + c r^2: a are the text's keys and values and the time's embedding, c is self-attention.
# From 256, 512 and 1024 px; exact at multiples of 64, at 480 px 0.6 % low, at 480x272 3 %.
REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
UNET = (0.020682, 1.526019, 0.072578)  # one forward pass of one image; 1.619 at 512 px
ENCODE = (0.0, 1.082299, 0.034360)  # VAE; 1.117 at 512 px
DECODE = (0.0, 2.480159, 0.034360)  # 2.515 at 512 px
GUIDED = 2  # passes per step: classifier-free guidance has one with and one without the text
SCORE = 0.0088  # CLIP ViT-B/32 at 224 px; not counted: text encoders, 0.1 per different prompt
REFINER_PARAMETERS = 2.2595e9 + 0.0837e9 + 0.6947e9  # UNet, VAE, text encoder (OpenCLIP bigG)
# Most MiB of tensors alive at once in bfloat16 at 512x512, in proportion to the pixels, counted on
# meta tensors (harness.planning.tensor_bytes): the UNet per row of a batch, the VAE per picture.
UNET_MIB, DECODE_MIB = 47.3, 384.0

# TFLOP/s that are assumed, by precision. CARD's dense rates are NVIDIA's (989 in bfloat16, 495 in
# TensorFloat-32, 67 in float32 without tensor cores). A quarter of 989 is what torch.compile
# reaches with SDXL on it (stable-fast's README: 18.5 steps/s of 6.76 TFLOP, twice); a quarter of
# 495 and half of 67 are ours.
CARD = "H100 SXM"
RATES = {"bf16": 247.0, "fp16": 247.0, "tf32": 124.0, "no": 33.0}
SHARES = {
    "bf16": "a quarter of the 989",
    "fp16": "a quarter of the 989",
    "tf32": "a quarter of the 495",
    "no": "half of the 67",
}
PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}  # of the generator
SPOKEN = {"bf16": "bfloat16", "fp16": "float16", "tf32": "TensorFloat-32", "no": "float32"}

# kB of a stored picture by side in px: crops of photographs as the codecs write them (measured).
PICTURE_KB = {
    "jpeg": {64: 3.6, 256: 32.6, 512: 104.0},
    "webp-lossless": {64: 5.8, 256: 77.0, 512: 270.0},
}
ROW_KB = 0.2  # of metadata per picture, in its shard and in the index
PREDICTION_B = 16  # of one image in a file of predictions


def image_tflop(model: str, size_px: int, steps: int, height_px: int = 0) -> float | None:
    """One synthetic image: encode, `steps` of denoising, decode, score; None: nobody counted.

    height_px: 0 for a square.
    """
    if model != REFINER:
        return None
    r = size_px * (height_px or size_px) / 512**2
    unet, encode, decode = (a + b * r + c * r * r for a, b, c in (UNET, ENCODE, DECODE))
    return encode + steps * GUIDED * unet + decode + SCORE


def picture_kb(codec: str, size_px: int, height_px: int = 0) -> float:
    """Bytes per pixel between the sizes measured, by the logarithm of the side.

    height_px: 0 for a square; others count as the square of as many pixels.
    """
    import numpy as np

    sides, sizes = zip(*PICTURE_KB[codec].items(), strict=True)
    per_pixel = [kb / side**2 for side, kb in zip(sides, sizes, strict=True)]
    pixels = size_px * (height_px or size_px)
    return float(np.interp(math.log2(pixels) / 2, np.log2(sides), per_pixel)) * pixels


@dataclass(frozen=True)
class Network:
    """GFLOP of a classifier per image, of its text tower per text (0 without one)."""

    forward: float
    train: float  # forward and backward
    text: float
    features: int  # entries of z
    parameters: int
    image_b: int  # bytes kept for the backward pass, per image, in float32
    text_b: int  # likewise per text


@dataclass(frozen=True)
class Shape:
    """What a classifier's numbers depend on."""

    backbone: str
    width: int
    classes: int
    view_px: int
    pretrained: str | None

    @property
    def name(self) -> str:
        """As the file of counts names it."""
        return " ".join(f"{value}" for value in vars(self).values())


def shape_of(recipe: Recipe, classes: int) -> Shape:
    """The classifier that a recipe trains, with so many classes."""
    r = recipe
    return Shape(r.backbone, r.width, classes, r.view_px, r.pretrained)


def network(shape: Shape) -> Network:
    """From the counts that ship with the package; of another network counted now, by PyTorch."""
    shipped = _shipped().get(shape.name)
    return count(shape) if shipped is None else shipped


def is_known(shape: Shape) -> bool:
    """Whether the counts of this network ship with the package."""
    return shape.name in _shipped()


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Network]:
    counts = documents.json_value(package_files.check(COUNTS), "counts")
    return {name: Network(**numbers) for name, numbers in counts.items()}


@lru_cache(maxsize=8)
def count(shape: Shape) -> Network:
    """Counted by PyTorch on meta tensors, layer by layer; nothing is computed or fetched."""
    import logging

    import torch

    from harness.models import backbones
    from harness.planning import tensor_bytes

    pictures, ids = (2, 3, shape.view_px, shape.view_px), None
    with torch.device("meta"):
        if shape.pretrained is None:
            build = registry.function(backbones, shape.backbone)
            model: Any = build(shape.classes, width=shape.width)
        else:
            from harness.models import clip

            logging.disable(logging.WARNING)  # open_clip's, that there are no weights
            try:
                model = clip.load(shape.pretrained, shape.classes, weights=False)
            finally:
                logging.disable(logging.NOTSET)
            pictures = (2, 3, model.side, model.side)
            ids = model.tokenise(["", ""]).to("meta")
        x = torch.empty(pictures)
    with torch.no_grad():
        forward = _gflop(lambda: model.head(model.encoder(x)))
    train = _gflop(lambda: model.head(model.encoder(x)).sum().backward())
    text = 0.0 if ids is None else _gflop(lambda: model.text(ids).sum().backward())
    weights = [*model.parameters(), *model.buffers()]
    image_b = tensor_bytes.saved(lambda: model.head(model.encoder(x)), weights) // 2
    text_b = 0 if ids is None else tensor_bytes.saved(lambda: model.text(ids), weights) // 2
    parameters = sum(p.numel() for p in model.parameters())
    return Network(forward, train, text, model.head.in_features, parameters, image_b, text_b)


def _gflop(work: Any) -> float:
    """Of one of the two images or texts."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2e9
