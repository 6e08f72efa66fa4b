"""Views of images: each public function is one, named by a recipe.

A view takes pictures uint8, an array (B, H, W, 3) or a list of (H, W, 3), a CPU generator, and the
side in pixels that the network wants, and returns uint8 (B, side, side, 3). Those for testing draw
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.core.errors import UsageError

Pictures = np.ndarray | Sequence[np.ndarray]


def crop_flip(pictures: Pictures, generator: torch.Generator, side: int) -> Tensor:
    """Pad an eighth with black (4 of 32 px), crop to the old size, flip half of the images.

    Every image has its own crop and flip.
    """
    images = none(pictures, generator, side)
    pad = side // 8
    n, h, w, channels = images.shape
    place = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    flip = torch.randint(0, 2, (n, 1), generator=generator).bool()
    columns = torch.arange(w)
    y = place[0] + torch.arange(h)  # (B, H) row of the padded image
    x = place[1] + torch.where(flip, columns.flip(0), columns)  # (B, W)
    padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
    high, wide = h + 2 * pad, w + 2 * pad
    row = torch.arange(n)[:, None] * high + y
    pixel = (row * wide)[:, :, None] + x[:, None, :]  # (B, H, W) into the pixels of all images
    flat = padded.view(-1, channels).index_select(0, pixel.flatten())
    return flat.view(n, h, w, channels)


def none(pictures: Pictures, generator: torch.Generator | None, side: int) -> Tensor:
    """Images as they are; UsageError for another size than the network's."""
    sizes = [pictures.shape[1:]] if isinstance(pictures, np.ndarray) else map(np.shape, pictures)
    if wrong := next((size for size in sizes if size != (side, side, 3)), None):
        size = "x".join(map(str, wrong[:2]))
        raise UsageError(f"images are {size} px and the network wants {side}: name another view")
    return torch.from_numpy(np.asarray(pictures))


def imagenet(pictures: Pictures, generator: torch.Generator, side: int) -> Tensor:
    """Random crop of 8 to 100 % resized, flip, colour jitter 0.4 (the long-tail codes)."""
    return _each(
        pictures, lambda x: _jitter(_flip(_crop(x, generator, side), generator), generator)
    )


def inaturalist(pictures: Pictures, generator: torch.Generator, side: int) -> Tensor:
    """Random crop of 8 to 100 % resized, and flip (the long-tail codes, for iNaturalist)."""
    return _each(pictures, lambda x: _flip(_crop(x, generator, side), generator))


def image_text(pictures: Pictures, generator: torch.Generator, side: int) -> Tensor:
    """Random crop of 90 to 100 % resized bicubically, no flip (codes that fine-tune CLIP)."""
    return _each(pictures, lambda x: _crop(x, generator, side, (0.9, 1.0), "bicubic"))


def centre(pictures: Pictures, generator: torch.Generator | None, side: int) -> Tensor:
    """Shorter side to 8/7 of the network's, then its centre: 256 and 224 px (long-tail codes)."""
    return _each(pictures, lambda x: _centre(x, round(side * 8 / 7), side, "bilinear"))


def image_text_centre(pictures: Pictures, generator: torch.Generator | None, side: int) -> Tensor:
    """Shorter side to the network's, bicubically, then its centre (CLIP)."""
    return _each(pictures, lambda x: _centre(x, side, side, "bicubic"))


def _each(pictures: Pictures, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`change` takes and returns (3, H, W)."""
    changed = [change(torch.from_numpy(np.array(p)).permute(2, 0, 1)) for p in pictures]
    return torch.stack(changed).permute(0, 2, 3, 1).contiguous()


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _functional() -> Any:
    from torchvision.transforms.v2 import functional

    return functional


def _crop(
    x: Tensor,
    generator: torch.Generator,
    side: int,
    scale: tuple[float, float] = (0.08, 1.0),
    how: str = "bilinear",
) -> Tensor:
    """RandomResizedCrop: area in `scale`, aspect 3/4 to 4/3; after ten misses the centre."""
    f = _functional()
    h, w = x.shape[-2:]
    for _ in range(10):
        area = h * w * _uniform(generator, *scale)
        aspect = math.exp(_uniform(generator, math.log(3 / 4), math.log(4 / 3)))
        high, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < high <= h and 0 < wide <= w:
            top = int(torch.randint(0, h - high + 1, (), generator=generator))
            left = int(torch.randint(0, w - wide + 1, (), generator=generator))
            break
    else:
        high, wide = min(h, round(w * 4 / 3)), min(w, round(h * 4 / 3))
        top, left = (h - high) // 2, (w - wide) // 2
    cut = f.resized_crop(
        x, top, left, high, wide, [side, side], f.InterpolationMode(how), antialias=True
    )
    return torch.as_tensor(cut)


def _flip(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.flip(-1) if _uniform(generator, 0, 1) < 0.5 else x


def _jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation by factors in 0.6 to 1.4, in random order."""
    f = _functional()
    changes = (f.adjust_brightness, f.adjust_contrast, f.adjust_saturation)
    for index in torch.randperm(3, generator=generator).tolist():
        x = torch.as_tensor(changes[index](x, _uniform(generator, 0.6, 1.4)))
    return x


def _centre(x: Tensor, shorter: int, side: int, how: str) -> Tensor:
    f = _functional()
    small = f.resize(x, [shorter], f.InterpolationMode(how), antialias=True)
    return torch.as_tensor(f.center_crop(small, [side, side]))
