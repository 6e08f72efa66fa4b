"""Views of images: each public function is one, named by a recipe.

A view takes pictures uint8, an array (B, H, W, 3) or a list of (H, W, 3), the random numbers of
these pictures, and the side in pixels that the network wants, and returns uint8
(B, side, side, 3). Those for testing draw nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.core.draws import Draws
from harness.core.errors import UsageError

Pictures = np.ndarray | Sequence[np.ndarray]

TRIES = 10  # of a random crop
ORDERS = tuple(itertools.permutations(range(3)))  # of the three changes of colour


def crop_flip(pictures: Pictures, draws: Draws, side: int) -> Tensor:
    """Pad an eighth with black (4 of 32 px), crop to the old size, flip half of the images.

    Every image has its own crop and flip.
    """
    images = _of_size(pictures, side)
    pad, n = side // 8, len(images)
    padded = np.zeros((n, side + 2 * pad, side + 2 * pad, 3), np.uint8)
    padded[:, pad : pad + side, pad : pad + side] = images
    places = 2 * pad + 1  # of a crop, in each direction
    step = padded.strides
    crops = np.lib.stride_tricks.as_strided(  # all of them; a row of pixels is one run of bytes
        padded, (n, places, places, side, 3 * side), (*step[:3], step[1], 1), writeable=False
    )
    u = draws.uniform(3)
    y, x = (u[:, :2] * places).astype(np.int64).T
    cropped = crops[np.arange(n), y, x]
    flip = np.flatnonzero(u[:, 2] < 0.5)
    mirrored = np.arange(3 * side).reshape(side, 3)[::-1].ravel()
    cropped[flip] = cropped[flip].take(mirrored, axis=2)
    return torch.from_numpy(cropped.reshape(images.shape))


def none(pictures: Pictures, draws: Draws | None, side: int) -> Tensor:
    """Images as they are; UsageError for another size than the network's."""
    return torch.from_numpy(_of_size(pictures, side))


def _of_size(pictures: Pictures, side: int) -> np.ndarray:
    sizes = [pictures.shape[1:]] if isinstance(pictures, np.ndarray) else map(np.shape, pictures)
    if wrong := next((size for size in sizes if size != (side, side, 3)), None):
        size = "x".join(map(str, wrong[:2]))
        raise UsageError(f"images are {size} px and the network wants {side}: name another view")
    return np.asarray(pictures)


def imagenet(pictures: Pictures, draws: Draws, side: int) -> Tensor:
    """Random crop of 8 to 100 % resized, flip, colour jitter 0.4 (the long-tail codes)."""
    crop, flip, colour = _crop(pictures, draws, side), _flip(draws), _jitter(draws)
    return _each(pictures, lambda x, i: colour(flip(crop(x, i), i), i))


def inaturalist(pictures: Pictures, draws: Draws, side: int) -> Tensor:
    """Random crop of 8 to 100 % resized, and flip (the long-tail codes, for iNaturalist)."""
    crop, flip = _crop(pictures, draws, side), _flip(draws)
    return _each(pictures, lambda x, i: flip(crop(x, i), i))


def image_text(pictures: Pictures, draws: Draws, side: int) -> Tensor:
    """Random crop of 90 to 100 % resized bicubically, no flip (codes that fine-tune CLIP)."""
    return _each(pictures, _crop(pictures, draws, side, (0.9, 1.0), "bicubic"))


def centre(pictures: Pictures, draws: Draws | None, side: int) -> Tensor:
    """Shorter side to 8/7 of the network's, then its centre: 256 and 224 px (long-tail codes)."""
    return _each(pictures, lambda x, i: _centre(x, round(side * 8 / 7), side, "bilinear"))


def image_text_centre(pictures: Pictures, draws: Draws | None, side: int) -> Tensor:
    """Shorter side to the network's, bicubically, then its centre (CLIP)."""
    return _each(pictures, lambda x, i: _centre(x, side, side, "bicubic"))


# ---------------------------------------------------------------- of one picture after the other

Change = Callable[[Tensor, int], Tensor]  # of a picture (3, H, W) and its number in the batch


def _each(pictures: Pictures, change: Change) -> Tensor:
    """Every picture changed, by a function that gives all of them one size."""
    views = torch.empty(0, dtype=torch.uint8)
    for index, picture in enumerate(pictures):
        read_only = not picture.flags.writeable  # of which PyTorch makes no tensor
        pixels = torch.from_numpy(picture.copy() if read_only else picture).permute(2, 0, 1)
        view = change(pixels, index)
        if not index:
            views = torch.empty(len(pictures), *view.shape[1:], 3, dtype=torch.uint8)
        if view.dtype == torch.uint8:
            views[index] = view.permute(1, 2, 0)
        else:  # planes of float32, which NumPy turns into bytes six times as fast as PyTorch
            for channel, plane in enumerate(view.numpy().astype(np.uint8)):
                views[index].numpy()[..., channel] = plane
    return views


