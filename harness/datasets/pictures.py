"""Pictures by number: files that are decoded when they are asked for, or an array in memory."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import simplejpeg
from PIL import Image

from harness.core import regular_files
from harness.core.digests import LISTING, damaged, read_listing
from harness.core.errors import LIBRARY_ERRORS, DataError, brief
from harness.core.parallel import cores
from harness.core.registry import one_of
from harness.datasets import picture_limits
from harness.datasets.codec import rgb

T = TypeVar("T")

AGAIN = (
    "`harness verify --repair` and `harness index` write the built-in world's files again; restore "
    "others from their archive"
)
EXIF = b"Exif\x00\x00"
EXIF_VARIABLE = "HARNESS_EXIF"  # "apply" (default) or "ignore"
ORIENTATION = 0x0112  # EXIF's tag
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # what data sets have
LARGEST_MIB = 1024  # of a picture file
AT_ONCE = 4096  # pictures handed to the threads at a time


def read(path: str | os.PathLike[str], expected: str | None = None) -> np.ndarray:
    """The picture in a file, uint8 (H, W, 3); DataError when it is missing or damaged.

    expected: SHA-256 of the file's bytes, where a listing says it.
    """
    data = _bytes(path)
    if expected is not None:
        check(data, Path(path), expected)
    return decode(data, str(path))


def check(data: bytes, path: Path, expected: str) -> None:
    """Damaged unless these bytes of a picture file have that SHA-256."""
    if hashlib.sha256(data).hexdigest() != expected:
        raise damaged(path, f"its SHA-256 is not that in {LISTING}", AGAIN)


def listed(root: Path) -> dict[str, str]:
    """SHA-256 of the files below the root of a data set, by path, where it has a listing."""
    return read_listing(root / LISTING, AGAIN)


def decode(data: bytes, name: str = "picture") -> np.ndarray:
    """An encoded picture as RGB, uint8 (H, W, 3), upright: see harness.datasets.codec.rgb.

    The rotation that EXIF asks for is applied, unless $HARNESS_EXIF is "ignore". JPEG is decoded by
    simplejpeg; what it refuses (data between markers, say) and other formats, by Pillow. DataError,
    which begins with `name`, for a file that is cut off, damaged, no picture, or larger than
    harness.datasets.picture_limits allows.
    """
    if not data:
        raise DataError(f"{name}: empty, expected a picture")
    return _upright(_pixels(data, name), orientation(data) if _exif_applies() else 1)


def _pixels(data: bytes, name: str) -> np.ndarray:
    """The picture as it is stored."""
    readable = picture_limits.check_header(data, name)
    if data[:3] == picture_limits.JPEG and readable:
        try:
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
        except (ValueError, RuntimeError):
            pass  # Pillow tells more, and forgives what does no harm
    with _opened(data, name) as image:
        return rgb(image)


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """The picture, its header read; DataError for what Pillow refuses, now or later."""
    readable = picture_limits.check_header(data, name)
    if data[:4] == picture_limits.WEBP and not readable:
        raise DataError(f"{name}: {len(data)} bytes, expected a whole WEBP")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            picture_limits.check(image.size[0], image.size[1], len(data), name)
            yield image
    except Image.UnidentifiedImageError as error:  # whose text has an address in memory
        content = f"{len(data)} bytes that begin {data[:8]!r}"
        raise DataError(f"{name}: {content}, expected a whole {' or '.join(FORMATS)}") from error
    except LIBRARY_ERRORS as error:
        content = f"{len(data)} bytes that no decoder reads ({brief(error, 100)})"
        raise DataError(f"{name}: {content}, expected a whole picture") from error


def size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width in px that `read` would give, from the header; DataError as there."""
    data = _bytes(path)
    if not data:
        raise DataError(f"{path}: empty, expected a picture")
    with _opened(data, str(path)) as image:
        width, height = image.size
    turned = _exif_applies() and orientation(data) > 4
    return (width, height) if turned else (height, width)


def orientation(data: bytes) -> int:
    """EXIF's orientation of an encoded picture, 1 to 8; 1 (upright) where there is none."""
    header = data[: picture_limits.jpeg_header_bytes(data)]  # where a JPEG has its EXIF
    if EXIF not in header and b"EXIF" not in header and b"eXIf" not in header:
        return 1  # WebP and PNG spell it otherwise than JPEG
    try:
        with _opened(data, "picture") as image:
            value = image.getexif().get(ORIENTATION, 1)
    except DataError:  # damaged EXIF, around a picture that may be whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(stored: np.ndarray, turn: int) -> np.ndarray:
    """The picture (H, W, 3) as EXIF's orientation 1 to 8 says it is to be seen."""
    if turn == 1:
        return stored
    if turn > 4:
        stored = stored.transpose(1, 0, 2)
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(stored[rows, columns])


def _exif_applies() -> bool:
    value = os.environ.get(EXIF_VARIABLE) or "apply"
    return one_of(f"${EXIF_VARIABLE}", value, ("apply", "ignore")) == "apply"


def reading() -> str:
    """What sets the reading of pictures apart from the default; "" where nothing does."""
    return "" if _exif_applies() else "EXIF ignored"


