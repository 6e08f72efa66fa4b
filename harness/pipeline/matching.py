"""Records beside what the present parameters ask for: which of them are still its results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import UsageError
from harness.core.specs import plain
from harness.methods.compose import compose
from harness.pipeline.code import code_of
from harness.pipeline.recipe_fields import relevant
from harness.pipeline.workspace import Workspace
from harness.results.same_recipe import differing

Record = Mapping[str, Any]
SHOWN = 4  # fields in a sentence


@dataclass(frozen=True)
class Matched:
    """Records by whether they were made with the parameters that hold now.

    current: they were, or nobody can tell (a method that is gone); other: they were not, each with
    the fields that differ, as text; other_code: of the current ones, those that other code trained.
    """

    current: tuple[Record, ...]
    other: tuple[tuple[Record, tuple[str, ...]], ...]
    other_code: tuple[Record, ...]

    def notes(self) -> Iterator[str]:
        """What a reader of a table has to know."""
        by_fields: dict[tuple[str, ...], list[Record]] = {}
        for record, fields in self.other:
            by_fields.setdefault(fields, []).append(record)
        for fields, records in by_fields.items():
            yield (
                f"Not shown, made with other parameters: {_methods(records)} "
                f"({_count(records, 'record')}): {_listed(fields)}."
            )
        if self.other_code:
            yield (
                f"Trained by other code than this: {_methods(self.other_code)} "
                f"({_count(self.other_code, 'record')}); `harness compare --rerun` repeats them."
            )


def match(workspace: Workspace, records: Sequence[Record]) -> Matched:
    """Compares the recipe of each record, field by field, with the one that holds now.

    Fields that the record's method does not read are left out on both sides.
    """
    recipes: dict[tuple[str, str], Mapping[str, Any] | None] = {}
    current, other = [], []
    for record in records:
        name = record["method"], record["backbone"]
        if name not in recipes:
            recipes[name] = _recipe(workspace, *name)
        now = recipes[name]
        fields = () if now is None else tuple(_fields(record["spec"]["recipe"], now))
        if fields:
            other.append((record, fields))
        else:
            current.append(record)
    known = [r for r in current if r.get("code") is not None]
    old = tuple(r for r in known if r["code"] != code_of("train"))
    return Matched(tuple(current), tuple(other), old)


def _recipe(workspace: Workspace, text: str, backbone: str) -> Mapping[str, Any] | None:
    """What a run of this method reads of the recipe now; None where nobody can tell."""
    if workspace.recipe.backbone != backbone:
        workspace = replace(workspace, backbone=backbone)
    try:
        recipe = workspace.recipe
        method = compose(text, workspace.module.NAME, recipe.profile)
    except UsageError:
        return None
    now: Mapping[str, Any] = plain(relevant(recipe, method))
    return now


def _fields(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Fields that differ, such as "threshold 0.35 there, 0.5 here"; None: not read."""
    for name in dict.fromkeys((*here, *there)):
        if here.get(name) is None or there.get(name) is None:
            continue
        for field, a, b in differing(name, there.get(name), here.get(name)):
            yield f"{field} {_brief(a)} there, {_brief(b)} here"


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _methods(records: Iterable[Record]) -> str:
    names = list(dict.fromkeys(r["method"] for r in records))
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))


def _listed(fields: Sequence[str]) -> str:
    more = f" and {len(fields) - SHOWN} more fields" * (len(fields) > SHOWN)
    return "; ".join(fields[:SHOWN]) + more


def _count(records: Sequence[Record], what: str) -> str:
    return f"{len(records)} {what}{'s' * (len(records) != 1)}"
