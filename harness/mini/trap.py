"""What a camera trap of the built-in world takes: an animal, or nothing, at its place and hour.

Pictures of one sequence are a second or two apart: same animal, light and weather; it walks on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from harness.mini import scene
from harness.mini.habitat import Habitat, habitat, over
from harness.mini.things import smooth
from harness.mini.writing import SIDE_PX, rng_of

SMALLEST_PX = 14  # longest side of an animal
PAD_PX = 8  # what a blurred animal may stick out of its sheet
SEEN = 0.55  # of an animal should be seen: neither outside the picture nor behind a thing
TRIES = 6  # at so many places
DUSK = (5, 6, 18, 19)  # hours of the sun near the horizon
NIGHT = (20, 21, 22, 23, 0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Sequence:
    """What set the camera off. concept: row of the atlas, None when nothing did."""

    location: int
    biome: str
    concept: int | None
    bulk: float  # longest side of the animal, over that of a medium one
    hour: int
    name: str  # its generator's


@dataclass(frozen=True)
class Walk:
    """An animal on its way. x: of its middle, 0 to 1; ground: distance as in habitat.py."""

    sprite: Image.Image
    x: float
    step: float  # to the next picture
    ground: float
    side_px: float  # longest side
    haste: float  # how likely it is blurred


def picture(sequence: Sequence, frame: int) -> np.ndarray:
    """Picture number `frame` of a sequence, uint8 (64, 64, 3)."""
    place = habitat(sequence.location, sequence.biome)
    rng, own = rng_of("iwildcam", sequence.name), rng_of("iwildcam", sequence.name, frame)
    dark = sequence.hour in NIGHT
    walks = _walks(sequence, 0.55 if dark else 0.3, rng)
    front = place.fronts[int(rng.integers(len(place.fronts)))] if rng.random() < 0.45 else None
    gust = int(own.integers(-3, 4))
    light = _flash(place, rng) if dark else _daylight(place, sequence.hour, rng)
    canvas, depth = place.view.copy(), place.depth.copy()
    for walk in walks:
        _walk(canvas, depth, place, walk, frame, own)
    if front is not None:
        _sway(canvas, depth, front, gust)
    canvas = _infrared(canvas, depth, light) if dark else canvas * light
    return _sensor(canvas, place, dark, own)


# ---------------------------------------------------------------- animals


@cache
def _sprite(concept: int, style: int) -> Image.Image:
    """The drawing without its margin, premultiplied."""
    whole = Image.fromarray(scene.atlas().sprites[concept, style])
    return whole.crop(whole.getchannel("A").getbbox()).convert("RGBa")


def _walks(sequence: Sequence, haste: float, rng: np.random.Generator) -> list[Walk]:
    """The animals of a sequence, the farthest first: mostly one."""
    if sequence.concept is None:
        return []
    sprite = _sprite(sequence.concept, int(rng.integers(len(scene.atlas().styles))))
    sprite = _individual(sprite, rng)
    walks = []
    for _ in range(2 if rng.random() < 0.12 else 1):
        # Small animals set a camera off only when they are near.
        ground = float(rng.uniform(max(0.25, 0.62 - 0.35 * sequence.bulk), 1.05))
        side = SIDE_PX * sequence.bulk * (0.25 + 0.6 * ground) * float(rng.uniform(0.85, 1.2))
        step = float(rng.uniform(-0.16, 0.16))
        turned = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if step > 0 else sprite
        angle = float(rng.uniform(-7, 7))
        turned = turned.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        x = float(rng.uniform(0.05, 0.95))
        walks.append(Walk(turned, x, step, ground, max(side, SMALLEST_PX), haste))
    return sorted(walks, key=lambda walk: walk.ground)


def _individual(sprite: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The animal in duller colours than it is drawn in; some are lighter than others."""
    pixels = np.asarray(sprite, np.float32)
    alpha = pixels[..., 3:]
    grey = pixels[..., :3].mean(2, keepdims=True)
    dull, tone = float(rng.uniform(0.15, 0.45)), float(rng.uniform(0.72, 1.0))
    tint = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    colour = np.minimum((pixels[..., :3] + dull * (grey - pixels[..., :3])) * tone * tint, alpha)
    whole = np.concatenate([colour, alpha], axis=2)
    return Image.fromarray((whole + 0.5).astype(np.uint8), "RGBa")


def _walk(
    canvas: np.ndarray,
    depth: np.ndarray,
    place: Habitat,
    walk: Walk,
    frame: int,
    rng: np.random.Generator,
) -> None:
    """Put the animal into the picture, behind what stands nearer to the camera."""
    nearer = [(ground, layer) for ground, layer in place.things if ground > walk.ground]
    animal = _animal(place, walk, frame, [layer for _, layer in nearer], rng)
    _shadow(canvas, animal)
    over(canvas, animal)
    depth[animal[..., 3] > 127] = min(walk.ground + 0.2, 1.1)  # fur is bright in infrared
    for ground, layer in nearer:
        over(canvas, layer)
        depth[layer[..., 3] > 127] = ground


