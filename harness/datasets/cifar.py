"""The official files of CIFAR-100: their checksums, and fetching them; torchvision knows both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from harness.core.errors import DataError, brief


def _official() -> Any:
    from torchvision.datasets import CIFAR100

    return CIFAR100


def verify(folder: Path) -> str:
    """A line on the files `train`, `test` and `meta`; DataError names one that is another."""
    known = _official()
    listed = [*known.train_list, *known.test_list]
    for name, md5 in [*listed, (known.meta["filename"], known.meta["md5"])]:
        path = folder / name
        try:
            found = hashlib.md5(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        if found != md5:
            raise DataError(f"{path}: md5 {found}, the official file has {md5}")
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
