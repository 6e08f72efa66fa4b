"""Completion of commands, options and names in a shell, as a script that the shell reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.core import registry
from harness.core.metrics import RULES
from harness.results.records import SELECTIONS

SHELLS = ("bash", "zsh", "tcsh")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of one of SHELLS, with the names that there are now.

    The parser is changed: options that take a name get the known names as their choices.
    """
    import shtab

    known = _names()
    for action in _actions(parser):
        if action.choices is None and action.dest in known:
            action.choices = known[action.dest]
        elif getattr(action.type, "__name__", "") == "path_of":
            action.complete = shtab.FILE
    text: str = shtab.complete(parser, shell)
    return text


def _names() -> dict[str, Sequence[str]]:
    """Names by the option that takes them."""
    from harness.pipeline.config import PROFILES
    from harness.results import published

    methods = registry.names("baselines")
    return {
        "dataset": registry.names("harness.datasets"),
        "profile": PROFILES,
        "table": [file.stem for file in published.files()],
        "rows": methods,
        "method": methods,
        "rule": list(RULES),
        "select": SELECTIONS,
        "device": ("cpu", "cuda"),
    }


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield action


def command(parser: Callable[[], argparse.ArgumentParser]) -> Callable[[argparse.Namespace], None]:
    """The command `harness completion`; parser: makes the parser to be completed."""

    def run(args: argparse.Namespace) -> None:
        print(script(parser(), args.shell))

    return run
