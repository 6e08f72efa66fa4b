"""The official files of CIFAR-100: reading them, their checksums, and fetching them.

torchvision knows checksums and address.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.core import regular_files
from harness.core.errors import DataError, brief, quoted
from harness.datasets.offences import Faults
from harness.datasets.unpickle import LARGEST_MIB
from harness.datasets.unpickle import load as unpickle

T = TypeVar("T")

FOLDER = "cifar-100-python"
SIDE_PX = 32
OFFICIAL = (100, 50_000, 10_000)  # classes, training and test images; asked of profile `paper`


def class_names(path: Path) -> list[str]:
    """Spoken names by label, from the file `meta`; DataError when it is damaged."""
    names = _entry(path, unpickle(path), b"fine_label_names", list)
    if len(names) < 2 or not all(isinstance(n, bytes) for n in names):
        raise DataError(
            f"{path}: fine_label_names holds {len(names)} entries, expected two or more names in "
            "bytes"
        )
    return [n.decode("utf-8", errors="replace").replace("_", " ") for n in names]


def images(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3072) uint8 and labels (N,) int64 of one file, checked."""
    content = unpickle(path)
    pixels = _entry(path, content, b"data", np.ndarray)
    labels = _entry(path, content, b"fine_labels", list)
    width = 3 * SIDE_PX * SIDE_PX
    if pixels.ndim != 2 or pixels.shape[1] != width:
        raise DataError(f"{path}: data has shape {pixels.shape}, expected (N, {width})")
    if len(labels) != len(pixels):
        raise DataError(
            f"{path}: {len(labels)} fine_labels for {len(pixels)} images, expected one per image"
        )
    faults = Faults()
    for place, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < classes:
            faults.add(
                f"{path}: fine_labels[{place}] holds {quoted(label)}, expected whole numbers from "
                f"0 to {classes - 1} ({classes} names in meta)"
            )
    faults.refuse()
    return pixels, np.asarray(labels, dtype=np.int64)


def _entry(path: Path, content: dict[bytes, Any], name: bytes, kind: type[T]) -> T:
    """The entry of that name and type, or a DataError."""
    if name not in content:
        entries = ", ".join(sorted(str(k) for k in content)) or "nothing"
        raise DataError(f"{path}: holds {entries}, expected an entry {name!r}")
    if not isinstance(content[name], kind):
        got = type(content[name]).__name__
        raise DataError(f"{path}: {name!r} is a {got}, expected a {kind.__name__}")
    entry: T = content[name]
    return entry


def check_official(folder: Path, sizes: tuple[int, int, int]) -> None:
    """DataError unless there are as many classes, training and test images as officially."""
    if sizes != OFFICIAL:
        raise DataError(
            f"{folder}: {sizes[0]} classes, {sizes[1]} training and {sizes[2]} test images, but "
            f"profile paper needs the official CIFAR-100: {OFFICIAL[0]}, {OFFICIAL[1]} and "
            f"{OFFICIAL[2]}"
        )


def hwc(pixels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows RRR..GGG..BBB (N, 3072) as images (n, 32, 32, 3), contiguous."""
    planes = pixels[ids].reshape(-1, 3, SIDE_PX, SIDE_PX)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _official() -> Any:
    from torchvision.datasets import CIFAR100

    return CIFAR100


def verify(folder: Path) -> str:
    """A line on the files `train`, `test` and `meta`; Offences name those that are others."""
    known, faults = _official(), Faults()
    listed = [*known.train_list, *known.test_list]
    for name, md5 in [*listed, (known.meta["filename"], known.meta["md5"])]:
        path = folder / name
        try:
            digest = hashlib.md5(regular_files.read(path, LARGEST_MIB)).hexdigest()
        except DataError as error:
            faults.take(error)
            continue
        if digest != md5:
            faults.add(f"{path}: md5 {digest}, the official file has {md5}")
    faults.refuse()
    return "train, test and meta have the official checksums"


def fetch(root: Path) -> None:
    """Download and unpack to `root`/cifar-100-python; DataError when the transfer fails."""
    official = _official()
    try:
        official(str(root), download=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(
            f"cannot fetch CIFAR-100 ({brief(error)}); by hand: unpack {official.url} below {root}"
        ) from error
