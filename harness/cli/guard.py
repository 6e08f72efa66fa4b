"""The edge of the program: whatever goes wrong in a command is one sentence and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from harness.cli.streams import open_standard_descriptors, standard_streams
from harness.core.attempts import Unfinished
from harness.core.errors import DataError, Regression, UsageError, brief

DONE, DATA, USAGE, REGRESSION, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
NO_MEMORY = "not enough memory; fewer --workers need less"
# What libraries say where the system had no memory for them, other than by MemoryError.
MEMORY_WORDS = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory",
    "can't start new thread", "std::bad_alloc", "failed to map segment", "memoryerror",
    "could not create a primitive",
)  # fmt: skip


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def guarded(command: Callable[[], int], clean: Callable[[], None] = lambda: None) -> int:
    """The exit code of a command that prints at most one sentence about its end.

    clean: called when the command was interrupted.
    """
    open_standard_descriptors()
    with standard_streams() as out, _signals(), _quiet_threads():
        try:
            code = _explained(command)
            out.flush()
        except DataError as error:  # the standard output is full or closed
            code = _tell(str(error), DATA)
        except KeyboardInterrupt as error:
            out.leave()
            clean()
            code = _interrupted(error)
        with contextlib.suppress(DataError):
            out.flush()
        sys.stderr.flush()
    return code


def _explained(command: Callable[[], int]) -> int:
    """Run the command; what it raises becomes a sentence, but for interruptions."""
    try:
        return command()
    except Unfinished as error:
        return _tell(str(error), DATA)
    except UsageError as error:
        return _tell(str(error), USAGE)
    except DataError as error:  # a reader that ran out of memory takes its file for damaged
        return _tell(NO_MEMORY if out_of_memory(error) else str(error), DATA)
    except Regression as error:
        return _tell(str(error), REGRESSION)
    except SystemExit as leaving:  # argparse
        return int(leaving.code or DONE)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # polars' PanicException is no Exception
        return _tell(str(_unexpected(error)), DATA)


def _unexpected(error: BaseException) -> DataError:
    """What an error is to the user; the one of an interruption is raised again."""
    if _Interruption.arrived is not None:  # in code that made something else of it
        raise _Interruption.arrived from error
    if out_of_memory(error):
        return DataError(NO_MEMORY)
    if isinstance(error, RecursionError):
        return DataError("the input is nested too deeply")
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename if isinstance(error.filename, str | bytes) else ""
        where = f"{os.fsdecode(name)}: " if name else ""
        return DataError(f"{where}{error.strerror or brief(error)}")
    return DataError(f"internal error, {_written(error)}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it came from, says that memory or processes did not suffice."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{type(seen).__name__} {seen}".lower()
        if isinstance(seen, MemoryError) or any(words in text for words in MEMORY_WORDS):
            return True
        if isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _written(error: BaseException) -> str:
    """Where the traceback of an error is, for a bug report."""
    about = f"{type(error).__name__}: {brief(error)[:120]}"
    text = f"{' '.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"
    name = f"harness-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (tempfile.gettempdir(), "."):
        path = Path(folder, name)
        with contextlib.suppress(OSError):
            path.write_text(text, "utf-8", "backslashreplace")
            return f"written to {path.absolute()} ({about})"
    return f"which could be written nowhere ({about})"


def _interrupted(error: KeyboardInterrupt) -> int:
    if isinstance(error, Terminated):
        return _tell("terminated; the same command goes on from here", TERMINATED)
    return _tell("interrupted; the same command goes on from here", INTERRUPTED)


def _tell(sentence: str, code: int) -> int:
    print(f"harness: {sentence}", file=sys.stderr)
    return code


# ---------------------------------------------------------------- signals and threads


class _Interruption:
    """The signal that ends the command, once it has come."""

    arrived: KeyboardInterrupt | None = None


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the command; the same signal once more ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    _Interruption.arrived = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    raise _Interruption.arrived


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM interrupt the command in the block; only the main thread can say so."""
    _Interruption.arrived = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Errors that nobody can catch, in threads and in destructors, are no business of the user.

    What they spoil is told where it is missed.
    """
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook = sys.unraisablehook = _ignore
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _ignore(_: Any) -> None:
    return None
