"""Progress bars: tqdm's on a terminal, and lines that a log can hold elsewhere."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any

from tqdm import tqdm

EVERY_S = 1.0  # between two states of a bar
LINE_EVERY_S = 15.0  # between two lines of a log
LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed}, {remaining} left{postfix}"


class ProgressBar(tqdm):
    """tqdm, with a line per state, and few of them, where the output is no terminal.

    On a terminal it is drawn anew every second, whether anything is done meanwhile or not.

    A time that remains is estimated from the rate so far. Arguments: tqdm's.
    """

    hidden = False  # whether no bar is shown
    disable: bool
    lines: bool
    n: int
    last_print_n: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.lines = not (named.get("file") or sys.stderr).isatty()
        named.setdefault("mininterval", LINE_EVERY_S if self.lines else EVERY_S)
        if self.lines:
            named.setdefault("maxinterval", LINE_EVERY_S)
            named.setdefault("bar_format", LINE)
        if self.hidden:
            named["disable"] = True
        super().__init__(*arguments, **named)
        self.over = threading.Event()
        if not (self.lines or self.disable):
            tick = (weakref.ref(self), self.over)
            threading.Thread(target=_tick, args=tick, daemon=True).start()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the present state."""
        if not self.lines:
            return bool(super().display(msg, pos))
        self.fp.write(f"{self if msg is None else msg}\n")
        self.fp.flush()
        return True

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Text after the state; a log has it in its next line."""
        super().set_postfix_str(s, refresh and not self.lines)

    def say(self, text: str) -> None:
        """A line of its own, above the bar or among the lines of a log."""
        if self.disable:
            return
        if self.lines:
            self.fp.write(f"{text}\n")
            self.fp.flush()
        else:
            self.write(text, file=self.fp)

    def close(self) -> None:
        """Show the last state; a line that was printed is not printed again."""
        if hasattr(self, "over"):  # tqdm closes bars that never began
            self.over.set()
        if not self.lines or self.disable:
            super().close()
            return
        if self.n != self.last_print_n:
            self.display()
        self.disable = True
        self._decr_instances(self)


def _tick(bar: weakref.ref[ProgressBar], over: threading.Event) -> None:
    """Draw a bar anew every second until it is closed, or gone."""
    while not over.wait(EVERY_S):
        alive = bar()
        if alive is None:
            return
        alive.refresh()
