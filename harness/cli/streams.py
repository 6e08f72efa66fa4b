"""Standard output and error that may be closed, full, a broken pipe or without letters like é."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from harness.core.errors import DataError

PLAIN = {
    "–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x", "·": ".", "…": "...", "→": "->", "←": "<-",
    "≤": "<=", "≥": ">=", "≈": "~", "Δ": "d", "λ": "lambda", "σ": "sd", "†": "+", "‡": "++",
    "‘": "'", "’": "'", "“": '"', "”": '"', "✓": "ok", "✗": "x", "█": "#", "│": "|", "─": "-",
}  # fmt: skip
_HANDLER = "harness.plain"


def degrade(error: UnicodeError) -> tuple[str, int]:
    """For codecs.register_error: the nearest thing that an encoding without a character has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(c) for c in error.object[error.start : error.end]), error.end


def _plain(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if letters:
        return letters
    half = "\ud800" <= character <= "\udfff"  # a byte of a file's name that is no text
    return f"\\x{ord(character) & 0xFF:02x}" if half else "?"


codecs.register_error(_HANDLER, degrade)


class Output:
    """A stream in whose place it stands; what goes wrong in writing is the reader's business.

    A reader that went away (`| head -1`) ends the printing and nothing else. required: whether a
    stream that is closed or full is a DataError, as for a command's result; messages are lost then.
    """

    def __init__(self, stream: Any, required: bool) -> None:
        self.stream, self.required = stream, required
        self.gone = False
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def isatty(self) -> bool:
        return self.stream is not None and bool(self.stream.isatty())

    def write(self, text: str) -> int:
        """Characters that were taken, all of them."""
        with self._tolerant():
            if self.stream is None:
                raise OSError("it is closed")
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tolerant():
            if self.stream is not None:
                self.stream.flush()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        left = self.gone
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            if left:
                return
            self.leave()
            if self.required and not isinstance(error, BrokenPipeError):
                why = getattr(error, "strerror", None) or error
                raise DataError(f"cannot write to the standard output: {why}") from error

    def leave(self) -> None:
        """Print nowhere from now on, also what the stream holds still when Python ends."""
        self.gone = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)


def open_standard_descriptors() -> None:
    """Fill 0, 1 and 2 where they are closed: the next file to be opened would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def standard_streams() -> Iterator[Output]:
    """Stand in for both streams in the block; gives the standard output."""
    before = sys.stdout, sys.stderr
    out = Output(sys.stdout, required=True)
    sys.stdout, sys.stderr = out, Output(sys.stderr, required=False)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
