"""The edge of the program: exit codes, signals, outputs, paths."""

import argparse
import errno
import io
import os
import signal
import sys
import tempfile
from functools import partial

import pytest

from harness.cli.folders import path_of
from harness.cli.guard import guarded
from harness.cli.streams import Output
from harness.core.errors import DataError, Regression, UsageError


class Panic(BaseException):
    """As polars' PanicException, which is no Exception."""


def from_memory() -> DataError:
    error = DataError("table.parquet is damaged")
    error.__context__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("wrong"), 2, "wrong"),
        (DataError("gone"), 1, "gone"),
        (Regression("worse"), 3, "worse"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 1, "a/b: Permission denied"),
        (MemoryError(), 1, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "not enough memory"),
        (RuntimeError("could not create a primitive"), 1, "not enough memory"),
        (from_memory(), 1, "not enough memory"),
        (RecursionError(), 1, "nested too deeply"),
        (Panic("index out of\nbounds"), 1, "(Panic: index out of bounds)"),
        (KeyError("rows"), 1, "internal error, written to "),
    ],
)
def test_errors_are_one_sentence(capsys, monkeypatch, tmp_path, error, code, message):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def command() -> int:
        raise error

    assert guarded(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("harness: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_signals(capsys, request, number, code, word):
    """Also in code that makes another error of the interruption."""
    request.addfinalizer(partial(signal.signal, number, signal.getsignal(number)))
    signal.signal(number, signal.SIG_DFL)  # a shell's `&` ignores Ctrl-C
    before, cleaned = signal.getsignal(number), []

    def command() -> int:
        try:
            os.kill(os.getpid(), number)
            return 0
        except KeyboardInterrupt:
            raise SystemError("returned a result with an exception set") from None

    assert guarded(command, clean=lambda: cleaned.append(1)) == code
    assert capsys.readouterr() == ("", f"harness: {word}; the same command goes on from here\n")
    assert cleaned == [1]
    assert signal.getsignal(number) == before


def test_the_streams_are_those_of_before_again(capsys):
    before = sys.stdout, sys.stderr
    assert guarded(lambda: print("±") or 0) == 0
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "±\n"


def test_characters_that_an_encoding_lacks():
    raw = io.BytesIO()
    out = Output(io.TextIOWrapper(raw, "ascii"), required=True)
    out.write("é 0.5 ± 0.1 – ≥ 中 \udcff")
    out.flush()
    assert raw.getvalue() == b"e 0.5 +/- 0.1 - >= ? \\xff"


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no file or folder"), ("$NO_SUCH/a", "not set"), ("~no-such-user/a", "no home folder")],
)
def test_paths_that_mean_nothing(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        path_of(text)


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", "here")
    monkeypatch.chdir(tmp_path)
    assert path_of("~/a") == tmp_path / "a"
    assert path_of("$PLACE/${PLACE}") == path_of("here/here")
    (tmp_path / "$PLACE").touch()
    assert str(path_of("$PLACE")) == "$PLACE"  # it is there
