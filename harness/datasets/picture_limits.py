"""Refuses pictures that would take too much memory or time, by their headers, before decoding.

$HARNESS_MEGAPIXELS (default 100) is the largest picture that is decoded. A picture of more than
8 megapixels whose file has less than a byte per 1,000 px is no photo but a decompression bomb, and
a JPEG of more than 100 scans takes minutes for a few kilobytes. Sizes of JPEG and WebP are read
here, since their decoders allocate memory as they open a file; Pillow reads those of other formats.
"""

from __future__ import annotations

import os
import struct
import warnings

from PIL import Image

from harness.core.errors import DataError, UsageError, quoted

VARIABLE = "HARNESS_MEGAPIXELS"
MEGAPIXELS = 100.0
SMALL_PX = 8_000_000  # pictures up to this size may be as empty as they like
SPARSEST_PX = 1000  # pixels of a byte
MOST_SCANS = 100  # of a JPEG; progressive ones have about 10
JPEG, WEBP = b"\xff\xd8\xff", b"RIFF"
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # markers among those of frames (C0 to CF) that are none

Image.MAX_IMAGE_PIXELS = None  # the limit here holds instead, and it is an error, no warning
warnings.filterwarnings("ignore", module=r"PIL\.")  # about damage that Pillow forgives


def megapixels() -> float:
    """The limit: that of the environment, else MEGAPIXELS; UsageError for what is no number."""
    text = os.environ.get(VARIABLE, "").strip()
    try:
        limit = float(text) if text else MEGAPIXELS
    except ValueError:
        limit = 0.0
    if not 0 < limit <= 1e6:
        raise UsageError(f"${VARIABLE}: {quoted(text)} is not allowed; a number above 0, in Mpx")
    return limit


def check(width: int, height: int, data_bytes: int, name: str) -> None:
    """DataError, which begins with `name`, for a size in px that is not decoded."""
    pixels = width * height
    if width < 1 or height < 1:
        raise DataError(f"{name}: {width}x{height} px, expected a picture")
    if pixels > megapixels() * 1e6:
        raise DataError(
            f"{name}: {width}x{height} px, at most {megapixels():g} megapixels are decoded; "
            f"${VARIABLE} sets another limit"
        )
    if pixels > SMALL_PX and pixels > SPARSEST_PX * data_bytes:
        raise DataError(f"{name}: {width}x{height} px in {data_bytes} bytes, expected a photo")


def check_header(data: bytes | memoryview, name: str) -> bool:
    """Check what JPEG and WebP say of their size; False for a header that is not understood."""
    head = bytes(data[:3])
    size: tuple[int, int] | None = None
    several = False
    if head == JPEG:
        frame = _jpeg(data)
        if frame is not None:
            size, several = frame[:2], frame[2]
    elif bytes(data[:4]) == WEBP:
        size = _webp(bytes(data[:30]))
    if size is None:
        return False
    check(*size, len(data), name)
    if several and bytes(data).count(b"\xff\xda") > MOST_SCANS:
        raise DataError(f"{name}: a JPEG of more than {MOST_SCANS} scans")
    return True


def _jpeg(data: bytes | memoryview) -> tuple[int, int, bool] | None:
    """Width, height, and whether there may be several scans; None for a damaged header."""
    at, frame = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            if at + 10 > len(data) or frame is not None:
                return None
            height, width, parts = struct.unpack(">HHB", data[at + 5 : at + 10])
            frame = width, height, parts, marker not in (0xC0, 0xC1)
        if marker == 0xDA:
            if frame is None or at + 5 > len(data):
                return None
            return frame[0], frame[1], frame[3] or data[at + 4] < frame[2]
        at += 2 + length
    return None


def jpeg_header_bytes(data: bytes | memoryview) -> int:
    """How many bytes of a JPEG come before its first scan; all of another or a damaged file."""
    if bytes(data[:3]) != JPEG:
        return len(data)
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            return at
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def _webp(head: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas; None for a damaged header."""
    if len(head) < 30 or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None
