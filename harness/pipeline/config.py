"""The fields of a recipe that params.yaml and `--set` change, and the check of their values."""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.core import documents, registry
from harness.core.errors import UsageError, brief, quoted
from harness.core.specs import Mixture, Recipe, Schedule
from harness.generation import approximations

FILE = "params.yaml"
PROFILES = ("mini", "smoke", "paper")
TRACK = "track"  # beside the profiles: the trackers that runs have where none are named
FIXED = ("profile", "version")  # fields that nobody sets
Override = tuple[str, Any]  # a field's dotted name or a table's name, and its value
# The kinds of wrong types, in the schema library's words and in those of an error.
KINDS = {
    "int_type": "whole number",
    "int_from_float": "whole number",
    "float_type": "finite number",
    "string_type": "text",
    "bool_type": "truth value: true or false",
    "tuple_type": "list",
    "dataclass_type": "table of fields",
}


def overrides(file: Path | None, home: Path, profile: str, dataset: str) -> tuple[Override, ...]:
    """Recipe fields that params.yaml sets for this profile and data set, as the file names them.

    `file` None: params.yaml in `home`; where there is none, an installed package takes its own, and
    a checkout sets nothing. Raises DataError for a
    file that cannot be read, UsageError for one that is not a table of tables of tables, and for
    names of profiles and data sets that there are not.
    """
    path = file or home / FILE
    profiles = _content(file, home)
    profiles.pop(TRACK, None)
    for name in profiles:
        profiles[name] = _table(path, name, profiles[name], registry.names("harness.datasets"))
    values = _table(path, f"{profile}: {dataset}", profiles.get(profile, {}).get(dataset), None)
    return tuple(sorted(values.items()))


def trackers(file: Path | None, home: Path) -> tuple[str, ...]:
    """Names of the trackers that params.yaml lists; UsageError where they are no list of texts."""
    names = _content(file, home).get(TRACK) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        wanted = "expected a list such as [json, dvclive]"
        raise UsageError(f"{file or home / FILE}: {TRACK} is {quoted(names)}; {wanted}")
    return tuple(names)


def _content(file: Path | None, home: Path) -> dict[str, Any]:
    """The tables of params.yaml by profile, and TRACK; nothing where there is no such file."""
    path = file or home / FILE
    if file is None and not path.exists():
        return {}
    content = documents.yaml_file(path, "parameters")
    return _table(path, "the file", content, (*PROFILES, TRACK))


def assignments(texts: Iterable[str]) -> tuple[Override, ...]:
    """`--set NAME=VALUE` as overrides, in their order; values are YAML, as in params.yaml.

    Raises UsageError for a text without a name or "=", and for a value that YAML cannot read.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {quoted(text)}: expected NAME=VALUE, such as scratch.lr=0.05")
        try:
            pairs.append((name.strip(), documents.yaml_value(value)))
        except ValueError as error:
            raise UsageError(
                f"--set {quoted(text)}: cannot read the value: {brief(error)}"
            ) from error
    return tuple(pairs)


def apply(recipe: Recipe, changes: Sequence[Override]) -> Recipe:
    """`recipe` with the changes; all fields that they do not name stay as they are.

    A change names a field ("threshold"), a nested one ("scratch.lr"), or a table of nested ones
    ("scratch", {"lr": 0.05}); None takes a table away where a recipe may lack it ("mixture").
    Raises UsageError, in one sentence, for an unknown name, a name that is set twice, a value of
    another type, and a value that is not allowed.
    """
    flat = _flat(changes)
    if not flat:
        return recipe
    values = asdict(recipe)
    for name, value in flat.items():
        table, _, field = name.rpartition(".")
        if table and values[table] is None:
            values[table] = {}
        (values[table] if table else values)[field] = value
    checked = _checked(values, tuple(flat))
    result = recipe
    for name in flat:
        result = _with(result, name, checked)
    _check_together(result)
    return result


def _with(recipe: Recipe, name: str, values: Recipe) -> Recipe:
    """`recipe` with the field of that dotted name taken from `values`."""
    table, _, field = name.rpartition(".")
    if not table:
        return replace(recipe, **{field: getattr(values, field)})
    there, new = getattr(recipe, table), getattr(values, table)
    if there is not None and new is not None:
        new = replace(there, **{field: getattr(new, field)})
    return replace(recipe, **{table: new})


def _check_together(recipe: Recipe) -> None:
    """UsageError for values that are right one by one and do not go together."""
    approximations.parse(recipe.approximate)
    for table in ("scratch", "onward"):
        schedule = getattr(recipe, table)
        if schedule is not None and schedule.nesterov and not schedule.momentum:
            wanted = f"it needs {table}.momentum above 0"
            raise UsageError(f"parameter {table}.nesterov: True is not allowed; {wanted}")


def vary(recipe: Recipe, base: Recipe, variant: Mapping[str, Any]) -> Recipe:
    """`recipe` with the fields of `variant`; of a nested table, those that differ from `base`'s."""
    for name, value in variant.items():
        there, usual = getattr(recipe, name), getattr(base, name)
        if isinstance(value, Schedule | Mixture) and None not in (there, usual):
            pairs = {f.name: getattr(value, f.name) for f in fields(usual)}
            own = {k: v for k, v in pairs.items() if v != getattr(usual, k)}
            recipe = replace(recipe, **{name: replace(there, **own)})
        else:
            recipe = replace(recipe, **{name: value})
    return recipe


