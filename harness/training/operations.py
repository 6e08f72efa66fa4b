"""Twenty-two changes to a picture at eleven strengths, and random chains of them.

In a chain of state s there are s operations, drawn with replacement, each at the strength of s
(Ahn et al. 2023, arXiv 2302.05499, and its authors' code, whose list and ranges these are).
Everything here is Pillow's, picture after picture: the definition. The module operations_fast makes
the same pixels of many small pictures at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from harness.core.draws import Draws

TOP = 10  # the highest state

Array = np.ndarray


def margin(side: int, v: float) -> int:
    """Pixels that ResizeCrop cuts off before the first row or column it keeps."""
    return int(side * v) // 2 - side // 2


def _resize_crop(image: Image.Image, v: float) -> Image.Image:
    w, h = image.size
    x, y = margin(w, v), margin(h, v)
    enlarged = image.resize((int(w * v), int(h * v)), Image.Resampling.LANCZOS)
    return enlarged.crop((x, y, x + w, y + h))


def _solarize_add(image: Image.Image, v: float) -> Image.Image:
    added = np.clip(np.asarray(image) + v, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(added), 128)


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Nearest pixel, black from outside."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


@dataclass(frozen=True)
class Operation:
    """low, high: range of the strength v = state / 30 * (high - low) + low; None: takes none.

    signed: v turns to -v with probability 1/2.
    """

    name: str
    change: Callable[[Image.Image, float], Image.Image]
    low: float | None = None
    high: float | None = None
    signed: bool = False


OPERATIONS = (
    Operation("Flip", lambda image, v: ImageOps.flip(image)),
    Operation("Mirror", lambda image, v: ImageOps.mirror(image)),
    Operation("EdgeEnhance", lambda image, v: image.filter(ImageFilter.EDGE_ENHANCE)),
    Operation("Detail", lambda image, v: image.filter(ImageFilter.DETAIL)),
    Operation("Smooth", lambda image, v: image.filter(ImageFilter.SMOOTH)),
    Operation("AutoContrast", lambda image, v: ImageOps.autocontrast(image)),
    Operation("Equalize", lambda image, v: ImageOps.equalize(image)),
    Operation("Invert", lambda image, v: ImageOps.invert(image)),
    Operation("GaussianBlur", lambda image, v: image.filter(ImageFilter.GaussianBlur(v)), 0, 2),
    Operation("ResizeCrop", _resize_crop, 1, 1.5),
    Operation("Rotate", lambda image, v: image.rotate(v), 0, 30, signed=True),  # degrees
    Operation("Posterize", lambda image, v: ImageOps.posterize(image, max(1, int(v))), 0, 4),
    Operation("Solarize", lambda image, v: ImageOps.solarize(image, v), 0, 256),
    Operation("SolarizeAdd", _solarize_add, 0, 110),
    Operation("Color", lambda image, v: ImageEnhance.Color(image).enhance(v), 0.1, 1.9),
    Operation("Contrast", lambda image, v: ImageEnhance.Contrast(image).enhance(v), 0.1, 1.9),
    Operation("Brightness", lambda image, v: ImageEnhance.Brightness(image).enhance(v), 0.1, 1.9),
    Operation("Sharpness", lambda image, v: ImageEnhance.Sharpness(image).enhance(v), 0.1, 1.9),
    Operation("ShearX", lambda image, v: _affine(image, 1, v, 0, 0, 1, 0), 0, 0.3, signed=True),
    Operation("ShearY", lambda image, v: _affine(image, 1, 0, 0, v, 1, 0), 0, 0.3, signed=True),
    Operation("TranslateX", lambda image, v: _affine(image, 1, 0, v, 0, 1, 0), 0, 100, signed=True),
    Operation("TranslateY", lambda image, v: _affine(image, 1, 0, 0, 0, 1, v), 0, 100, signed=True),
)
INDEX = {operation.name: index for index, operation in enumerate(OPERATIONS)}


def strength(operation: int, state: int) -> float:
    """v of an operation at a state 0..10, without its sign; 0 where it takes none."""
    low, high = OPERATIONS[operation].low, OPERATIONS[operation].high
    return 0.0 if low is None or high is None else state / 30 * (high - low) + low


def change(image: Image.Image, operation: int, state: int, minus: bool = False) -> Image.Image:
    """A picture after one operation; minus: with -v where it has a sign."""
    v = strength(operation, state)
    return OPERATIONS[operation].change(image, -v if OPERATIONS[operation].signed and minus else v)


def one(picture: Array, operation: int, state: int, minus: bool = False) -> Array:
    """`change` on uint8 (H, W, 3)."""
    return np.asarray(change(Image.fromarray(picture), operation, state, minus))


# ---------------------------------------------------------------- random chains


@dataclass(frozen=True)
class Plan:
    """What is done to each of B pictures: of its row in `operations` the first `states` ones."""

    states: Array  # (B,) int64, 0..10
    operations: Array  # (B, 10) int64, index into OPERATIONS
    minus: Array  # (B, 10) bool

    def part(self, rows: slice) -> Plan:
        """The plan of some of the pictures."""
        return Plan(self.states[rows], self.operations[rows], self.minus[rows])


def draw(states: Array, draws: Draws) -> Plan:
    """A chain of operations for each state (B,) in 0..10, from the pictures' random numbers."""
    u = draws.of("chain").uniform(2 * TOP)
    operations = (len(OPERATIONS) * u[:, :TOP]).astype(np.int64)
    return Plan(np.asarray(states, np.int64), operations, u[:, TOP:] >= 0.5)


def apply_one_by_one(images: Array, plan: Plan) -> Array:
    """images uint8 (B, H, W, 3) after their chains."""
    changed = images.copy()
    for row in np.flatnonzero(plan.states):
        state = int(plan.states[row])
        image = Image.fromarray(images[row])
        for operation, minus in zip(plan.operations[row, :state], plan.minus[row], strict=False):
            image = change(image, operation, state, minus)
        changed[row] = np.asarray(image)
    return changed
