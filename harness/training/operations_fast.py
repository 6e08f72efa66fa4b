"""Random chains of operations on many small pictures at once: Pillow's pixels in less time.

Tables and maps are asked from Pillow where it can be asked; what is computed here follows its
arithmetic (orders, roundings, borders), so that no pixel differs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image

from harness.training.operations import (
    INDEX,
    OPERATIONS,
    TOP,
    Plan,
    apply_one_by_one,
    change,
    margin,
    strength,
)

Array = np.ndarray

# Measured on one thread with states 0..10, in batches of 64: 4 times Pillow's images per second at
# 32 px (5 in batches of 128, 6 to 7 of 512), 2.5 at 64 px, 1.5 at 128 px, 1.3 at 224 px, where the
# tables of one size take 50 MB: larger pictures are left to Pillow.
LARGEST_PIXELS = 128 * 128
CHUNK_BYTES = 1 << 22  # of pixels worked on together


def apply(images: Array, plan: Plan) -> Array:
    """images uint8 (B, H, W, 3) after their chains: the pixels of `apply_one_by_one`.

    Pictures of more than 128 x 128 pixels are left to Pillow.
    """
    h, w = images.shape[1:3]
    if h * w > LARGEST_PIXELS or min(h, w) < 3:
        return apply_one_by_one(images, plan)
    changed = np.array(images, order="C")
    size = max(1, CHUNK_BYTES // (3 * h * w))
    for part in (slice(first, first + size) for first in range(0, len(images), size)):
        _run(changed[part], plan.part(part))
    return changed


def _run(pixels: Array, plan: Plan) -> None:
    """Change pixels (B, H, W, 3) in place.

    Pictures do not wait for each other's steps: of the families that come next somewhere, one is
    done for all pictures that need it; which one, the pictures with most before them decide.
    """
    chains = np.full((len(pixels), TOP + 1), -1)  # a column more, for those that have ended
    ahead = np.arange(TOP) < plan.states[:, None]
    negative = plan.minus & _SIGNED[plan.operations]
    chains[:, :TOP][ahead] = (plan.operations + len(OPERATIONS) * negative)[ahead]
    flat, left = chains.ravel(), plan.states.copy()
    families, ends = _FAMILY_OF[flat], np.arange(0, flat.size, TOP + 1) + left
    while left.any():
        place = ends - left
        family = families.take(place)
        chosen = int(np.bincount(family, left**3).argmax())
        now = np.flatnonzero(family == chosen)
        which, states = flat.take(place.take(now)), plan.states.take(now)
        pixels[now] = _FAMILIES[chosen](pixels.take(now, axis=0), which, states)
        left[now] -= 1


# ---------------------------------------------------------------- families of operations
# Each takes pixels uint8 (b, H, W, 3) with the operation (22 more for -v) and the state of each
# picture (b,), and returns the changed pixels in a new array.


def _moved(pixels: Array, which: Array, states: Array) -> Array:
    """What only moves pixels."""
    b, h, w, _ = pixels.shape
    black_last = np.empty((b, h * w + 1, 3), np.uint8)
    black_last[:, :-1] = pixels.reshape(b, -1, 3)
    black_last[:, -1] = 0
    index = _maps(h, w).take(_NUMBER.take(which) * (TOP + 1) + states, axis=0)
    index += np.arange(0, b * (h * w + 1), h * w + 1)[:, None]
    return black_last.reshape(-1, 3).take(index, axis=0).reshape(pixels.shape)


@functools.lru_cache(maxsize=4)
def _maps(h: int, w: int) -> Array:
    """(operations x 11, H * W): which pixel comes to a place, H * W being the black fill.

    Pillow is asked what it makes of a picture of numbers.
    """
    numbered = Image.fromarray(np.arange(1, h * w + 1, dtype=np.int32).reshape(h, w))
    pixel_of = np.zeros((_NUMBER.max() + 1, TOP + 1, h * w), np.int64)
    moves = list(_MEMBERS).index(_moved)
    for which in np.flatnonzero(moves == _FAMILY_OF):
        minus, operation = divmod(int(which), len(OPERATIONS))
        for state in range(TOP + 1):
            moved = change(numbered, operation, state, minus=bool(minus))
            pixel_of[_NUMBER[which], state] = np.asarray(moved).ravel()
    return np.where(pixel_of > 0, pixel_of - 1, h * w).reshape(-1, h * w)


def _bits(pixels: Array, which: Array, states: Array) -> Array:
    """x + added; its complement from a threshold on; of that the bits kept."""
    added, threshold, flips, masks = _steps()[:, which, states][..., None, None, None]
    changed = np.minimum(pixels, 255 - added)
    changed += added
    flipped = (changed >= threshold).view(np.uint8)
    flipped *= flips
    changed ^= flipped
    changed &= masks
    return changed


@functools.cache
def _steps() -> Array:
    """(4, 22, 11) uint8: what `_bits` adds, where it flips, which bits, and which it keeps."""
    v, steps = _strengths(), np.zeros((4, len(OPERATIONS), TOP + 1), np.uint8)
    steps[0, INDEX["SolarizeAdd"]] = v[INDEX["SolarizeAdd"]]
    steps[1, INDEX["SolarizeAdd"]] = 128
    steps[1, INDEX["Solarize"]] = np.ceil(v[INDEX["Solarize"]])
    steps[2, [INDEX[name] for name in ("Invert", "Solarize", "SolarizeAdd")]] = 255
    steps[3] = 255
    bits = np.maximum(v[INDEX["Posterize"]].astype(np.int64), 1)
    steps[3, INDEX["Posterize"]] = 256 - (256 >> bits)
    return steps


@functools.cache
def _strengths() -> Array:
    """(22, 11)."""
    every = range(len(OPERATIONS))
    return np.array([[strength(index, state) for state in range(TOP + 1)] for index in every])


def _stretched(pixels: Array, which: Array, states: Array) -> Array:
    """AutoContrast: least and most of a channel become 0 and 255."""
    b, h, w, _ = pixels.shape
    lines = pixels.reshape(b, h, w * 3)  # numpy is slow along an axis of three
    low = lines.min(1).reshape(b, w, 3).min(1, keepdims=True).astype(np.float64)
    high = lines.max(1).reshape(b, w, 3).max(1, keepdims=True)
    flat = high <= low
    scale = 255.0 / (high - low + flat)
    scale[flat] = 1
    offset = -low * scale
    offset[flat] = 0
    channel = np.arange(w * 3) % 3
    stretched = lines * scale.take(channel, axis=2)
    stretched += offset.take(channel, axis=2)
    return stretched.astype(np.uint8).reshape(pixels.shape)


def _equalized(pixels: Array, which: Array, states: Array) -> Array:
    """Equalize: values so that each becomes about as frequent as the others."""
    b, h, w, _ = pixels.shape
    start = np.arange(0, b * 768, 768)[:, None, None] + np.arange(w * 3) % 3 * 256
    place = pixels.reshape(b, h, w * 3) + start  # in the tables of all channels
    counts = np.bincount(place.reshape(-1), minlength=b * 768).reshape(b * 3, 256)
    upto = counts.cumsum(1)
    last = upto.argmax(1)  # the largest value that occurs
    step = (h * w - counts[np.arange(b * 3), last])[:, None] // 255
    table = (upto - counts + step // 2) / np.maximum(step, 1)
    table = np.where(step > 0, np.minimum(table, 255), np.arange(256)).astype(np.uint8)
    return table.reshape(-1).take(place).reshape(pixels.shape)


def _blended(pixels: Array, which: Array, states: Array) -> Array:
    """Color: towards the grey picture; Contrast: towards its mean; Brightness: towards black."""
    end = pixels.astype(np.float32)
    start = (end.reshape(-1, 3) @ _GREY).reshape(end.shape)  # exact: multiples of 2 ** -16
    start += np.float32(0.5)
    np.floor(start, out=start)
    flat = np.flatnonzero(which == INDEX["Contrast"])
    mean = start[flat, :, :, 0].mean((1, 2), dtype=np.float64)
    start[flat] = np.floor(mean + 0.5)[:, None, None, None]
    start[which == INDEX["Brightness"]] = 0
    return _between(start, end, which, states)


def _between(start: Array, end: Array, which: Array, states: Array) -> Array:
    """The strength is the way from start (0) to end (1), each float32 (b, H, W, 3)."""
    end -= start
    end *= _strengths()[which, states].astype(np.float32).reshape(-1, 1, 1, 1)
    end += start
    return end.astype(np.uint8)


def _filtered(pixels: Array, which: Array, states: Array) -> Array:
    """EdgeEnhance: (10 c - the eight around it) / 2; Smooth: (5 c + the eight around it) / 13.

    Both rounded to the nearest. Sharpness: towards Smooth.
    """
    row, x = 3 * pixels.shape[2], pixels.reshape(len(pixels), -1).astype(np.int16)
    column = x[:, : -2 * row] + x[:, row:-row]
    column += x[:, 2 * row :]
    square = column[:, :-6] + column[:, 3:-3]  # the sum of all nine
    square += column[:, 6:]
    centre = x[:, row + 3 : -row - 3]
    edge = which == INDEX["EdgeEnhance"]
    rows, rest = np.flatnonzero(edge), np.flatnonzero(~edge)
    if len(rows):
        doubled = centre[rows]
        doubled *= 11
        doubled -= square[rows]
        doubled += 1
        doubled >>= 1
        square[rows] = doubled.clip(0, 255, out=doubled)
    if len(rest):
        smooth = centre[rest]
        smooth <<= 2
        smooth += square[rest]
        smooth += 6
        smooth //= 13
        square[rest] = smooth
    changed = _with_border(pixels, square)
    rows = np.flatnonzero(which == INDEX["Sharpness"])
    if len(rows):
        start, end = (a[rows].astype(np.float32) for a in (changed, pixels))
        changed[rows] = _between(start, end, which[rows], states[rows])
    return changed


def _detailed(pixels: Array, which: Array, states: Array) -> Array:
    """Detail: (10 c - the four beside it) / 6, summed in Pillow's order because halves occur."""
    row, x = 3 * pixels.shape[2], pixels.reshape(len(pixels), -1).astype(np.float32)
    beside = x * np.float32(-1 / 6)
    line = beside[:, row : -row - 6] + x[:, row + 3 : -row - 3] * np.float32(10 / 6)
    line += beside[:, row + 6 : -row]
    inner = beside[:, 2 * row + 3 : -3] + np.float32(0.5)
    inner += line
    inner += beside[:, 3 : -2 * row - 3]
    return _with_border(pixels, inner.clip(0, 255, out=inner))


