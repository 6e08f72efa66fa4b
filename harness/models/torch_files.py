"""Tensors and plain values in one file of torch's, replaced whole; damaged ones are not used.

The file is a ZIP archive with a CRC-32 of each of its members, which torch does not look at.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.core.digests import Damaged, damaged, remade
from harness.core.errors import DataError
from harness.core.files import write_atomic

BROKEN_ZIP = (
    OSError,  # a place before the file's beginning
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,  # said to be encrypted
    NotImplementedError,  # said to be compressed otherwise
    EOFError,
    LookupError,
    ValueError,
)
DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError)


def read_or_none(
    path: Path, identity: Sequence[str], again: str
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """As `read`, for who makes the content again where there is none: a damaged file is told."""
    try:
        return read(path, identity, again)
    except Damaged as error:
        remade(error)
        return None


def read(
    path: Path, identity: Sequence[str], again: str
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The entries of that name, which say whose the file is, and the others; None without a file.

    Tensors are on the CPU. Damaged for what is not what was written; again: see
    harness.core.digests. DataError for a file that cannot be read.
    """
    if not path.exists():
        return None
    check(path, again)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return tuple(content.pop(name) for name in identity), content
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except DAMAGED as error:
        raise damaged(path, error, again) from error


def check(path: Path, again: str) -> None:
    """Damaged unless each member of the archive is what was written; nothing is unpickled."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except BROKEN_ZIP as error:
        raise damaged(path, error, again) from error
    if broken is not None:
        raise damaged(path, f"{broken} is not what was written", again)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file. DataError (disk full, ...) leaves the old one."""
    buffer = io.BytesIO()  # torch hides a full disk behind RuntimeError
    torch.save(dict(content), buffer)
    write_atomic(path, buffer.getbuffer())
