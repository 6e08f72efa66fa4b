"""Imported by the process of DVC when it starts: counts its file events, and kills it at one.

$DVC_KILL: number of the event and seconds after it, at which a file may be half-written; all
processes of the group are killed. $DVC_EVENTS: the file that gets the count.
"""

import atexit
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink")


def kill() -> None:
    os.killpg(0, signal.SIGKILL)


def watch(folder: str, event_of_kill: int, after_s: float) -> None:
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and bool((args[2] or 0) & WRITES)
        if not (writes or event in CHANGES) or not os.path.abspath(str(args[0])).startswith(folder):
            return
        count += 1
        if count == event_of_kill:
            threading.Timer(after_s, kill).start() if after_s else kill()

    sys.addaudithook(hook)
    log = os.environ["DVC_EVENTS"]
    atexit.register(lambda: Path(log).write_text(str(count)))


if "DVC_EVENTS" in os.environ:
    number, _, after = os.environ.get("DVC_KILL", "0 0").partition(" ")
    watch(os.getcwd(), int(number), float(after))