def _with_border(pixels: Array, inner: Array) -> Array:
    """What a 3 x 3 kernel found from the second pixel of the second row to the last but one of the
    last row but one; the border stays as it was.
    """
    b, h, w, _ = pixels.shape
    changed = np.empty_like(pixels)
    changed.reshape(b, -1)[:, w * 3 + 3 : -w * 3 - 3] = inner
    changed[:, :: h - 1] = pixels[:, :: h - 1]
    changed[:, :, :: w - 1] = pixels[:, :, :: w - 1]
    return changed


def _blurred(pixels: Array, which: Array, states: Array) -> Array:
    """GaussianBlur: three times a mean of three along the rows, then along the columns."""
    b, h, w, _ = pixels.shape
    across = _turned(pixels, 2, 0, 1)  # (W, b, H * 3): shifts are fast along axis 0
    across = _three_means(across, states).reshape(w, b, h, 3)
    down = _turned(across, 2, 1, 0)  # (H, b, W * 3)
    return _three_means(down, states).swapaxes(0, 1).reshape(pixels.shape)


def _three_means(lines: Array, states: Array) -> Array:
    """Along axis 0 of uint8 (n, b, m); what lies outside is as the border."""
    x = lines.astype(np.uint32)
    middle, side = np.repeat(_box()[:, states], x.shape[2], axis=1).reshape(2, *x.shape[1:])
    beside = np.empty_like(x)
    for _ in range(3):
        np.add(x[:-2], x[2:], out=beside[1:-1])
        np.add(x[0], x[1], out=beside[0])
        np.add(x[-1], x[-2], out=beside[-1])
        beside *= side
        x *= middle
        x += beside
        x += np.uint32(1 << 23)
        x >>= np.uint32(24)
    return x.astype(np.uint8)


