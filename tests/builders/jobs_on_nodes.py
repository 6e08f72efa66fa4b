"""What workers on the nodes of a cluster do in tests; they import it from here."""

import os
import signal
import time
from pathlib import Path

from harness.core.errors import DataError, UsageError


class Adder:
    def __init__(self, first: int) -> None:
        self.sum = first

    def add(self, job: int) -> int:
        return self.sum + job


def fail_to_start(why: str) -> None:
    raise DataError(why)


def sometimes(job: int) -> int:
    if job == 3:
        raise UsageError("not 3")
    if job == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if job == 5:
        raise ValueError("not 5")
    return job


def noted(job: Path) -> str:
    """Writes a dot for each call, and takes a while."""
    with job.open("a") as file:
        file.write(".")
    time.sleep(1)
    return job.name


def environment(job: str) -> str | None:
    return os.environ.get(job)
