"""SIGTERM as the last notice that a scheduler gives: the work at hand is saved, then it acts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

GRACE_S = 25.0  # schedulers mostly wait 30 s from SIGTERM to SIGKILL


class Halted(BaseException):
    """Work that ended early, with what it had done saved, because notice was given."""


@dataclass
class Notice:
    """Whether SIGTERM has come."""

    given: bool = False


_present: list[Notice] = []  # of the blocks that this process is in


def give_notice() -> bool:
    """From another thread, as by SIGTERM; whether there is a block that looks at it."""
    for notice in _present:
        notice.given = True
    return bool(_present)


@contextmanager
def deferred() -> Iterator[Notice]:
    """SIGTERM in the block gives notice; what it would have done before happens after the block.

    The block is to look at the notice between its steps and to raise Halted. Where SIGTERM is
    ignored, and outside the main thread, no notice is given.
    """
    notice, before = Notice(), signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    if not main or before in (signal.SIG_IGN, None):
        yield notice
        return

    def note(number: int, frame: FrameType | None) -> Any:
        notice.given = True

    signal.signal(signal.SIGTERM, note)
    _present.append(notice)
    try:
        yield notice
    finally:
        _present.remove(notice)
        signal.signal(signal.SIGTERM, before)
        if notice.given:
            signal.raise_signal(signal.SIGTERM)
