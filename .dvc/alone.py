"""Run a command of DVC when no other one runs here: python .dvc/alone.py dvc repro

DVC writes dvc.lock and .dvc/tmp/rwlock, the list of the files in use, in place. A command that was
killed can leave them cut off, which DVC refuses from then on, or leave a list that names a process
whose number another one has by now. So there is a copy of dvc.lock while a command runs; after a
kill it takes the place of one that is not whole, and a list of nobody's and half-copied files in
the cache are removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK, COPY = Path("dvc.lock"), Path(".dvc/tmp/dvc.lock.before")
IN_USE, GUARD = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/rwlock.lock")
CACHE = Path(".dvc/cache")


def main(command: list[str]) -> int:
    """The exit code of the command, which waits for one whose alone.py was killed, too."""
    COPY.parent.mkdir(exist_ok=True)
    with open("dvc.yaml") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # DVC has it, too
        killed = COPY.exists()
        restore()
        if free() and killed:
            sweep()
        keep()
        process = subprocess.Popen(command, pass_fds=[file.fileno()])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda n, _: process.send_signal(n))
        code = process.wait()
        COPY.unlink(missing_ok=True)
    return code if code >= 0 else 128 - code


def keep() -> None:
    """The copy appears whole."""
    part = COPY.with_suffix(".tmp")
    part.write_bytes(LOCK.read_bytes() if LOCK.exists() else b"")
    part.replace(COPY)


def restore() -> None:
    """dvc.lock as it was before a command that was killed, if it is not whole or lacks stages."""
    if not COPY.exists():
        return
    before, now = stages(COPY), stages(LOCK)
    if now is None or before is None or not before.keys() <= now.keys():
        print(f"dvc was killed: {LOCK} is again what it was before", file=sys.stderr)
        COPY.replace(LOCK)


def stages(path: Path) -> dict[str, Any] | None:
    """The stages of a dvc.lock; None where it is not whole."""
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import load_yaml
    from voluptuous import Invalid

    try:
        content = load_yaml(str(path)) if path.exists() else {}
        return dict(COMPILED_LOCKFILE_SCHEMA(content)["stages"]) if content else {}
    except (DvcException, Invalid):
        return None


def free() -> bool:
    """Remove the list of files in use, unless a command of DVC that was started otherwise runs.

    False where one does.
    """
    if not IN_USE.exists():
        return True
    with open(GUARD, "a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if any(runs_dvc(number) for number in users()):
            return False
        IN_USE.unlink()
    return True


def sweep() -> None:
    """Remove the files that DVC was copying into its cache when it was killed."""
    for part in CACHE.rglob(".*.tmp"):
        part.unlink(missing_ok=True)


def users() -> Iterator[int]:
    """Numbers of the processes in the list; none where it is cut off."""
    try:
        content = json.loads(IN_USE.read_text())
        for entry in content.get("write", {}).values():
            yield entry["pid"]
        for entries in content.get("read", {}).values():
            yield from (entry["pid"] for entry in entries)
    except (ValueError, LookupError, TypeError, AttributeError):
        return


def runs_dvc(number: int) -> bool:
    try:
        return b"dvc" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    os.chdir(Path(__file__).absolute().parents[1])
    sys.exit(main(sys.argv[1:]))