def _turned(pixels: Array, *axes: int) -> Array:
    """uint8 (i, j, k, 3) with its first three axes in this order, as (.., .., .. * 3)."""
    return np.ascontiguousarray(pixels.view("V3")[..., 0].transpose(axes)).view(np.uint8)


@functools.cache
def _box() -> Array:
    """Weights (2, 11) of the pixel itself and of those beside it, in units of 2 ** -24.

    Three passes have the variance of the Gaussian (Gwosdek et al. 2011, equation 14, l = 0; in
    single precision as Pillow); a radius below 1, as all are here, reaches one pixel far.
    """
    radius = _strengths()[INDEX["GaussianBlur"]].astype(np.float32)
    variance = radius * radius / np.float32(3)
    fraction = -3 * variance / (6 * (variance - 1))
    middle = (np.float32(1 << 24) / (fraction * 2 + 1)).astype(np.uint32)
    return np.stack([middle, ((1 << 24) - middle) // 2])


def _enlarged(pixels: Array, which: Array, states: Array) -> Array:
    """ResizeCrop: as matrices, rounded to a byte between the directions as Pillow does."""
    for side in (pixels.shape[2], pixels.shape[1]):  # rows first, each time turning the picture
        lines = _turned(pixels, 0, 2, 1)
        product = np.matmul(_lanczos(side)[states], lines.astype(np.float64))
        product += 0.5
        product.clip(0, 255, out=product)
        pixels = product.astype(np.uint8).reshape(len(pixels), side, -1, 3)
    return pixels


@functools.lru_cache(maxsize=4)
def _lanczos(side: int) -> Array:
    """Weights (11, side, side) of the old pixels in the new ones, multiples of 2 ** -22."""
    weights, old = np.zeros((TOP + 1, side, side)), np.arange(side)
    for state in range(TOP + 1):
        v = strength(INDEX["ResizeCrop"], state)
        centre = (old[:, None] + margin(side, v) + 0.5) * (side / int(side * v))
        near = (old >= np.trunc(centre - 2.5)) & (old < np.trunc(centre + 3.5))
        away = np.where(near, old - centre + 0.5, 3)
        window = np.where(abs(away) < 3, np.sinc(away) * np.sinc(away / 3), 0)
        window /= window.sum(1, keepdims=True)
        weights[state] = np.round(window * 2**22) / 2**22
    return weights


_MEMBERS: dict[Callable[[Array, Array, Array], Array], str] = {
    _moved: "Flip Mirror Rotate ShearX ShearY TranslateX TranslateY",
    _bits: "Invert Posterize Solarize SolarizeAdd",
    _stretched: "AutoContrast",
    _equalized: "Equalize",
    _blended: "Color Contrast Brightness",
    _filtered: "EdgeEnhance Smooth Sharpness",
    _detailed: "Detail",
    _blurred: "GaussianBlur",
    _enlarged: "ResizeCrop",
}
_GREY = np.repeat(np.array([[19595], [38470], [7471]], np.float32) / 2**16, 3, axis=1)
_FAMILIES = tuple(_MEMBERS)
_SIGNED = np.array([operation.signed for operation in OPERATIONS])
_FAMILY_OF = np.full(2 * len(OPERATIONS) + 1, len(_FAMILIES))  # the last: of chains that have ended
_NUMBER = np.zeros(2 * len(OPERATIONS), np.int64)  # place of an operation within its family
for _family, _names in enumerate(_MEMBERS.values()):
    _which = [INDEX[name] for name in _names.split()]
    _which += [len(OPERATIONS) + index for index in _which if OPERATIONS[index].signed]
    _FAMILY_OF[_which] = _family
    _NUMBER[_which] = range(len(_which))
