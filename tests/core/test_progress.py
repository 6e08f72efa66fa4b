"""Progress on a terminal and in a log."""

import io
import time

import pytest

from harness.core import progress
from harness.core.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_lines() -> None:
    out = io.StringIO()
    with ProgressBar(total=4, desc="train", unit="run", mininterval=0, file=out) as bar:
        for number in range(4):
            bar.set_postfix_str(f"run {number}")
            bar.update()
    lines = out.getvalue().splitlines()
    assert "\r" not in out.getvalue()
    assert lines[0].startswith("train: 0 of 4")
    assert [line.rpartition(", ")[2] for line in lines[1:]] == [f"run {n}" for n in range(4)]
    assert lines[-1].startswith("train: 4 of 4")
    assert "left" in lines[1]


def test_a_log_has_few_lines() -> None:
    out = io.StringIO()
    with ProgressBar(total=10_000, desc="generate", unit="image", file=out) as bar:
        for _ in range(10_000):
            bar.update()
    assert len(out.getvalue().splitlines()) == 2  # the first and the last state
    assert out.getvalue().splitlines()[-1].startswith("generate: 10000 of 10000")


def test_a_terminal_has_a_bar() -> None:
    out = Terminal()
    with ProgressBar(total=3, desc="score", unit="image", mininterval=0, file=out) as bar:
        bar.update(3)
    assert "\r" in out.getvalue()
    assert "score: 100%" in out.getvalue()


def test_nothing_is_shown_when_it_is_off() -> None:
    out = io.StringIO()
    with ProgressBar(total=3, file=out, disable=True) as bar:
        bar.update(3)
    assert out.getvalue() == ""


def test_a_bar_on_a_terminal_moves_while_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.02)
    out = Terminal()
    with ProgressBar(total=3, desc="generate", unit="image", file=out):
        before = out.getvalue().count("\r")
        time.sleep(0.5)
        assert out.getvalue().count("\r") > before + 3
    after = out.getvalue()
    time.sleep(0.1)
    assert out.getvalue() == after


def test_a_line_of_its_own() -> None:
    for out in (io.StringIO(), Terminal()):
        with ProgressBar(total=3, desc="train", unit="epoch", file=out) as bar:
            bar.say("CE: Overall 31.2 (seed 0)")
        assert "CE: Overall 31.2 (seed 0)\n" in out.getvalue()