def _animal(
    place: Habitat, walk: Walk, frame: int, nearer: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The animal's layer (64, 64, 4), where enough of it can be seen or else the most."""
    factor = walk.side_px / max(walk.sprite.size)
    w, h = (max(2, round(n * factor)) for n in walk.sprite.size)
    small = np.asarray(walk.sprite.resize((w, h), Image.Resampling.BILINEAR), np.float32)
    whole = float(small[..., 3].sum(dtype=np.float64))
    x, feet = walk.x + walk.step * frame, place.horizon + (1 - place.horizon) * walk.ground
    smear = int(rng.integers(2, 7)) if rng.random() < walk.haste else 0
    rise = float(rng.uniform(-0.4, 0.4))
    best, most = np.zeros((SIDE_PX, SIDE_PX, 4), np.float32), -1.0
    for _ in range(TRIES):
        layer = _placed(small, x, feet, smear, rise)
        visible = layer[..., 3]
        for thing in nearer:
            visible = visible * (1 - thing[..., 3] / 255)
        share = float(visible.sum(dtype=np.float64)) / whole
        if share > most:
            best, most = layer, share
        if share >= SEEN:
            break
        x = float(rng.uniform(0.15, 0.85))
    return best


def _placed(small: np.ndarray, x: float, feet: float, smear: int, rise: float) -> np.ndarray:
    """The animal on an empty layer (64, 64, 4), smeared over so many pixels."""
    h, w = small.shape[:2]
    size = SIDE_PX + 2 * PAD_PX
    sheet = np.zeros((size, size, 4), np.float32)
    y0, x0 = round(PAD_PX + SIDE_PX * feet - h), round(PAD_PX + SIDE_PX * x - w / 2)
    ys, xs = slice(max(y0, 0), min(y0 + h, size)), slice(max(x0, 0), min(x0 + w, size))
    if ys.start < ys.stop and xs.start < xs.stop:
        sheet[ys, xs] = small[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]
    total = np.zeros((SIDE_PX, SIDE_PX, 4), np.float32)
    for i in range(smear + 1):
        dx = i - smear // 2
        dy, dx = PAD_PX + round(rise * dx), PAD_PX + dx
        total += sheet[dy : dy + SIDE_PX, dx : dx + SIDE_PX]
    return total / (smear + 1)


def _shadow(canvas: np.ndarray, layer: np.ndarray) -> None:
    """Darken the ground around the animal's feet."""
    rows, columns = (np.flatnonzero(layer[..., 3].max(axis) > 127) for axis in (1, 0))
    if not len(rows):
        return
    y, x = np.ogrid[:SIDE_PX, :SIDE_PX]
    rx, ry = max(2.0, 0.5 * len(columns)), max(1.5, 0.09 * len(rows))
    far = ((x - columns.mean()) / rx) ** 2 + ((y - rows[-1]) / ry) ** 2
    canvas *= 1 - 0.4 * np.clip(1.3 - far, 0, 1)[..., None]


def _sway(canvas: np.ndarray, depth: np.ndarray, front: np.ndarray, gust: int) -> None:
    moved = np.roll(front, gust, axis=1)
    over(canvas, moved)
    depth[moved[..., 3] > 127] = 1.15


# ---------------------------------------------------------------- light


def _daylight(place: Habitat, hour: int, rng: np.random.Generator) -> np.ndarray:
    """What to multiply colours with, (64, 64, 3): sun or clouds, and spots of sun under leaves."""
    bright = float(rng.uniform(0.75, 1.15))
    warm = np.ones(3, np.float32)
    if hour in DUSK:
        bright *= float(rng.uniform(0.6, 0.85))
        warm = np.array((1.12, 0.99, 0.84), np.float32)
    elif rng.random() < 0.35:  # overcast
        warm = np.array((0.95, 1.0, 1.05), np.float32)
    spots = 1 + place.dapple * np.clip(smooth(rng, 9), -1, 1.5)
    return bright * spots[..., None] * warm * place.cast


def _flash(place: Habitat, rng: np.random.Generator) -> np.ndarray:
    """How the infrared flash lights what is near, (64, 64)."""
    y, x = (np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32) + 0.5) / SIDE_PX
    cx, cy, fade = place.glow
    spot = 1 / (1 + fade * ((x - cx) ** 2 + (y - cy) ** 2))
    return spot * float(rng.uniform(0.8, 1.35))


def _infrared(canvas: np.ndarray, depth: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Grey, as one band is seen: leaves and fur are bright in it; what is far stays dark."""
    grey = 0.55 * canvas[..., 0] + 0.35 * canvas[..., 1] + 0.1 * canvas[..., 2]
    lit = 12 + (24 + 0.86 * grey) * light * (0.12 + 0.88 * np.minimum(depth, 1.0))
    return lit[..., None].repeat(3, axis=2)


def _sensor(canvas: np.ndarray, place: Habitat, dark: bool, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise and the strip with date and time; uint8 (64, 64, 3)."""
    image = Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))
    blur = float(rng.uniform(0, 0.9 if dark else 0.6))
    if blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(image, np.float32)
    bands = 1 if dark else 3
    grain = rng.standard_normal((SIDE_PX, SIDE_PX, bands), np.float32)
    pixels = pixels + place.noise * (2.2 if dark else 1.0) * grain
    if place.strip:
        low, high = (8, 210) if place.strip == 1 else (225, 40)
        pixels[-4:] = low
        pixels[-3:-1, 2:-2][:, rng.random(SIDE_PX - 4) < 0.45] = high
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
