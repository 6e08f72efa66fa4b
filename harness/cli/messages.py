"""Messages of a command: the library logs, and here it is decided what the terminal shows.

Results go to the standard output with `print`; all else is logged as "harness" and goes to the
standard error. --quiet leaves warnings and errors alone, -v adds every epoch and stage.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("harness")
PLAIN, DETAILED = "%(message)s", "%(asctime)s %(message)s"


class _Terminal(logging.Handler):
    """The standard error of the moment; a progress bar that is drawn there stays below."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if "tqdm" in sys.modules and sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def shown() -> Iterator[None]:
    """Messages of the library on the terminal, as long as the command lasts."""
    handler, level = _Terminal(), log.level
    handler.setFormatter(logging.Formatter(PLAIN))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        _show_bars(True)


def choose(args: argparse.Namespace) -> None:
    """As many messages as the arguments ask for."""
    if args.quiet:
        log.setLevel(logging.WARNING)
        _show_bars(False)
    elif args.verbose:
        log.setLevel(logging.DEBUG)
        for handler in log.handlers:
            if isinstance(handler, _Terminal):
                handler.setFormatter(logging.Formatter(DETAILED, "%H:%M:%S"))


def _show_bars(wanted: bool) -> None:
    if wanted and "harness.core.progress" not in sys.modules:
        return
    from harness.core.progress import ProgressBar

    ProgressBar.hidden = not wanted


def options(parser: argparse.ArgumentParser) -> None:
    """--quiet and -v."""
    group = parser.add_argument_group("messages").add_mutually_exclusive_group()
    group.add_argument(
        "-q", "--quiet", action="store_true", help="warnings and results only; no progress bars"
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="also each stage and epoch, with the time"
    )