def _functional() -> Any:
    from torchvision.transforms.v2 import functional

    return functional


def _crop(
    pictures: Pictures,
    draws: Draws,
    side: int,
    scale: tuple[float, float] = (0.08, 1.0),
    how: str = "bilinear",
) -> Change:
    """RandomResizedCrop."""
    f = _functional()
    sizes = np.array([np.shape(p)[:2] for p in pictures], np.int64).reshape(-1, 2)
    boxes = _crop_boxes(sizes, draws.of("crop").uniform(4 * TRIES), scale).tolist()
    mode = f.InterpolationMode(how)

    def cut(x: Tensor, index: int) -> Tensor:
        top, left, height, width = boxes[index]
        part = x.permute(1, 2, 0)[top : top + height, left : left + width]
        part = part.contiguous().permute(2, 0, 1)  # resizing is quicker at neighbouring rows
        return torch.as_tensor(f.resize(part, [side, side], mode, antialias=True))

    return cut


def _crop_boxes(sizes: np.ndarray, u: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """top, left, height, width (B, 4) in pictures of these heights and widths (B, 2).

    Area in `scale`, aspect 3/4 to 4/3; after ten misses the centre. u: (B, 4 * TRIES) in [0, 1).
    """
    h, w = sizes.T[..., None]
    share, slope, at_y, at_x = u.reshape(-1, TRIES, 4).transpose(2, 0, 1)
    area = h * w * (scale[0] + (scale[1] - scale[0]) * share)
    aspect = np.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * slope)
    high, wide = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    top, left = np.floor(at_y * (h - high + 1)), np.floor(at_x * (w - wide + 1))
    fits = (high > 0) & (high <= h) & (wide > 0) & (wide <= w)
    tries = np.stack([top, left, high, wide], -1)
    first = tries[np.arange(len(sizes)), fits.argmax(1)]
    return np.where(fits.any(1)[:, None], first, _middles(sizes)).astype(np.int64)


def _middles(sizes: np.ndarray) -> np.ndarray:
    """The largest boxes in the middle with an aspect of 3/4 to 4/3."""
    h, w = sizes.T
    high, wide = np.minimum(h, np.rint(w * 4 / 3)), np.minimum(w, np.rint(h * 4 / 3))
    return np.stack([(h - high) // 2, (w - wide) // 2, high, wide], -1)


def _flip(draws: Draws) -> Change:
    flips = (draws.of("flip").uniform(1)[:, 0] < 0.5).tolist()
    return lambda x, index: x.flip(-1) if flips[index] else x


def _jitter(draws: Draws) -> Change:
    """Brightness, contrast and saturation by factors in 0.6 to 1.4, in random order."""
    u = draws.of("jitter").uniform(4)
    factors, orders = (0.6 + 0.8 * u[:, :3]).tolist(), (len(ORDERS) * u[:, 3]).astype(int)
    changes = (_brighter, _more_contrast, _more_saturated)
    scratch = torch.empty(0)

    def jitter(x: Tensor, index: int) -> Tensor:
        nonlocal scratch
        if scratch.shape[1:] != x.shape[1:]:  # fresh memory for each picture costs more
            scratch = torch.empty(4, *x.shape[1:])  # three colours and grey
        planes = scratch[:3].copy_(x)
        for which in ORDERS[orders[index]]:
            changes[which](planes, scratch[3:], factors[index][which])
        return planes

    return jitter


# The arithmetic is that of torchvision's adjust_... functions of uint8, to the bit: float32 of
# whole numbers, cut to whole numbers again after each change. planes: (3, H, W); grey: (1, H, W).


def _brighter(planes: Tensor, grey: Tensor, factor: float) -> None:
    planes.mul_(factor).clamp_(0, 255).floor_()


def _more_contrast(planes: Tensor, grey: Tensor, factor: float) -> None:
    mean = _grey(planes, grey).mean((0, 1, 2), keepdim=True)
    planes.mul_(factor).add_(mean, alpha=1 - factor).clamp_(0, 255).floor_()


def _more_saturated(planes: Tensor, grey: Tensor, factor: float) -> None:
    _grey(planes, grey)
    planes.mul_(factor).add_(grey, alpha=1 - factor).clamp_(0, 255).floor_()


def _grey(planes: Tensor, out: Tensor) -> Tensor:
    torch.mul(planes[:1], 0.2989, out=out)
    return out.add_(planes[1:2], alpha=0.587).add_(planes[2:], alpha=0.114).floor_()


def _centre(x: Tensor, shorter: int, side: int, how: str) -> Tensor:
    f = _functional()
    small = f.resize(x, [shorter], f.InterpolationMode(how), antialias=True)
    return torch.as_tensor(f.center_crop(small, [side, side]))
