"""What stands in the view of a camera trap, each thing drawn on a layer of its own.

Layers are premultiplied float32 (64, 64, 4) in [0, 255]; places and sizes are fractions of the
picture's side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from harness.mini.writing import SIDE_PX

if TYPE_CHECKING:
    from harness.mini.habitat import Biome

Colour = tuple[int, int, int]
FINE = 4  # things are drawn so many times larger
LIVELY = ("tree", "fern", "bush", "acacia", "conifer", "reed")  # with leaves, hence fine texture


def smooth(rng: np.random.Generator, cells: int, side: int = SIDE_PX) -> np.ndarray:
    """Smooth noise float32 (side, side), about standard normal at its cells * cells knots."""
    knots = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(knots.resize((side, side), Image.Resampling.BICUBIC))


def tinted(colour: Colour, rng: np.random.Generator, spread: float = 14) -> np.ndarray:
    """The colour, somewhat lighter or darker, and a bit of another hue."""
    return np.asarray(colour) + rng.uniform(-spread, spread) + rng.uniform(-spread, spread, 3) / 2


class Pen:
    """Draws on a sheet FINE times the size of the picture, in units of the picture's side."""

    def __init__(self) -> None:
        self.side = SIDE_PX * FINE
        self.sheet = Image.new("RGBA", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.sheet)

    def polygon(self, points: list[tuple[float, float]], colour: np.ndarray) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], _rgb(colour))

    def disc(self, x: float, y: float, rx: float, ry: float, colour: np.ndarray) -> None:
        s = self.side
        box = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
        self.draw.ellipse(box, _rgb(colour))

    def line(self, points: list[tuple[float, float]], width: float, colour: np.ndarray) -> None:
        thick = max(1, round(width * self.side))
        self.draw.line([(x * self.side, y * self.side) for x, y in points], _rgb(colour), thick)

    def layer(self, blur_px: float = 0) -> np.ndarray:
        """Premultiplied float32 (64, 64, 4)."""
        sheet = self.sheet.convert("RGBa")
        if blur_px:
            sheet = sheet.filter(ImageFilter.GaussianBlur(blur_px * FINE))
        return np.asarray(sheet.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), np.float32)


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    r, g, b = (int(min(max(c, 0), 255)) for c in colour)
    return r, g, b


