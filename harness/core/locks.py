"""Locks between processes, of whatever user, host or container: held by an open file (flock).

The system lets go of a lock when the process that holds it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import DataError

log = logging.getLogger("harness")
_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
ATTEMPTS = 100  # to make a folder that others remove
_LOCAL_ONLY = {"nolock", "local_lock=all", "local_lock=flock", "localflock"}  # mount options


def seize(handle: int, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder; whether it is held now, None where locks do not work.

    shared: beside others that share it. wait: until whoever holds it lets go.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def lock_path(path: Path) -> Path:
    """The file beside `path` that is locked in its place; it is gone when nobody holds it."""
    return path.with_name(f".{path.name}.lock.tmp")


@contextlib.contextmanager
def locked(path: Path, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of `path` in the block; False where another holds it and `wait` is not set.

    True also where the file system has no locks: then nobody is kept out. Raises DataError where
    the folder cannot be written.
    """
    try:
        handle = _hold(lock_path(path), shared, wait)
    except OSError as error:
        raise DataError(f"cannot lock {path}: {error.strerror or error}") from error
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            if seize(handle) is not False:  # nobody shares it
                lock_path(path).unlink()
        os.close(handle)


def warn_where_useless(path: Path) -> None:
    """Tell where other processes could do the same work: no locks at `path`, or local ones."""
    lock = lock_path(path)
    with contextlib.suppress(OSError):
        handle = _open(lock)
        try:
            held = seize(handle, shared=True)
        finally:
            os.close(handle)
        if held is None:
            log.warning("%s is on a file system without locks: run one command at a time", path)
        elif local_only(path.absolute()):
            log.warning(
                "%s is on a file system whose locks other machines do not see: use one machine at "
                "a time",
                path,
            )


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock of `path`."""
    try:
        handle = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        return seize(handle) is False
    finally:
        os.close(handle)


def _hold(lock: Path, shared: bool, wait: bool) -> int | None:
    """The locked file, open; None where another holds it. Its last holder may have removed it."""
    while True:
        handle = _open_in_folder(lock)
        held = seize(handle, shared, wait)
        if held is None or (held and _is_at(handle, lock)):
            return handle
        os.close(handle)
        if held is False:
            return None


def _open_in_folder(lock: Path) -> int:
    """Open, with its folder, which another process may remove, empty, as soon as it is made."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(FileNotFoundError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            return _open(lock)
    return _open(lock)


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:  # another user's
        return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def local_only(path: Path) -> bool:
    """Whether locks of files there are invisible to other hosts that may write there, too."""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    where, options = "", ""
    for line in mounts:
        _, folder, kind, flags, *_ = [*line.split(" "), "", "", "", ""]
        folder = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), folder)
        if path.is_relative_to(folder) and len(folder) >= len(where):
            where, options = folder, f"{flags},{kind}"
    return "fuse.sshfs" in options or bool(_LOCAL_ONLY & set(options.split(",")))
