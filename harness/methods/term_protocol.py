"""What the file of a term holds: a function `term` of named arguments that returns its parts."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.methods.arguments import declared
from harness.methods.terms import Augment, Finetune, Objective, TermParts

# The class that a part inherits from; for protocols, the members it needs.
_PARTS = {"objective": Objective, "augment": Augment, "finetune": Finetune}
_MEMBERS = {"curriculum": ("levels",), "ensemble": ("alpha", "grid", "merge")}


def module_of(package: str, name: str) -> ModuleType:
    """The file of a term. UsageError where it is broken, or has no function `term`."""
    module = registry.find(package, name)
    if not callable(getattr(module, "term", None)):
        raise UsageError(
            f"{registry.file_of(module)}: no function term, which takes the term's arguments "
            "by name and returns what it fills (harness.methods.terms.TermParts)"
        )
    declared(module.term, registry.file_of(module))
    return module


def checked(parts: Any, where: str) -> TermParts:
    """What a term returned, if it is parts of the right kinds; UsageError otherwise."""
    if not isinstance(parts, TermParts):
        raise UsageError(
            f"{where}: term returns {_a(parts)}; expected what it fills "
            "(harness.methods.terms.TermParts)"
        )
    for name, base in _PARTS.items():
        value = getattr(parts, name)
        if value is not None and not isinstance(value, base):
            raise UsageError(
                f"{where}: term fills {name} with {_a(value)}; expected an object of a "
                f"class that inherits harness.methods.terms.{base.__name__}"
            )
    for name, members in _MEMBERS.items():
        value = getattr(parts, name)
        missing = [m for m in members if value is not None and not hasattr(value, m)]
        if missing:
            raise UsageError(
                f"{where}: term fills {name} with {_a(value)}, which has no {missing[0]} "
                f"(harness.methods.terms.{name.capitalize()})"
            )
    return parts


def _a(value: Any) -> str:
    """An object by its type, for messages."""
    if value is None:
        return "nothing"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
