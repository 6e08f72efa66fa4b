"""The kinds of errors that a command tells in one sentence, and what such a sentence may hold.

Text that comes from files, servers and other libraries is bounded and cannot steer a terminal.
"""

from __future__ import annotations

import reprlib
import struct
import zlib
from typing import Any

LONGEST = 300  # characters of a message
QUOTED = 60  # characters of what a message quotes
_CUT = " ... "


def escaped(text: str) -> str:
    """Without characters that do not print: a line break becomes \\n, an escape \\x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """At most so many characters: the middle is left out, as both ends say what is wrong."""
    if len(text) <= longest:
        return text
    rest = longest - len(_CUT)
    return f"{text[: rest - rest // 3]}{_CUT}{text[len(text) - rest // 3 :]}"


def one_line(text: str) -> str:
    """A message as errors hold it: printable, of at most LONGEST characters."""
    return shortened(escaped(text))


def quoted(value: Any, longest: int = QUOTED) -> str:
    """repr of a value of any depth and size, in at most so many printable characters."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, longest, longest, longest
    return shortened(escaped(short.repr(value)), longest)


class _Told(Exception):
    """An error whose text is one printable line of at most LONGEST characters."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(one_line(a) if isinstance(a, str) else a for a in arguments))


class UsageError(_Told):
    """The request itself is wrong (exit code 2)."""


class Instructions(UsageError):
    """A request that takes steps by hand: several lines of the project's own words."""

    def __str__(self) -> str:
        return self.text

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class DataError(_Told):
    """A file or folder the request needs is missing, damaged or not writable (exit code 1)."""


class Regression(Exception):
    """A check ran to its end and failed: results are worse or other than before (exit code 3)."""


# What libraries raise about a damaged input, whatever their documentation says. Not MemoryError:
# a sound file may need more than there is.
LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def brief(error: BaseException, longest: int = 120) -> str:
    """What another library's error says, in one line of at most so many characters."""
    text = escaped(" ".join(str(error)[: 4 * LONGEST].split())) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
