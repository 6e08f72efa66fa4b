"""The kinds of errors that a command tells in one sentence."""

from __future__ import annotations


class UsageError(Exception):
    """The request itself is wrong (exit code 2)."""


class DataError(Exception):
    """A file or folder the request needs is missing, damaged or not writable (exit code 1)."""


class Regression(Exception):
    """A check ran to its end and failed: results are worse or other than before (exit code 3)."""


def brief(error: BaseException, longest: int = 300) -> str:
    """What another library's error says, in one line of at most so many characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
