"""From the arguments of a command to a request, and from a result to the terminal or a file."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.errors import UsageError

if TYPE_CHECKING:
    from harness.pipeline.request import Choices, Request

log = logging.getLogger("harness")


def say(text: str) -> None:
    """Tell the user something that is not the command's result."""
    log.info("%s", text)


def give(text: str, out: Path | None) -> None:
    """A command's result, to a file or to the terminal; one line end at its end."""
    from harness.core.files import write_atomic

    text = text.rstrip("\n")
    if out is None:
        print(text)
    else:
        write_atomic(out, f"{text}\n".encode())


def datasets(args: argparse.Namespace) -> list[str | None]:
    """The data sets that the arguments name, each once; [None] where they name none."""
    return list(dict.fromkeys(args.dataset or ())) or [None]


def one_dataset(args: argparse.Namespace, what: str) -> None:
    """UsageError where `what` (an option, a format) would be of several data sets."""
    names = datasets(args)
    if len(names) > 1:
        raise UsageError(
            f"{what} is of one data set; {len(names)} are named: {', '.join(args.dataset)}"
        )


def check_goes_with(args: argparse.Namespace, options: str, allowed: bool, what: str) -> None:
    """UsageError for the first of the options (names in a row) that is set where it does nothing.

    allowed: whether they have a meaning here; what: where they have one, such as "`cache export`".
    """
    for name in options.split():
        if not allowed and getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} goes with {what} only")


def choices(args: argparse.Namespace, **changes: Any) -> Choices:
    """What the arguments name; what a command has no argument for keeps its default.

    Of several data sets the first, unless `changes` names one.
    """
    from harness.pipeline.config import assignments
    from harness.pipeline.request import Choices

    names = (field.name for field in fields(Choices))
    named = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if isinstance(named.get("dataset"), list):
        named["dataset"] = named["dataset"][0]
    rows = [text for name in ("rows", "method") for text in getattr(args, name, None) or ()]
    named["rows"] = rows or None
    named["overrides"] = assignments(getattr(args, "set", None) or ())
    return Choices(**(named | changes))


def requests_of(args: argparse.Namespace, **parts: bool) -> list[Request]:
    """The requests of a command, one of each data set; all are checked before any is used."""
    from harness.pipeline.request import resolve

    return [resolve(choices(args, dataset=name), **parts) for name in datasets(args)]


def request_of(args: argparse.Namespace, **parts: bool) -> Request:
    """The request of a command; `parts` as `harness.pipeline.request.resolve` takes them."""
    from harness.pipeline.request import resolve

    return resolve(choices(args), **parts)


def check_rule_and_selection(args: argparse.Namespace) -> None:
    """UsageError for a grouping rule, or a way to select an epoch, that does not exist."""
    from harness.core.metrics import rule_named
    from harness.results.records import SELECTIONS

    rule_named(args.rule)
    registry.one_of("--select", args.select, SELECTIONS)
