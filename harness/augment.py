"""Random changes to whole batches of images: each public function is one, named by a recipe."""

from __future__ import annotations

import torch
from torch import Tensor

PAD_PX = 4


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad 4 px with black, crop to the old size, flip half of the images; uint8 (B, H, W, 3).

    Every image has its own crop and flip, drawn from a CPU generator on any device.
    """
    n, h, w, channels = images.shape
    place = torch.randint(0, 2 * PAD_PX + 1, (2, n, 1), generator=generator)
    flip = torch.randint(0, 2, (n, 1), generator=generator).bool()
    columns = torch.arange(w)
    y = place[0] + torch.arange(h)  # (B, H) row of the padded image
    x = place[1] + torch.where(flip, columns.flip(0), columns)  # (B, W)
    padded = torch.nn.functional.pad(images, (0, 0, PAD_PX, PAD_PX, PAD_PX, PAD_PX))
    high, wide = h + 2 * PAD_PX, w + 2 * PAD_PX
    row = torch.arange(n)[:, None] * high + y
    pixel = (row * wide)[:, :, None] + x[:, None, :]  # (B, H, W) into the pixels of all images
    flat = padded.view(-1, channels).index_select(0, pixel.flatten().to(images.device))
    return flat.view(n, h, w, channels)


def none(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images as they are."""
    return images
