"""Scenes of the built-in world: a sprite in an art style, on a background, as a camera sees it.

Every picture comes from an explicit generator, so a stream of scenes is a pure function of its
name. Three streams exist: `web` (what the small foundation models learn from), `train` and `test`
(what the benchmark is made of). `web` has clean backgrounds of its own palettes; `train` and `test`
share cluttered ones, with harder poses, light and noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from harness.core import package_files

SPRITES = Path(__file__).parent / "sprites"
STREAMS = {"web": 1, "train": 2, "test": 3}  # stored in seeds: never renumber


@dataclass(frozen=True)
class Atlas:
    """All sprites. `sprites` uint8 (concepts, styles, cell, cell, 4), straight alpha."""

    concepts: tuple[dict, ...]
    styles: tuple[dict, ...]
    sprites: np.ndarray

    @property
    def names(self) -> list[str]:
        return [c["name"] for c in self.concepts]


@cache
def atlas() -> Atlas:
    """Read the sprite atlas that ships with the package."""
    index = json.loads(package_files.check(SPRITES / "index.json").read_text())
    sheet = np.asarray(Image.open(package_files.check(SPRITES / "atlas.webp")).convert("RGBA"))
    n, s, cell = len(index["concepts"]), len(index["styles"]), index["cell_px"]
    cells = sheet.reshape(n, cell, s, cell, 4).swapaxes(1, 2)
    return Atlas(tuple(index["concepts"]), tuple(index["styles"]), np.ascontiguousarray(cells))


@dataclass(frozen=True)
class Look:
    """How a stream's pictures are taken; ranges are uniform, angles in degrees."""

    scale: tuple[float, float]  # longest side of the sprite over the side of the picture
    rotation: float
    offset: float  # of the centre, as a fraction of the picture's side
    clutter: int  # at most so many distracting blobs
    light: float  # brightness and contrast vary by this fraction
    cast: float  # colour cast by this fraction
    blur_px: float  # at 32 px
    noise: float  # largest standard deviation, in grey levels
    hue: float  # palettes of the backgrounds are turned by this fraction of the colour circle


WEB = Look((0.62, 0.95), 12.0, 0.06, 0, 0.15, 0.06, 0.35, 3.0, 0.0)
FIELD = Look((0.50, 0.95), 30.0, 0.12, 3, 0.35, 0.15, 0.7, 9.0, 0.04)
LOOKS = {"web": WEB, "train": FIELD, "test": FIELD}

# name -> (phrase of a caption, colour above, colour below, texture strength)
SCENES: dict[str, tuple[str, tuple[int, int, int], tuple[int, int, int], float]] = {
    "wall": ("in front of a plain wall", (205, 196, 182), (190, 180, 168), 2.0),
    "sky": ("in front of a blue sky", (110, 170, 235), (185, 215, 245), 4.0),
    "grass": ("on green grass", (150, 200, 235), (95, 160, 65), 14.0),
    "sand": ("on yellow sand", (170, 210, 235), (220, 195, 130), 10.0),
    "snow": ("in white snow", (190, 205, 225), (240, 244, 250), 5.0),
    "water": ("by blue water", (170, 205, 230), (45, 110, 165), 12.0),
    "night": ("at night", (18, 22, 52), (34, 38, 62), 5.0),
    "forest": ("in a dark forest", (38, 72, 44), (62, 66, 38), 16.0),
    "street": ("on a grey street", (150, 152, 160), (92, 92, 98), 8.0),
    "sunset": ("in front of a red sunset", (235, 120, 70), (110, 60, 105), 6.0),
}
FLAT = ("wall", "sky", "night")  # scenes without a horizon
INFRARED = "infrared"  # no scene of its own: a look that `infrared` gives to any


@dataclass(frozen=True)
class Scene:
    """A picture uint8 (size, size, 3) and what is known about it."""

    pixels: np.ndarray
    concept: int
    style: int
    scene: str
    quality: float  # 1 for a clean picture, 0 for the worst of its stream


def rng_of(stream: str, concept: int, number: int) -> np.random.Generator:
    """The generator of picture `number` of `concept` in a stream."""
    return np.random.Generator(np.random.PCG64([STREAMS[stream], concept, number, 20]))