def thing(
    name: str, kind: Biome, ground: float, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    """The layer of one thing that stands on the ground at that distance."""
    pen, x = Pen(), float(rng.uniform(-0.05, 1.05))
    y, size = horizon + (1 - horizon) * ground, 0.25 + 0.75 * ground
    DRAW[name](pen, x, y, size, kind, rng)
    layer = pen.layer(0.35)
    if name in LIVELY:
        grain = 1 + 0.16 * smooth(rng, 32) + 0.1 * smooth(rng, 12)
        layer[..., :3] = np.clip(layer[..., :3] * grain[..., None], 0, layer[..., 3:])
    return layer


def _leaves(
    pen: Pen, x: float, y: float, rx: float, ry: float, colour: Colour, rng: np.random.Generator
) -> None:
    """A heap of leaves around a point, lighter at the top."""
    for _ in range(26):
        dx, dy = rng.uniform(-1, 1, 2)
        shade = tinted(colour, rng, 16) - 16 * dy
        r = rng.uniform(0.22, 0.42)
        pen.disc(x + 0.7 * dx * rx, y + 0.7 * dy * ry, r * rx, r * ry, shade)


def _tree(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    width, lean = size * rng.uniform(0.03, 0.075), rng.uniform(-0.12, 0.12)
    bark, top = tinted(kind.bark, rng), y - 1.3 * size
    pen.polygon(
        [(x - width, y), (x - 0.6 * width + lean, top), (x + 0.6 * width + lean, top),
         (x + width, y)],
        bark,
    )  # fmt: skip
    pen.polygon([(x, y), (x + lean, top), (x + 0.6 * width + lean, top), (x + width, y)], bark - 16)
    for _ in range(int(rng.integers(0, 3))):
        at, side = rng.uniform(0.4, 0.9), rng.choice((-1, 1))
        bx, by = x + lean * at, y + (top - y) * at
        reach = rng.uniform(0.1, 0.3) * size
        pen.line([(bx, by), (bx + side * reach, by - 0.6 * reach)], 0.4 * width, bark - 8)
    _leaves(pen, x + lean, top + 0.25 * size, 0.42 * size, 0.3 * size, kind.leaf, rng)


def _acacia(
    pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator
) -> None:
    width, tall = 0.025 * size, rng.uniform(0.45, 0.7) * size
    bark = tinted(kind.bark, rng)
    for reach in rng.uniform(-0.2, 0.2, 3) * size:
        pen.line([(x, y), (x, y - 0.5 * tall), (x + reach, y - tall)], width, bark)
    _leaves(pen, x, y - tall, 0.42 * size, 0.1 * size, kind.leaf, rng)


def _conifer(
    pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator
) -> None:
    tall, wide = rng.uniform(0.7, 1.2) * size, rng.uniform(0.16, 0.26) * size
    pen.line([(x, y), (x, y - 0.3 * tall)], 0.06 * size, tinted(kind.bark, rng))
    for step in range(5):
        low, reach = y - tall * (0.08 + 0.17 * step), wide * (1 - 0.17 * step)
        shade = tinted(kind.leaf, rng, 10) + 3 * step
        pen.polygon([(x - reach, low), (x, low - 0.3 * tall), (x + reach, low)], shade)


def _bush(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    rx, ry = rng.uniform(0.1, 0.24) * size, rng.uniform(0.07, 0.16) * size
    _leaves(pen, x, y - 0.8 * ry, rx, ry, kind.leaf, rng)


def _fern(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    for _ in range(12):
        dx, dy = rng.uniform(-0.26, 0.26) * size, rng.uniform(0.08, 0.26) * size
        shade = tinted(kind.leaf, rng, 18)
        pen.line([(x, y), (x + 0.6 * dx, y - dy), (x + dx, y - 0.7 * dy)], 0.03 * size, shade)


def _reed(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    for _ in range(22):
        foot, dx = x + rng.uniform(-0.14, 0.14) * size, rng.uniform(-0.06, 0.06) * size
        tall = rng.uniform(0.16, 0.42) * size
        pen.line([(foot, y), (foot + dx, y - tall)], 0.013, tinted(kind.leaf, rng, 22))


def _rock(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    rx, ry = rng.uniform(0.08, 0.22) * size, rng.uniform(0.06, 0.14) * size
    grey = tinted((128, 124, 118), rng, 22)
    rim = [(-1.0, 0.1), (-0.8, -0.6), (-0.2, -1.0), (0.45, -0.9), (0.9, -0.4), (1.0, 0.1)]
    rim = [(x + rx * (a + rng.uniform(-0.12, 0.12)), y + ry * b) for a, b in rim]
    pen.polygon(rim, grey - 22)
    pen.polygon([*rim[:4], (x + 0.1 * rx, y - 0.3 * ry)], grey)


def _log(pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator) -> None:
    reach, tilt, thick = rng.uniform(0.2, 0.5) * size, rng.uniform(-0.1, 0.1), 0.07 * size
    bark, y = tinted(kind.bark, rng), y - 0.5 * thick
    pen.line([(x - reach, y - tilt * reach), (x + reach, y + tilt * reach)], thick, bark - 12)
    lift = 0.25 * thick
    ends = [(x - reach, y - tilt * reach - lift), (x + reach, y + tilt * reach - lift)]
    pen.line(ends, 0.4 * thick, bark + 14)


def _fence(
    pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator
) -> None:
    wood = tinted((124, 104, 84), rng)
    for post in range(7):
        px = (x % 0.2) + 0.2 * post - 0.2
        pen.line([(px, y), (px, y - 0.2 * size)], 0.022 * size, wood)
    for height in (0.09, 0.16):
        pen.line([(-0.1, y - height * size), (1.1, y - height * size)], 0.012 * size, wood + 12)


def _water(
    pen: Pen, x: float, y: float, size: float, kind: Biome, rng: np.random.Generator
) -> None:
    blue, low = tinted((110, 136, 150), rng), y + rng.uniform(0.12, 0.3)
    shore = [(i / 8, low + rng.uniform(-0.02, 0.02)) for i in range(9)]
    pen.polygon([(0, y), *shore, (1, y)], blue)
    for _ in range(14):
        rx, ry = rng.uniform(-0.1, 1), rng.uniform(y, low - 0.01)
        pen.line([(rx, ry), (rx + rng.uniform(0.05, 0.2), ry)], 0.006, blue + rng.uniform(-16, 22))


def front(kind: Biome, rng: np.random.Generator) -> np.ndarray:
    """Blades from below, or twigs from a side or from above, too close to be sharp."""
    pen = Pen()
    if rng.random() < 0.6:
        left, reach = rng.uniform(-0.2, 0.6), rng.uniform(0.4, 0.9)
        for _ in range(int(rng.integers(14, 30))):
            x, tall = left + reach * rng.random(), rng.uniform(0.12, 0.42)
            tip = (x + rng.uniform(-0.12, 0.12), 1.02 - tall)
            pen.line([(x, 1.02), tip], rng.uniform(0.008, 0.022), tinted(kind.front, rng, 26))
    else:
        x, y = (rng.choice((-0.05, 1.05)), rng.uniform(0, 0.8)) if rng.random() < 0.6 else (0.5, 0)
        tip = (x + rng.uniform(0.2, 0.5) * (1 if x < 0.5 else -1), y + rng.uniform(-0.1, 0.35))
        pen.line([(x, y), tip], 0.025, tinted(kind.bark, rng))
        for _ in range(14):
            at = rng.random()
            lx, ly = x + at * (tip[0] - x), y + at * (tip[1] - y)
            dx, dy = rng.uniform(-0.09, 0.09, 2)
            pen.disc(lx + dx, ly + dy, 0.055, 0.035, tinted(kind.front, rng, 20))
    return pen.layer(float(rng.uniform(0.3, 0.9)))


DRAW: dict[str, Callable[..., None]] = {
    "tree": _tree, "acacia": _acacia, "conifer": _conifer, "bush": _bush, "fern": _fern,
    "reed": _reed, "rock": _rock, "log": _log, "fence": _fence, "water": _water,
}  # fmt: skip
