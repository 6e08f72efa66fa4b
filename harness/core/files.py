"""Writing files so that they appear whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.core.errors import DataError

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", os.uname().nodename)[:40] or "host"
_LEFTOVER = re.compile(r"\..+\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp")
_ABANDONED_S = 24 * 3600  # a temporary file of another host, whose processes cannot be asked


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that becomes `path` when the block ends without an error.

    The data is on the disk before the name is: temporary name in the same folder, fsync, rename,
    fsync of the folder. An existing `path` is replaced, never written into. Several processes may
    write the same path at once: the last one to end wins, and no reader sees a mixture.
    Raises DataError (disk full, read-only, not allowed); `path` is then as it was.
    """
    tmp = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(tmp, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            tmp.unlink()


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Make `path` hold `data`, all of it or (DataError) what it held before."""
    with atomic(path) as file:
        file.write(data)


def leftovers(folder: Path) -> list[Path]:
    """Temporary files below `folder` whose writer was killed; those of running writers are not."""
    return sorted(tmp for tmp in folder.rglob(".*.tmp") if _abandoned(tmp))


def sweep(folder: Path) -> list[Path]:
    """Remove `leftovers(folder)` and say which they were."""
    gone = leftovers(folder)
    for tmp in gone:
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            tmp.unlink()
    return gone


def _abandoned(tmp: Path) -> bool:
    match = _LEFTOVER.fullmatch(tmp.name)
    if match is None:
        return False
    if match["host"] == _HOST and not _alive(int(match["pid"])):
        return True
    try:
        return time.time() - tmp.stat().st_mtime > _ABANDONED_S
    except FileNotFoundError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
