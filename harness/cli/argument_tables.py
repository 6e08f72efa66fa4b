"""The arguments of terms as tables: what `harness list --method` prints, and docs/methods.md."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from tabulate import tabulate

from harness.core import registry
from harness.methods.arguments import declared
from harness.methods.compose import PACKAGE, plain_defaults
from harness.methods.expression_text import literal
from harness.methods.term_protocol import module_of
from harness.pipeline.config import PROFILES

HEADERS = ("argument", "type", "default", "allowed", "help")
WIDTHS = (
    20,
    24,
    22,
    30,
    44,
)  # characters of a column of the text, whose cells are broken into lines


def render(names: Sequence[str], form: str = "text", package: str = PACKAGE) -> str:
    """A table for each term, with its other defaults below it. form: "text" or "markdown"."""
    return "\n\n".join(_section(module_of(package, name), form) for name in names)


def _section(module: ModuleType, form: str) -> str:
    arguments = declared(module.term, registry.file_of(module))
    title = f"### {module.NAME}" if form == "markdown" else f"{module.NAME}"
    if not arguments:
        return f"{title}\n\nNo arguments."
    rows = [(a.name, a.kind.word, literal(a.default), str(a.kind), a.help) for a in arguments]
    if form == "markdown":
        coded = [(f"`{name}`", kind, f"`{value}`", *rest) for name, kind, value, *rest in rows]
        table = tabulate(coded, HEADERS, "github", disable_numparse=True)
    else:
        cells = [[_wrapped(*cell) for cell in zip(row, WIDTHS, strict=True)] for row in rows]
        table = tabulate(cells, HEADERS, "simple", disable_numparse=True)
    return "\n\n".join([f"{title}\n\n{table}", *_elsewhere(module, form)])


def _wrapped(text: str, width: int) -> str:
    """Lines of at most so many characters, broken at spaces."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False))


def _elsewhere(module: ModuleType, form: str) -> list[str]:
    """Where other defaults hold, in one line for each set of them."""
    every = registry.names("harness.datasets")
    datasets: dict[tuple[str, str], list[str]] = {}  # by what holds and the profile
    for profile in PROFILES:
        for name in every:
            text = _text(plain_defaults(module, name, profile))
            datasets.setdefault((text, profile), []).append(name)
    profiles: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (text, profile), names in datasets.items():
        profiles.setdefault((text, tuple(names)), []).append(profile)
    mark = "`" if form == "markdown" else ""
    return [
        f"Other defaults {_where(names, some, every)}: {mark}{text}{mark}"
        for (text, names), some in profiles.items()
        if text
    ]


def _where(names: Sequence[str], profiles: Sequence[str], every: Sequence[str]) -> str:
    plural = "s" if len(profiles) > 1 else ""
    of = "" if len(profiles) == len(PROFILES) else f"profile{plural} {' and '.join(profiles)}"
    which = "" if len(names) == len(every) else f"for {', '.join(names)}"
    return ", ".join(part for part in (which, of and f"with {of}") if part) or "everywhere"


def _text(defaults: dict[str, Any]) -> str:
    return ", ".join(f"{name}={literal(value)}" for name, value in sorted(defaults.items()))
