"""Images as bytes: uint8 arrays (H, W, 3) to WebP or JPEG and back."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image, WebPImagePlugin

from harness.core.errors import LIBRARY_ERRORS, DataError, brief
from harness.core.registry import one_of
from harness.datasets.picture_limits import check_header

_AT_ONCE_PX = 2**20
EXTENSION = {"webp-lossless": "webp", "jpeg": "jpg"}

if not WebPImagePlugin.SUPPORTED:  # Pillow keeps to itself why; every WebP would seem damaged
    raise DataError(
        "Pillow cannot load its WebP library: not installed, or memory does not suffice"
    )


def encode(image: np.ndarray, codec: str) -> bytes:
    """Encode one image, uint8 (H, W, 3); equal arrays give equal bytes.

    "webp-lossless" keeps every pixel (method 0, quality 0: smaller and faster than PNG); "jpeg" is
    quality 95 without chroma subsampling (fastest to decode).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if one_of("codec", codec, tuple(EXTENSION)) == "jpeg":
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), 95, "RGB", "444", False)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", lossless=True, quality=0, method=0)
    return out.getvalue()


def resized(image: np.ndarray, width_px: int, height_px: int = 0) -> np.ndarray:
    """An image at that size (Lanczos), the same array when it has it already.

    height_px: 0 for a square. The whole image is kept; its sides may change their ratio.
    """
    size = (width_px, height_px or width_px)
    if image.shape[1::-1] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def rgb(image: Image.Image) -> np.ndarray:
    """A picture of any mode as uint8 (H, W, 3).

    16-bit grey is scaled to 8 bits (rounded, 65,535 is white), and transparency is laid on white;
    palettes, grey, 1-bit and CMYK are converted. Large pictures are converted in strips, as the
    steps between take several times the memory.
    """
    if image.width * image.height <= _AT_ONCE_PX:
        return _rgb(image)
    image.load()
    step = max(1, _AT_ONCE_PX // image.width)
    parts = [
        _rgb(image.crop((0, top, image.width, min(top + step, image.height))))
        for top in range(0, image.height, step)
    ]
    return np.concatenate(parts)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65_535)
        grey = ((wide + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    colour, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def extension(data: bytes | memoryview) -> str:
    """File name extension of an encoded image, told from its first bytes; else DataError."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise DataError(
        f"neither JPEG nor WebP: {len(data)} bytes that start with {bytes(data[:12])!r}"
    )


def decode(data: bytes | memoryview, out: np.ndarray | None = None) -> np.ndarray:
    """Decode JPEG or WebP to uint8 (H, W, 3); DataError for anything else or anything damaged.

    out: contiguous, uint8; a JPEG that fits in is decoded there, and the result is a view of it.
    """
    kind = extension(data)
    name = f"a damaged {kind} image of {len(data)} bytes"
    if not check_header(data, name):
        raise DataError(f"{name}: its header is damaged")
    try:
        if kind == "jpg":
            return simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            return rgb(image)
    except LIBRARY_ERRORS as error:
        raise DataError(f"{name}: {brief(error)}") from error
