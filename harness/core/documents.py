"""Reads text, JSON, TOML, YAML and CSV, within bounds; every error is a sentence with the file.

A file is regular and has at most a size; its values are nested to at most a depth; whole numbers
have at most 64 bits; JSON has finite numbers only; the aliases of YAML stand for a bounded number
of values. Whoever reads a file checks its content further: harness.core.schemas.

what: the content as errors name it: "record", "golden numbers". expected: what a missing file
should hold, where users put it there themselves.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from harness.core import regular_files
from harness.core.errors import LIBRARY_ERRORS, DataError, brief

# MiB of a file. The lists of iNaturalist 2018 have 120; YAML and TOML are written by hand.
LARGEST = {"text": 1024, "JSON": 1024, "TOML": 0.25, "YAML": 0.125}
DEEPEST = 50  # values within values
MOST_VALUES = 100_000  # of a YAML file, its aliases counted as what they stand for
_DOTTED = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{DEEPEST}}}""")  # a TOML name


def text(path: Path, expected: str | None = None, largest_mib: float = LARGEST["text"]) -> str:
    """A file as text, without a byte order mark; DataError when it cannot be read or is no UTF-8.

    The line of the first byte that is no UTF-8 is named.
    """
    return _decoded(regular_files.read(path, largest_mib, expected), str(path))


def json_value(path: Path, what: str, expected: str | None = None) -> Any:
    """The value in a JSON file; DataError, with line and column, when it is damaged."""
    return json_text(text(path, expected, LARGEST["JSON"]), str(path), what)


def json_lines(path: Path, what: str) -> list[Any]:
    """The value in each line of a file; DataError, with the line, when one is damaged."""
    lines = text(path).split("\n")
    if not lines[-1].strip():
        lines.pop()
    return [json_text(line, f"{path}, line {n}", what) for n, line in enumerate(lines, 1)]


def json_text(content: str | bytes, where: str, what: str) -> Any:
    """The value that a text holds; DataError, which begins with `where`, when it is damaged."""
    try:
        if isinstance(content, bytes):
            content = content.decode("utf-8-sig")
        value = json.loads(content, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: damaged {what}, not UTF-8 ({error.reason})") from None
    except RecursionError:
        raise DataError(f"{where}: damaged {what}, nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{where}: damaged {what}, not JSON ({brief(error)})") from None
    if fault := _fault(value, finite=True):
        raise DataError(f"{where}: damaged {what}, {fault}")
    return value


def toml_table(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file; DataError, with line and column, when it is damaged."""
    content, damaged = text(path, None, LARGEST["TOML"]), f"{path}: damaged {what}"
    if _DOTTED.search(content):
        raise DataError(f"{damaged}, nested too deeply")
    try:
        table = tomllib.loads(content)
    except RecursionError:
        raise DataError(f"{damaged}, nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{damaged}, not TOML ({brief(error)})") from None
    if fault := _fault(table, finite=False):
        raise DataError(f"{damaged}, {fault}")
    return table


def yaml_value(content: str) -> Any:
    """A YAML 1.2 value, as DVC reads it (1e-3 is a number, no is a text); ValueError for others."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError, YAMLStreamError, YAMLWarning

    if len(content.encode(errors="replace")) > LARGEST["YAML"] * regular_files.MIB:
        raise ValueError(f"more than {LARGEST['YAML']:g} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)
            _refuse_bombs(YAML(typ="safe", pure=True).parse(content))
            value = YAML(typ="safe", pure=True).load(content)
    except (YAMLError, YAMLStreamError, *LIBRARY_ERRORS) as error:
        raise ValueError(brief(error)) from None
    if fault := _fault(value, finite=False):
        raise ValueError(fault)
    return value


def yaml_file(path: Path, what: str) -> Any:
    """The value in a YAML file; DataError, with line and column, when it is damaged."""
    content = text(path, None, LARGEST["YAML"])
    try:
        return yaml_value(content)
    except ValueError as error:
        raise DataError(f"{path}: damaged {what}, not YAML ({error})") from None


def csv_rows(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, each with the line that it ends on; DataError where it is damaged."""
    reader = csv.reader(io.StringIO(text(path, expected), newline=""), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {brief(error)}") from None


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: not UTF-8 ({error.reason})") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _fault(value: Any, finite: bool) -> str | None:
    """What is out of bounds in a value of JSON, TOML or YAML, in words; None for nothing.

    finite: whether numbers must be.
    """
    layer: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        deeper: list[Any] = []
        for item in layer:
            kind = type(item)
            if kind is dict:
                deeper.extend(name for name in item if type(name) is not str)
                deeper.extend(item.values())
            elif kind in (list, tuple, set):
                deeper.extend(item)
            elif kind is int and not -(2**63) <= item < 2**64:
                return "with a number of more than 64 bits"
            elif kind is float and finite and not math.isfinite(item):
                return "with a number that is not finite"
        if not deeper:
            return None
        layer = deeper
    return "nested too deeply"


def _refuse_bombs(events: Iterable[Any]) -> None:
    """Count the values of a YAML text before any is made; ValueError for too many or too deep."""
    from ruamel.yaml import events as kinds

    sizes: dict[str, int] = {}  # of what anchors name
    open_values: list[tuple[str | None, int]] = [(None, 0)]  # anchor, and values within so far
    for event in events:
        anchor, size = getattr(event, "anchor", None), 0
        if isinstance(event, kinds.CollectionStartEvent):
            open_values.append((anchor, 1))
        elif isinstance(event, kinds.CollectionEndEvent):
            anchor, size = open_values.pop()
        elif isinstance(event, kinds.AliasEvent):
            anchor, size = None, sizes.get(event.anchor, 1)
        elif isinstance(event, kinds.ScalarEvent):
            size = 1
        if anchor is not None and size:
            sizes[anchor] = size
        open_values[-1] = (open_values[-1][0], open_values[-1][1] + size)
        if open_values[-1][1] > MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
        if len(open_values) > DEEPEST:
            raise ValueError("nested too deeply")