def examined(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of the bytes of a picture that decodes; DataError when it does not."""
    data = _bytes(path)
    decode(data, str(path))
    return hashlib.sha256(data).hexdigest()


def digest(path: str | os.PathLike[str], expected: str | None = None) -> str:
    """SHA-256 (hex) of a file's bytes; expected: as in `read`.

    Of a picture that EXIF turns, while that is ignored, it is another one: other pixels come of the
    same bytes.
    """
    data = _bytes(path)
    if expected is not None:
        check(data, Path(path), expected)
    if not _exif_applies() and orientation(data) != 1:
        data += reading().encode()
    return hashlib.sha256(data).hexdigest()


def _bytes(path: str | os.PathLike[str]) -> bytes:
    return regular_files.read(path, LARGEST_MIB, "a picture")


def threads() -> int:
    """Threads this process may use: OMP_NUM_THREADS, by which it is told, or its cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) else cores()


def each(function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """function(path) of each, by several threads, in order."""
    with ThreadPoolExecutor(threads()) as pool:
        for first in range(0, len(paths), AT_ONCE):
            yield from pool.map(function, paths[first : first + AT_ONCE])


class Files:
    """Picture files below a root, decoded by several threads in the order asked for.

    budget_gib: when all pictures have one size and fit, they are decoded once, into one block of
    memory of at most so many GiB; otherwise each time. Several threads may take at once.
    listing: SHA-256 by path: each picture that it names is checked whenever it is read.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        paths: Sequence[str],
        budget_gib: float = 1.0,
        workers: int | None = None,
        listing: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.paths, self.listing = Path(root), paths, listing or {}
        self.budget_gib, self.workers = budget_gib, workers or threads()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()  # a fork of it has no threads, and others beside it work, too
        self._keep = budget_gib > 0
        self._block: np.ndarray | None = None  # (N, H, W, 3)
        self._filled = np.zeros(0, bool)  # (N,) which pictures the block holds

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the names, not the pixels."""
        return Files, (self.root, self.paths, self.budget_gib, self.workers, self.listing)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, ids: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """ids (B,) -> uint8 (B, H, W, 3), or a list of (H, W, 3) when sizes differ.

        DataError names the first file that is missing or damaged, or a number there is not.
        """
        ids = _inside(ids, len(self))
        block = self._block
        if block is None:
            pictures = self._map(self._read, ids)
            self._begin(ids, pictures)
            return _together(pictures)
        new = np.unique(ids[~self._filled[ids]])
        if len(new):
            pictures = self._map(self._read, new)
            if any(picture.shape != block.shape[1:] for picture in pictures):
                self._block, self._keep = None, False  # sizes differ after all
                return _together(self._map(self._read, ids))
            block[new] = pictures
            self._filled[new] = True
        return block[ids]

    def digests(self, ids: np.ndarray) -> list[str]:
        """SHA-256 (hex) of the bytes of these files."""
        return self._map(self._digest, _inside(ids, len(self)))

    def _read(self, path: str) -> np.ndarray:
        return read(self.root / path, self.listing.get(path))

    def _digest(self, path: str) -> str:
        return digest(self.root / path, self.listing.get(path))

    def _begin(self, ids: np.ndarray, pictures: list[np.ndarray]) -> None:
        """Make the block, once the first pictures say how large it is."""
        with self._lock:
            if not self._keep or self._block is not None or not pictures:
                return
            largest = max(pictures, key=lambda picture: picture.nbytes)
            fits = len(self) * largest.nbytes <= self.budget_gib * 2**30
            if not fits or any(picture.shape != largest.shape for picture in pictures):
                self._keep = False
                return
            block = np.empty((len(self), *largest.shape), np.uint8)
            block[ids] = pictures
            self._filled = np.zeros(len(self), bool)
            self._filled[ids] = True
            self._block = block

    def _map(self, function: Callable[[str], T], ids: np.ndarray) -> list[T]:
        """function(path) of each, in order; each thread does a run of neighbours."""
        paths = [self.paths[i] for i in ids.tolist()]
        if self.workers == 1 or len(paths) < 2 or os.getpid() != self._process:
            return [function(path) for path in paths]
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(self.workers, "pictures")
        parts = _runs(paths, 4 * self.workers)
        done = self._pool.map(lambda part: [function(path) for path in part], parts)
        return list(chain.from_iterable(done))


class Block:
    """Pictures in memory, uint8 (N, H, W, 3), never copied as a whole."""

    def __init__(self, pixels: np.ndarray, folder: Path | None = None) -> None:
        """folder: which has the files that they come from."""
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
            raise DataError(f"pictures are uint8 (N, H, W, 3), not {pixels.dtype} {pixels.shape}")
        self.pixels, self.folder = pixels, folder

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """ids (B,) -> uint8 (B, H, W, 3); DataError for a number there is not."""
        return self.pixels[_inside(ids, len(self))]

    def digests(self, ids: np.ndarray) -> list[str]:
        """SHA-256 (hex) of the pixels of these pictures, in order HWC."""
        chosen = (self.pixels[i] for i in _inside(ids, len(self)))
        return [hashlib.sha256(picture.tobytes()).hexdigest() for picture in chosen]


def _inside(ids: np.ndarray, n: int) -> np.ndarray:
    ids = np.asarray(ids, np.int64)
    if len(ids) and not (ids.min() >= 0 and ids.max() < n):
        raise DataError(f"picture {ids.min()} or {ids.max()} is not in 0..{n - 1}")
    return ids


def _together(pictures: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    one_size = len({picture.shape for picture in pictures}) == 1
    return np.stack(pictures) if one_size else pictures


def _runs(items: list[str], n: int) -> Iterator[list[str]]:
    """At most n runs of neighbours that differ in length by one at most."""
    ends = np.linspace(0, len(items), min(n, len(items)) + 1).astype(int)
    return (items[a:b] for a, b in pairwise(ends))
