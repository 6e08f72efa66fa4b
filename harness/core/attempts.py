"""What becomes of a job that a worker does: a result, or the reason why it has none."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import DataError, UsageError, brief, one_line

ATTEMPTS = 3  # workers that a job may lose before it counts as failed
NODES = 30  # the same of machines: preempted ones say nothing about the job
LOST_NODES = f"its node was lost {NODES} times"
LOST = f"its worker process died {ATTEMPTS} times (out of memory, or killed)"
HOPELESS = "worker processes die before they have done anything (out of memory, or killed)"


@dataclass(frozen=True)
class Failure:
    """Why a job has no result; the other jobs go on."""

    error: BaseException

    @property
    def reason(self) -> str:
        """One line of at most 300 characters."""
        if isinstance(self.error, DataError | UsageError):
            return str(self.error)
        return one_line(f"{type(self.error).__name__}: {brief(self.error, 200)}")

    @property
    def trace(self) -> str:
        """Where it happened, as Python tells it."""
        return "".join(traceback.format_exception(self.error))


class Unfinished(DataError):
    """Some of many jobs of a stage failed and the others are done: several lines that say which.

    reasons: by what failed (the key of a run, the path of a shard).
    """

    def __init__(self, stage: str, lines: Sequence[str], reasons: Mapping[str, str]) -> None:
        text = "\n".join(lines)
        super().__init__(text)
        self.stage, self.text, self.reasons = stage, text, dict(reasons)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return Unfinished, (self.stage, self.text.splitlines(), self.reasons)


class Starting:
    """Marks an error in its block as one of a worker's start, which every job would meet."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            error.__dict__["at_start"] = True


def at_start(error: BaseException) -> bool:
    """Whether an error was marked by `Starting`, in whatever process."""
    return bool(getattr(error, "at_start", False))