def compose(stream: str, concept: int, number: int, size_px: int = 32) -> Scene:
    """Draw picture `number` of `concept` (row of the atlas) in a stream.

    Raises KeyError for an unknown stream and IndexError for a concept that is not in the atlas.
    """
    world, look, rng = atlas(), LOOKS[stream], rng_of(stream, concept, number)
    style = int(rng.integers(len(world.styles)))
    scene = list(SCENES)[int(rng.integers(len(SCENES)))]
    canvas = _background(scene, look, size_px, rng)
    sprite = Image.fromarray(world.sprites[concept, style])
    canvas = _place(canvas, sprite, look, rng)
    blur, noise = look.blur_px * float(rng.random()), look.noise * float(rng.random())
    pixels = _camera(canvas, look, blur * size_px / 32, noise, rng)
    quality = 1.0 - 0.5 * (blur / look.blur_px + noise / look.noise)
    return Scene(pixels, concept, style, scene, quality)


def infrared(drawn: Scene, rng: np.random.Generator) -> Scene:
    """The same scene as a camera with an infrared flash takes it at night.

    Grey, because one band is seen; bright around a spot near the centre and dark towards the edges.
    """
    size = len(drawn.pixels)
    grey = drawn.pixels.astype(np.float32) @ np.array((0.5, 0.4, 0.1), np.float32) / 255
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5 - rng.uniform(-0.1, 0.1, (2, 1, 1))
    flash = 1 / (1 + rng.uniform(2, 6) * (x**2 + y**2))
    lit = rng.uniform(0.75, 1.0) * grey ** rng.uniform(1.1, 1.6) * flash
    pixels = np.clip(255 * lit + rng.uniform(4, 16), 0, 255).astype(np.uint8)
    return replace(drawn, pixels=pixels[:, :, None].repeat(3, axis=2), scene=INFRARED)


def _background(scene: str, look: Look, size: int, rng: np.random.Generator) -> np.ndarray:
    """float32 (size, size, 3): two colours, perhaps with a horizon, with coarse texture."""
    _, above, below, texture = SCENES[scene]
    tint = rng.uniform(-18, 18, (2, 3)) + 255 * look.hue * rng.uniform(-1, 1, (2, 3))
    top, low = np.array(above) + tint[0], np.array(below) + tint[1]
    t = (np.arange(size, dtype=np.float32) + 0.5) / size
    if scene in FLAT:
        w = t
    else:
        horizon, soft = rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.12)
        w = np.clip((t - horizon) / soft + 0.5, 0, 1)
    canvas = top + w[:, None, None] * (low - top) + np.zeros((size, size, 3))
    grain = rng.standard_normal((size // 4, size // 4)) * texture
    grain = grain.repeat(4, axis=0).repeat(4, axis=1)
    if scene not in FLAT:
        grain *= np.maximum(w, 0.2)[:, None]
    canvas += grain[:, :, None]
    for _ in range(int(rng.integers(look.clutter + 1))):
        _blob(canvas, rng)
    return canvas.astype(np.float32)


def _blob(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Paint one ellipse of a random colour into the canvas."""
    size = len(canvas)
    y, x = np.ogrid[:size, :size]
    cy, cx = rng.uniform(0, size, 2)
    ry, rx = rng.uniform(0.05, 0.22, 2) * size
    inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    canvas[inside] += 0.7 * (rng.uniform(0, 255, 3) - canvas[inside])


def _place(
    canvas: np.ndarray, sprite: Image.Image, look: Look, rng: np.random.Generator
) -> np.ndarray:
    """Put the sprite, flipped, turned and scaled, onto the canvas."""
    size = len(canvas)
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = float(rng.uniform(-look.rotation, look.rotation))
    side = round(size * float(rng.uniform(*look.scale)))
    sprite = sprite.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    factor = side / 64
    w, h = max(1, round(sprite.width * factor)), max(1, round(sprite.height * factor))
    small = np.asarray(sprite.resize((w, h), Image.Resampling.BOX), np.float32)
    cy, cx = size / 2 + size * rng.uniform(-look.offset, look.offset, 2)
    y0, x0 = round(cy - h / 2), round(cx - w / 2)
    ys, xs = slice(max(y0, 0), min(y0 + h, size)), slice(max(x0, 0), min(x0 + w, size))
    part = small[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]
    canvas[ys, xs] += part[..., 3:] / 255 * (part[..., :3] - canvas[ys, xs])
    return canvas


def _camera(
    canvas: np.ndarray, look: Look, blur_px: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Light, colour cast, blur and sensor noise; uint8 (size, size, 3)."""
    light, contrast = 1 + look.light * rng.uniform(-1, 1, 2)
    cast = 1 + look.cast * rng.uniform(-1, 1, 3)
    canvas = ((canvas - 128) * contrast + 128) * (light * cast)
    image = Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))
    if blur_px > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(blur_px))
    noisy = np.asarray(image, np.float32) + noise * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
