"""Writing files so that they appear whole, or not at all, and removing what killed writers left.

A temporary file is locked as long as its writer lives (harness.core.locks).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.core import locks
from harness.core.errors import DataError

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8}|lock)\.tmp", re.DOTALL)
_NAME_BYTES = 200  # of the 255 that a file system takes
_ABANDONED_S = 24 * 3600  # where locks do not work, or are not seen by other hosts


@contextlib.contextmanager
def atomic(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that becomes `path` when the block ends without an error.

    The data is on the disk before the name is: temporary name in the same folder, fsync, rename,
    fsync of the folder. An existing `path` is replaced, never written into. Several processes may
    write the same path at once: the last one to end wins, and no reader sees a mixture. A device
    or a pipe is written into, as nothing can take its place.
    sync: False where the file is easily made again; a crash of the machine may then empty it.
    Raises DataError (disk full, read-only, not allowed); `path` is then as it was.
    """
    try:
        if _is_device(path):
            with open(path, "wb") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp, handle = _create(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            os.replace(tmp, path)  # before the lock goes
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            tmp.unlink()


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder that becomes `path`, which is empty or not there, when the block ends well."""
    tmp = _temporary(path)
    try:
        tmp.mkdir(parents=True)
        handle = os.open(tmp, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        locks.seize(handle)
        yield tmp
        os.replace(tmp, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
        os.close(handle)


def write_atomic(path: Path, data: bytes | memoryview, sync: bool = True) -> None:
    """Make `path` hold `data`, all of it or (DataError) what it held before."""
    with atomic(path, sync) as file:
        file.write(data)


def leftovers(folder: Path, below: bool = True) -> list[Path]:
    """Temporary files and folders whose writer was killed; those of running writers are not.

    below: also those in folders below `folder`.
    """
    return sorted(tmp for tmp in _temporaries(folder, below) if _each_abandoned(tmp, remove=False))


def sweep(folder: Path, below: bool = True) -> list[Path]:
    """Remove `leftovers(folder)` and say which they were; those that may not be removed stay."""
    return sorted(tmp for tmp in _temporaries(folder, below) if _each_abandoned(tmp, remove=True))


def _temporaries(folder: Path, below: bool) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        for name in folders + names:
            if _TEMPORARY.fullmatch(name):
                yield Path(where, name)
        folders[:] = [name for name in folders if below and not _TEMPORARY.fullmatch(name)]


def _each_abandoned(tmp: Path, remove: bool) -> bool:
    """Whether nobody writes it any more; with `remove` it is gone then."""
    try:
        handle = os.open(tmp, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # swept by another process, or not ours to look at
        return False
    try:
        held = locks.seize(handle)
        if held is False:
            return False
        if held is None or locks.local_only(tmp.absolute()):
            old = time.time() - os.fstat(handle).st_mtime > _ABANDONED_S
            if not old:
                return False
        if remove and stat.S_ISDIR(os.fstat(handle).st_mode):
            shutil.rmtree(tmp)
        elif remove:
            tmp.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _create(path: Path) -> tuple[Path, int]:
    """A new temporary file, open and locked before a sweep can take it for an abandoned one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        tmp = _temporary(path)
        handle = os.open(tmp, flags, 0o666)
        if locks.seize(handle) is not False and os.fstat(handle).st_nlink:
            return tmp, handle
        os.close(handle)


def _temporary(path: Path) -> Path:
    if path.name in ("", ".."):
        raise DataError(f"cannot write {path}: it is a folder")
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    return path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")


def _is_device(path: Path) -> bool:
    """Whether `path` is a device, a pipe, a socket or an open file of a process (/dev/stdout).

    DataError for a name in /dev that does not exist: a file there would be gone at the next start.
    """
    system = any(path.absolute().is_relative_to(folder) for folder in ("/dev", "/proc"))
    system = system and not path.absolute().is_relative_to("/dev/shm")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if system:
            raise DataError(f"cannot write {path}: there is no such device") from None
        return False
    return not stat.S_ISDIR(mode) and (system or not stat.S_ISREG(mode))


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path}: {error.strerror or error}")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
