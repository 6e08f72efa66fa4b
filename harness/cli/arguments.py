"""From the arguments of a command to a request, and from a result to the terminal or a file."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import registry

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


def choices(args: argparse.Namespace, **changes: Any) -> Choices:
    """What the arguments name; what a command has no argument for keeps its default."""
    from harness.pipeline.config import assignments
    from harness.pipeline.request import Choices

    names = (field.name for field in fields(Choices))
    named = {name: getattr(args, name) for name in names if hasattr(args, name)}
    rows = [text for name in ("rows", "method") for text in getattr(args, name, None) or ()]
    named["rows"] = rows or None
    named["overrides"] = assignments(getattr(args, "set", None) or ())
    return Choices(**(named | changes))


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
