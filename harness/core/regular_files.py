"""Reads whole files: regular ones of a bounded size, never a device or a pipe that may not end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from harness.core.errors import DataError, brief

MIB = 2**20
_NO_FILE = os.strerror(errno.ENOENT)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read(path: str | os.PathLike[str], largest_mib: float, expected: str | None = None) -> bytes:
    """The bytes of a regular file of at most that size; a link is followed.

    Raises DataError, which names the file: not there (`expected` says what should be), no regular
    file, too large, not readable. Nothing but a regular file is opened, so that none blocks.
    """
    try:
        _refuse_others(path, os.stat(path), expected)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_others(path, status, expected)  # it may be another one by now
            most = int(largest_mib * MIB)
            data = file.read(most + 1) if status.st_size <= most else b""
    except FileNotFoundError:
        fault = f"no such file; expected {expected}" if expected else f"cannot be read ({_NO_FILE})"
        raise DataError(f"{path}: {fault}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or brief(error)})") from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"{path}: cannot be read ({brief(error)})") from None
    if status.st_size > most or len(data) > most:
        raise _too_large(path, max(status.st_size, len(data)), largest_mib)
    return data


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path, links followed; one that leads to itself stays, for its reader to refuse.

    Before Python 3.13, Path.resolve raises RuntimeError for such a link.
    """
    return Path(os.path.realpath(path))


def refuse_other_kinds(
    path: str | os.PathLike[str], expected: str | None = None, largest_mib: float | None = None
) -> None:
    """DataError for a path that is no regular file, or too large: for who opens it otherwise.

    What is not there is left to the reader.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return
    _refuse_others(path, status, expected)
    if largest_mib is not None and status.st_size > largest_mib * MIB:
        raise _too_large(path, status.st_size, largest_mib)


def _too_large(path: str | os.PathLike[str], size: int, largest_mib: float) -> DataError:
    return DataError(f"{path}: {size / MIB:,.1f} MiB, at most {largest_mib:g} MiB are allowed")


def _refuse_others(
    path: str | os.PathLike[str], status: os.stat_result, expected: str | None
) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no file")
        raise DataError(f"{path}: is {kind}, expected {expected or 'a file'}")
