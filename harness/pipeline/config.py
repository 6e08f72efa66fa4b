"""params.yaml: the parameters of a recipe that DVC watches, by profile and data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError, UsageError, brief

FILE = "params.yaml"
PROFILES = ("mini", "smoke", "paper")


def overrides(
    file: Path | None, home: Path, profile: str, dataset: str
) -> tuple[tuple[str, Any], ...]:
    """Recipe fields that params.yaml sets for this profile and data set.

    `file` None: params.yaml in `home`, where a missing one sets nothing. Raises DataError for a
    file that cannot be read, UsageError for one that is not a table of tables of tables, and for
    names of profiles and data sets that there are not.
    """
    path = file or home / FILE
    if file is None and not path.exists():
        return ()
    found = _table(path, "the file", _read(path), PROFILES)
    for name in found:
        found[name] = _table(path, name, found[name], registry.names("harness.datasets"))
    values = _table(path, f"{profile}: {dataset}", found.get(profile, {}).get(dataset), None)
    return tuple(sorted(values.items()))


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: no UTF-8, no such date
        raise DataError(f"cannot read {path}: {brief(error)}") from error


def _table(path: Path, where: str, content: Any, known: Any) -> dict[str, Any]:
    """`content` as a table whose names are `known` (None: any); nothing at all is an empty one."""
    if content is not None and not isinstance(content, dict):
        wanted = "expected profile: data set: name: value"
        raise UsageError(f"{path}: {where} is {content!r:.60}; {wanted}")
    names = {str(name): value for name, value in (content or {}).items()}
    for name in names:
        if known is not None and name not in known:
            raise UsageError(f"{path}: unknown name {name!r}{registry.nearest(name, known)}")
    return names
