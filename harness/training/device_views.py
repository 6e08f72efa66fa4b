"""Views of whole batches, made by the device: those of harness.training.augmentation to rounding.

The processor decodes and draws, the same numbers as for its own views, and cuts out what a view
shows of each picture. On the device all of a batch is resized by two matrix products, since
resizing is linear along rows and along columns, and cropping, flipping and the choice of the middle
only choose lines of these matrices. Colours change with each picture's own factors and order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.core.draws import Draws
from harness.training import augmentation
from harness.training.augmentation import ORDERS, TRIES, Pictures

AT_ONCE = 32  # pictures whose float32 pixels the device holds
GREY = (0.2989, 0.587, 0.114)


class Packed(NamedTuple):
    """What the views of B pictures need, on the CPU.

    pixels: uint8, of one cut-out (h, w, 3) after the other. lines: (2, B, 4) float32, of rows and
    of columns: length of the cut-out, length that all of it would be resized to, the first line of
    that in the view, 1 for one that is mirrored. colours: (B, 9) float32, three factors, one minus
    each, and the order; no rows without changes of colour.
    """

    pixels: Tensor
    lines: Tensor
    colours: Tensor


@dataclass(frozen=True)
class DeviceView:
    """A view: the area of random crops (None: the middle), and what is done to them.

    shorter: of a middle, to how much of the network's side the shorter side is resized.
    """

    scale: tuple[float, float] | None = None
    flips: bool = False
    colours: bool = False
    cubic: bool = False
    shorter: float = 1.0

    def packed(self, pictures: Pictures, draws: Draws | None, side: int) -> Packed:
        """Pictures uint8 (H, W, 3) with their random numbers, as the views of that name."""
        sizes = np.array([np.shape(p)[:2] for p in pictures], np.int64).reshape(-1, 2)
        n = len(sizes)
        boxes = np.concatenate([np.zeros_like(sizes), sizes], 1)
        whole = np.full((n, 2), side)
        first = np.zeros((n, 2), np.int64)
        if self.scale is not None:
            assert draws is not None
            u = draws.of("crop").uniform(4 * TRIES)
            boxes = augmentation._crop_boxes(sizes, u, self.scale)
        else:
            whole = _resized(sizes, round(side * self.shorter))
            first = np.rint((whole - side) / 2).astype(np.int64)
        mirrored: np.ndarray = np.zeros(n)
        if self.flips:
            assert draws is not None
            mirrored = draws.of("flip").uniform(1)[:, 0] < 0.5
        columns = [boxes[:, 2:], whole, first, np.stack([np.zeros(n), mirrored], 1)]
        lines = np.stack(columns, -1).transpose(1, 0, 2).astype(np.float32)
        return Packed(_cut(pictures, boxes), torch.from_numpy(lines), self._colours(draws))

    def _colours(self, draws: Draws | None) -> Tensor:
        if not self.colours:
            return torch.zeros(0, 9)
        assert draws is not None
        u = draws.of("jitter").uniform(4)
        factors = 0.6 + 0.8 * u[:, :3]
        orders = np.array(ORDERS)[(len(ORDERS) * u[:, 3]).astype(int)]
        return torch.from_numpy(np.concatenate([factors, 1 - factors, orders], 1)).float()

    def rendered(self, packed: Packed, side: int, device: torch.device) -> Tensor:
        """uint8 (B, side, side, 3) on the device."""
        pixels, lines, colours = (part.to(device, non_blocking=True) for part in packed)
        sizes = packed.lines[:, :, 0].long().T.tolist()  # of the copy on the CPU
        ends = np.cumsum([3 * h * w for h, w in sizes]).tolist()
        views = torch.empty(len(sizes), side, side, 3, dtype=torch.uint8, device=device)
        for first in range(0, len(sizes), AT_ONCE):
            part = slice(first, min(first + AT_ONCE, len(sizes)))
            start = ends[first - 1] if first else 0
            x = _planes(pixels[start : ends[part.stop - 1]], sizes[part])
            x = _resize(x, lines[:, part], side, _cubic if self.cubic else _linear)
            if len(colours):
                x = _coloured(x, colours[part])
            views[part] = x.permute(0, 2, 3, 1)
        return views


DEVICE_VIEWS = {
    "imagenet": DeviceView((0.08, 1.0), flips=True, colours=True),
    "inaturalist": DeviceView((0.08, 1.0), flips=True),
    "image_text": DeviceView((0.9, 1.0), cubic=True),
    "centre": DeviceView(shorter=8 / 7),
    "image_text_centre": DeviceView(cubic=True),
}


def _resized(sizes: np.ndarray, shorter: int) -> np.ndarray:
    """Sizes (B, 2) after their shorter sides became `shorter`, cut to whole pixels."""
    least = sizes.min(1, keepdims=True)
    return np.where(sizes == least, shorter, shorter * sizes // least)


def _cut(pictures: Pictures, boxes: np.ndarray) -> Tensor:
    """The pixels of each box (top, left, height, width), in one piece."""
    ends = np.cumsum(3 * boxes[:, 2] * boxes[:, 3]).tolist()
    pixels = np.empty(ends[-1] if ends else 0, np.uint8)
    start = 0
    for picture, (top, left, h, w), end in zip(pictures, boxes.tolist(), ends, strict=True):
        place = pixels[start:end].reshape(h, w, 3)
        place[...] = picture[top : top + h, left : left + w]
        start = end
    return torch.from_numpy(pixels)


def _planes(pixels: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
    """Pictures as float32 (B, 3, H, W), H and W the largest ones, 0 where there is none."""
    h, w = (max(size[axis] for size in sizes) for axis in (0, 1))
    planes = pixels.new_zeros(len(sizes), 3, h, w, dtype=torch.float32)
    start = 0
    for index, (height, width) in enumerate(sizes):
        end = start + 3 * height * width
        picture = pixels[start:end].view(height, width, 3)
        planes[index, :, :height, :width] = picture.permute(2, 0, 1)
        start = end
    return planes


def _resize(x: Tensor, lines: Tensor, side: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, 3, H, W) -> (B, 3, side, side), columns first, whole numbers in 0 to 255 each time."""
    rows, columns = (_matrix(lines[axis], x.shape[2 + axis], side, kernel) for axis in (0, 1))
    x = (x @ columns.mT[:, None]).round_().clamp_(0, 255)
    return (rows[:, None] @ x).round_().clamp_(0, 255)