@cache
def names() -> dict[str, tuple[str, ...]]:
    """Fields of a recipe that can be set: of the recipe itself under "", and of each table."""
    known = {"": tuple(f.name for f in fields(Recipe) if f.name not in FIXED)}
    for name in known[""]:
        hint = _hint(name)
        if is_dataclass(hint):
            known[name] = tuple(f.name for f in fields(hint) if f.name not in FIXED)
    return known


# ---------------------------------------------------------------- reading


def _table(path: Path, where: str, content: Any, known: Any) -> dict[str, Any]:
    """`content` as a table whose names are `known` (None: any); nothing at all is an empty one."""
    if content is not None and not isinstance(content, dict):
        wanted = "expected profile: data set: name: value"
        raise UsageError(f"{path}: {where} is {quoted(content)}; {wanted}")
    names = {str(name): value for name, value in (content or {}).items()}
    for name in names:
        if known is not None and name not in known:
            raise UsageError(f"{path}: unknown name {quoted(name)}{registry.nearest(name, known)}")
    return names


# ---------------------------------------------------------------- names


def _flat(changes: Iterable[Override]) -> dict[str, Any]:
    """Values by dotted name, tables taken apart; UsageError for names unknown or set twice."""
    flat: dict[str, Any] = {}
    for name, value in changes:
        value = _plain(name, value)
        table, _, field = name.rpartition(".")
        if field not in names().get(table, ()):
            raise UsageError(f"unknown parameter {quoted(name)}{_nearest(name)}")
        parts = value if isinstance(value, dict) and name in names() else {"": value}
        for part, inner in parts.items():
            path = f"{name}.{part}" if part else name
            if part and part not in names()[name]:
                raise UsageError(f"unknown parameter {quoted(path)}{_nearest(path)}")
            if path in flat:
                raise UsageError(
                    f"parameter {path} is set twice: {quoted(flat[path])} and {quoted(inner)}"
                )
            flat[path] = inner
    return flat


def _plain(name: str, value: Any) -> Any:
    """`value` made of JSON's types alone; UsageError for another one, such as a date."""
    try:
        if is_dataclass(value) and not isinstance(value, type):
            value = {k: v for k, v in asdict(value).items() if k not in FIXED}
        text = json.dumps(value, ensure_ascii=False)
        return json.loads(text.encode())  # which refuses halves of characters
    except (TypeError, ValueError, RecursionError):
        kinds = "numbers, texts, lists and tables are allowed"
        raise UsageError(f"parameter {name}: {quoted(value)} is not allowed; {kinds}") from None


def _nearest(name: str) -> str:
    """What to add to the error about an unknown `name`: full names, of its table where there is."""
    table, _, field = name.rpartition(".")
    tables = {t: [f"{t}.{f}" for f in inner] for t, inner in names().items() if t}
    nested = [path for inner in tables.values() for path in inner]
    alike = [path for path in nested if not table and path.endswith(f".{field}")]
    if alike:
        return f"; did you mean {' or '.join(map(repr, alike))}?"
    if table in names():
        return registry.nearest(name, tables.get(table, names()[""]))
    close = difflib.get_close_matches(table, tables, n=1)
    return registry.nearest(name, tables[close[0]] if close else [*names()[""], *nested])


# ---------------------------------------------------------------- values


@cache
def _schema() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


def _checked(values: dict[str, Any], changed: Sequence[str]) -> Recipe:
    """The recipe of these values; UsageError says what is wrong with the first bad one."""
    from pydantic import ValidationError

    try:
        checked: Recipe = _schema().validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)
        ours = [e for e in wrong if _path(e) in changed]  # rather than fields left as they were
        raise UsageError(_sentence((ours or wrong)[0])) from None
    return checked


def _path(error: Any) -> str:
    """The dotted name of the field that an error of the schema library is about."""
    return ".".join(part for part in error["loc"] if isinstance(part, str))


def _sentence(error: Any) -> str:
    path, value, kind = _path(error), error["input"], error["type"]
    if kind == "missing":
        return f"parameter {path} is missing: {_whole(path.rpartition('.')[0])}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"parameter {path}: {quoted(value)} is not a finite number"
    if kind in KINDS:
        return f"parameter {path}: {quoted(value)} is not a {KINDS[kind]}"
    hint = _hint(path)
    if isinstance(error["loc"][-1], int):  # a value of a list
        hint = typing.get_args(typing.get_args(hint)[0])[0]
    if kind == "literal_error":
        known = typing.get_args(hint)
        return (
            f"parameter {path}: {quoted(value)} is not allowed{registry.nearest(str(value), known)}"
        )
    allowed = next(m for m in hint.__metadata__ if isinstance(m, str))
    return f"parameter {path}: {quoted(value)} is not allowed; {allowed}"


def _whole(table: str) -> str:
    """What a table needs where the recipe lacks it."""
    needed = [f"{table}.{f.name}" for f in fields(_hint(table)) if f.default is MISSING]
    return f"this recipe has no {table}, which needs {', '.join(needed)}"


def _hint(path: str) -> Any:
    """The annotation of a field, with its range, and without None."""
    table, _, field = path.rpartition(".")
    hint = typing.get_type_hints(_hint(table) if table else Recipe, include_extras=True)[field]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    return hint
