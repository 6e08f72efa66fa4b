"""What the file of a data set holds: every member, what it is for, its type and its default.

A file needs NAME and `load`; the rest has defaults for long-tailed sets of pictures, which
`lookup.find` fills in. A member that is missing or of another type is refused there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.specs import Recipe
from harness.datasets import longtail, recipes


@dataclass(frozen=True)
class Member:
    """A name that the module of a data set holds.

    type: "text", "text or None", ..., a key of TYPES, or the arguments of a function, as
    "(root, recipe)". default: what it is where the file has none, made from the module; None: it
    has none, and is left out unless it is required.
    """

    name: str
    purpose: str
    type: str
    default: Callable[[ModuleType], Any] | None = None
    required: bool = False


def _is_recipes(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Recipe) for k, v in value.items())
    )


def _is_backbones(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(others, Mapping)
        and all(isinstance(change, Mapping) for change in others.values())
        for others in value.values()
    )


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    )


TYPES: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a text or None": lambda value: value is None or isinstance(value, str),
    "three numbers": _is_colour,
    "a dictionary {profile: harness.core.specs.Recipe}": _is_recipes,
    "a dictionary {profile: {backbone: {field of the recipe: value}}}": _is_backbones,
    "a dictionary": lambda value: isinstance(value, Mapping),
    "a sequence": lambda value: isinstance(value, Sequence) and not isinstance(value, str),
}


def _same(value: Any) -> Callable[[ModuleType], Any]:
    return lambda module: value


MEMBERS = (
    Member("NAME", "its name, as one types it", "a text", required=True),
    Member(
        "load",
        "reads the files below a root as a harness.datasets.base.Dataset",
        "(root, imbalance, recipe)",
        required=True,
    ),
    Member(
        "RECIPES",
        "hyper-parameters of each profile",
        "a dictionary {profile: harness.core.specs.Recipe}",
        _same(recipes.RECIPES),
    ),
    Member(
        "BACKBONES",
        "other backbones that --backbone may name, by profile",
        "a dictionary {profile: {backbone: {field of the recipe: value}}}",
        _same(recipes.BACKBONES),
    ),
    Member("TEST", "the split that results are of", "a text", _same("test")),
    Member("VAL", "the split that chooses an epoch, if any", "a text or None", _same(None)),
    Member(
        "HARD_BY",
        "the method whose p(true class) says what is hard; None: the class sizes do",
        "a text or None",
        _same(None),
    ),
    Member("MEAN", "mean of each colour, in [0, 1]", "three numbers", _same(longtail.MEAN)),
    Member("STD", "deviation of each colour", "three numbers", _same(longtail.STD)),
    Member("hard", "rows that get a spectrum", "(data, recipe, p_true)", _same(longtail.hard)),
    Member(
        "prompt",
        "what the generator is asked for",
        "(classname, seed, recipe, sentences)",
        _same(longtail.prompt),
    ),
    Member(
        "captions",
        "texts of a class for an image-text model",
        "(classname)",
        _same(longtail.captions),
    ),
    Member(
        "score_prompt",
        "the text that CLIP compares an image of a class with",
        "(classname)",
        _same(longtail.score_prompt),
    ),
    Member(
        "metric", "what an epoch is selected by", "(labels, predictions)", _same(longtail.metric)
    ),
    Member("metrics", "scores of a run", "(predictions, counts)", _same(longtail.metrics)),
    Member("headline", "the one number among these scores", "(scores)", _same(longtail.headline)),
    Member(
        "check",
        "verifies the official files, a line for each thing verified",
        "(root, recipe, decode, downloads)",
        lambda module: partial(longtail.check, module.load),
    ),
    Member(
        "fetch",
        "downloads the official files to a root",
        "(root)",
        lambda module: partial(longtail.fetch, module.NAME),
    ),
    Member(
        "FACTS", "sizes known without the files: see harness.planning.dataset_sizes", "a dictionary"
    ),
    Member("SOURCES", "files to download: harness.datasets.base.Source", "a sequence"),
    Member("SCORED", "splits that results are of, by the name of their scores", "a dictionary"),
    Member("edits", "prompts of edits, and texts that check them", "(recipe)"),
    Member("write_built_in", "writes the built-in world in this format", "(root, profile)"),
)


def complete(module: ModuleType) -> None:
    """Fill in the defaults of a data set's module, and check all its members.

    UsageError for a member that is missing or of another type, with its name and purpose.
    """
    for member in MEMBERS:
        if not hasattr(module, member.name):
            if member.default is not None:
                setattr(module, member.name, member.default(module))
            elif member.required:
                raise UsageError(
                    f"{registry.file_of(module)}: no {member.name} ({member.purpose}); expected "
                    f"{_expected(member)}"
                )
        if hasattr(module, member.name):
            _check(module, member, getattr(module, member.name))


def _check(module: ModuleType, member: Member, value: Any) -> None:
    fits = _takes(value, member.type) if member.type[0] == "(" else TYPES[member.type](value)
    if not fits:
        raise UsageError(
            f"{registry.file_of(module)}: {member.name} ({member.purpose}) is {_described(value)}; "
            f"expected {_expected(member)}"
        )


def _takes(value: Any, arguments: str) -> bool:
    """Whether a function can be called with so many arguments."""
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind(*arguments.strip("()").split(", "))
    except (TypeError, ValueError):
        return False
    return True


def _expected(member: Member) -> str:
    return f"{member.name}{member.type}" if member.type[0] == "(" else member.type


def _described(value: Any) -> str:
    if inspect.isfunction(value):
        return f"{value.__name__}{inspect.signature(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
