"""Arguments of terms, declared once: type, range and help stand in the signature of `term`.

    def term(*, alpha: Annotated[float, Range(0, 1), "share of the fine-tuned weights"] = 0.5)

From there come the checks and their messages, `harness list --method`, and docs/methods.md. Types:
bool, int, float (a whole number too), str, tuple[<type>, ...] (never empty), and `| None`. An
argument without an annotation is not checked. An argument that is added to a term has `Later`
among its notes where its default changes nothing: runs from before then keep their keys.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from harness.core.errors import UsageError, quoted
from harness.core.registry import one_of

WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed unless `open_ends`, multiples of `multiple`."""

    low: float = -math.inf
    high: float = math.inf
    open_ends: bool = False
    multiple: int = 1

    def __contains__(self, value: float) -> bool:
        if self.open_ends:
            return self.low < value < self.high
        return self.low <= value <= self.high and (self.multiple == 1 or not value % self.multiple)

    def __str__(self) -> str:
        low, high = _short(self.low), _short(self.high)
        step = "" if self.multiple == 1 else f", a multiple of {self.multiple}"
        if self.open_ends:
            return f" above {low}" + (f" and below {high}" if self.high < math.inf else "")
        if self.high == math.inf:
            return f" from {low}{step}"
        return f" in [{low}, {high}]{step}"


class Later:
    """Marks an argument that came after its term had runs: its default is no part of their keys."""


class OneOf:
    """One of these texts."""

    def __init__(self, *options: str) -> None:
        self.options = options


@dataclass(frozen=True)
class Kind:
    """The values that an argument takes."""

    base: type | None = None  # bool, int, float, str or tuple; None: anything
    range: Range | None = None
    options: tuple[str, ...] = ()
    item: Kind | None = None  # of a tuple
    optional: bool = False

    def check(self, where: str, value: Any) -> None:
        """UsageError with the place, the value, what is allowed and the nearest name."""
        if self.base is None or (self.optional and value is None):
            return
        if self.base is bool:
            one_of(where, value, (False, True))
        elif self.options:
            one_of(where, value, self.options)
        elif not self._fits(value):
            alone = self.item is not None and self.item._fits(value)
            hint = f"; write one value as ({quoted(value)},)" if alone else ""
            raise UsageError(f"{where}: {quoted(value)} is not allowed; {self}{hint}")
        if self.item is not None:
            for entry in value:
                self.item.check(where, entry)

    def _fits(self, value: Any) -> bool:
        if self.base is tuple:
            return type(value) is tuple and bool(value)
        if self.base is float:
            fits = type(value) in (int, float) and math.isfinite(value)
        else:
            fits = type(value) is self.base
        return fits and (self.range is None or value in self.range)

    @property
    def word(self) -> str:
        """The type, as Python calls it."""
        name = "any" if self.base is None else self.base.__name__
        text = f"tuple of {self.item.word}" if self.item is not None else name
        return f"{text} or None" if self.optional else text

    def __str__(self) -> str:
        if self.base is None:
            return "any value"
        if self.item is not None:
            text = f"a tuple of {self.item.plural}"
        elif self.options:
            text = ", ".join(self.options)
        else:
            text = f"{WORDS[self.base]}{self.range or ''}"
        return f"{text}, or None" if self.optional else text

    @property
    def plural(self) -> str:
        """What the entries of a tuple are."""
        if self.options:
            return f"some of {', '.join(self.options)}"
        return f"{WORDS[self.base or str].removeprefix('a ')}s{self.range or ''}"


@dataclass(frozen=True)
class Argument:
    """One argument of a term, as its signature declares it."""

    name: str
    default: Any
    kind: Kind
    help: str
    later: bool = False


def declared(term: Callable[..., Any], where: str) -> tuple[Argument, ...]:
    """The arguments of a term's function, in their order.

    where: the file, for messages. Raises UsageError for an annotation that cannot be read, an
    argument that is not by name only, and one without a default.
    """
    try:
        hints = get_type_hints(term, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise UsageError(f"{where}: cannot read the annotations of term ({error})") from error
    return tuple(
        _argument(parameter, hints.get(name, Any), where)
        for name, parameter in inspect.signature(term).parameters.items()
    )


def check(name: str, arguments: tuple[Argument, ...], values: Mapping[str, Any]) -> None:
    """UsageError for the first value that its argument does not take. name: the term's."""
    for argument in arguments:
        if argument.name in values:
            argument.kind.check(f"{name}({argument.name}=...)", values[argument.name])


def _argument(parameter: inspect.Parameter, hint: Any, where: str) -> Argument:
    if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
        raise UsageError(
            f"{where}: argument {parameter.name!r} of term; an argument is given by name and has "
            f"a default: def term(*, {parameter.name}=...)"
        )
    notes = [note for note in get_args(hint)[1:] if isinstance(note, str)] if _noted(hint) else []
    help_text = " ".join(" ".join(notes).split())
    kind, later = _kind(hint, parameter.name, where), _noted(hint) and Later in get_args(hint)[1:]
    return Argument(parameter.name, parameter.default, kind, help_text, later)


def _noted(hint: Any) -> bool:
    return get_origin(hint) is Annotated


def _kind(hint: Any, name: str, where: str) -> Kind:
    """The kind that a resolved annotation stands for."""
    between: Range | None = None
    options: tuple[str, ...] = ()
    if _noted(hint):
        hint, *notes = get_args(hint)
        between = next((note for note in notes if isinstance(note, Range)), None)
        options = next((note.options for note in notes if isinstance(note, OneOf)), ())
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        others = [other for other in get_args(hint) if other is not type(None)]
        optional = len(others) < len(get_args(hint))
        if len(others) == 1:
            inner = _kind(others[0], name, where)
            between, options = between or inner.range, options or inner.options
            return Kind(inner.base, between, options, inner.item, optional)
    if hint in (Any, inspect.Parameter.empty):
        return Kind()
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        return Kind(tuple, item=_kind(get_args(hint)[0], name, where))
    if hint in WORDS:
        return Kind(hint, between, options)
    raise UsageError(
        f"{where}: the type of argument {name!r} of term is {hint}; allowed: bool, int, float, "
        "str, tuple[<type>, ...] and | None"
    )


def _short(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