def _matrix(lines: Tensor, n: int, side: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, side, n): how much of each line of a cut-out is in each line of its view.

    As Pillow resizes: the kernel is as wide as a line of the result where that is smaller.
    """
    length, whole, first, mirrored = lines.T[..., None]
    out = torch.arange(side, device=lines.device, dtype=torch.float32)
    out = torch.where(mirrored > 0, side - 1 - out, out)
    step = length / whole
    middle = (out + first + 0.5) * step  # (B, side)
    at = torch.arange(n, device=lines.device, dtype=torch.float32) + 0.5
    weights = kernel((at - middle[..., None]) / step.clamp_min(1)[..., None])
    weights = torch.where(at < length[..., None], weights, 0)
    return weights / weights.sum(-1, keepdim=True)


def _linear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _cubic(x: Tensor) -> Tensor:
    """Keys's, with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _coloured(x: Tensor, colours: Tensor) -> Tensor:
    """Brightness, contrast and saturation of each picture (B, 3, H, W), in its own order."""
    factors, rest, orders = colours.split(3, 1)
    for turn in orders.long().T:
        factor, other = (of.gather(1, turn[:, None])[..., None, None] for of in (factors, rest))
        which = turn[:, None, None, None]
        grey = (GREY[0] * x[:, :1]).add_(x[:, 1:2], alpha=GREY[1]).add_(x[:, 2:], alpha=GREY[2])
        grey.floor_()
        base = torch.where(which == 1, grey.mean((1, 2, 3), keepdim=True), grey)
        base = torch.where(which == 0, 0, base)
        x = (x * factor + base * other).clamp_(0, 255).floor_()
    return x
