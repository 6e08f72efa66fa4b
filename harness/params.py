"""params.yaml: the parameters of a recipe that DVC watches, by profile and data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.types import DataError, UsageError

FILE = "params.yaml"


def overrides(
    file: Path | None, home: Path, profile: str, dataset: str
) -> tuple[tuple[str, Any], ...]:
    """Recipe fields that params.yaml sets for this profile and data set.

    `file` None: params.yaml in `home`, where a missing one sets nothing. Raises DataError for a
    file that cannot be read, UsageError for one that is not a table of tables of tables.
    """
    path = file or home / FILE
    if file is None and not path.exists():
        return ()
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    for name in (profile, dataset):
        if not isinstance(content, dict):
            break
        content = content.get(name, {})
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected profile: data set: parameter: value")
    return tuple(sorted((str(k), v) for k, v in content.items()))
