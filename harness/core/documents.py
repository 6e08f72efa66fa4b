"""Reads text, JSON, TOML and YAML; every error is a sentence with the file and what is wrong.

what: the content as errors name it: "record", "golden numbers". expected: what a missing file
should hold, where users put it there themselves.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from harness.core.errors import DataError, brief


def text(path: Path, expected: str | None = None) -> str:
    """A file as text, without a byte order mark; DataError when it cannot be read or is no UTF-8.

    The line of the first byte that is no UTF-8 is named.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None
    except OSError as error:
        if expected is not None and isinstance(error, FileNotFoundError):
            raise DataError(f"{path}: no such file; expected {expected}") from None
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def json_value(path: Path, what: str, expected: str | None = None) -> Any:
    """The value in a JSON file; DataError, with line and column, when it is damaged."""
    content = text(path, expected)
    try:
        return json.loads(content)
    except RecursionError:
        raise DataError(f"{path}: damaged {what}, nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged {what}, not JSON ({brief(error)})") from None


def json_lines(path: Path, what: str) -> list[Any]:
    """The value in each line of a file; DataError, with the line, when one is damaged."""
    values = []
    for number, line in enumerate(text(path).splitlines(), 1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            where = f"{path}, line {number}"
            raise DataError(f"{where}: damaged {what}, not JSON ({brief(error)})") from None
    return values


def toml_table(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file; DataError, with line and column, when it is damaged."""
    content = text(path)
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged {what}, not TOML ({brief(error)})") from None


def yaml_value(content: str) -> Any:
    """A YAML 1.2 value, as DVC reads it (1e-3 is a number, no is a text); ValueError for others."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(content)
    except YAMLError as error:
        raise ValueError(brief(error)) from error


def yaml_file(path: Path, what: str) -> Any:
    """The value in a YAML file; DataError, with line and column, when it is damaged."""
    content = text(path)
    try:
        return yaml_value(content)
    except ValueError as error:
        raise DataError(f"{path}: damaged {what}, not YAML ({error})") from None
