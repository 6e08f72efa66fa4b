"""Tensors and plain values in one file of torch's, replaced whole; damaged ones are refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import DataError
from harness.core.files import write_atomic

DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError)


def read(
    path: Path, identity: Sequence[str], remedy: str
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The entries of that name, which say whose the file is, and the others; None without a file.

    Tensors are on the CPU. DataError for a file that cannot be read or is damaged, whose `remedy`
    ends the sentence: "remove it to ...".
    """
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return tuple(content.pop(name) for name in identity), content
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except DAMAGED as error:
        raise DataError(f"{path} is damaged; {remedy}") from error


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file. DataError (disk full, ...) leaves the old one."""
    buffer = io.BytesIO()  # torch hides a full disk behind RuntimeError
    torch.save(dict(content), buffer)
    write_atomic(path, buffer.getbuffer())
