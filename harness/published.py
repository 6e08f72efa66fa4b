"""Published tables: results/paper/<name>.toml, read and checked.

version, title, dataset, metric, source, decimals, caveats
[[columns]]     name; path of the number in a record's metrics, where {rule} stands for the
                grouping rule ("rules.{rule}.many", "overall", "ood.macro_f1")
[blocks.<key>]  title; imbalance (left out where a data set has none)
[groupings]     <letter> = what it means, for groupings besides harness.metrics.RULES
[[rows]]        method (canonical expression); label (default: the method); ours = true for rows
                that nobody published; per block <key> = { <column> = number or [mean, sd], ...,
                grouped_by, note, v1 = { <column> = ... } }
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.metrics import RULES
from harness.types import DataError, UsageError

FOLDER = Path(__file__).parents[1] / "results" / "paper"
VERSION = 1


@dataclass(frozen=True)
class Number:
    """One published number in percent; sd is None where none is printed."""

    value: float
    sd: float | None = None

    def text(self, decimals: int) -> str:
        """As the paper prints it."""
        sd = "" if self.sd is None else f" ± {self.sd:.{decimals}f}"
        return f"{self.value:.{decimals}f}{sd}"


@dataclass(frozen=True)
class Column:
    name: str
    path: str

    @property
    def by_rule(self) -> bool:
        """Whether the number depends on the grouping rule."""
        return "{rule}" in self.path


@dataclass(frozen=True)
class Block:
    key: str
    title: str
    imbalance: int | None


@dataclass(frozen=True)
class Cells:
    """What a row prints in one block."""

    numbers: dict[str, Number]
    grouped_by: str | None
    note: str | None
    v1: dict[str, Number]


@dataclass(frozen=True)
class Row:
    method: str
    label: str
    ours: bool
    cells: dict[str, Cells]  # by block


@dataclass(frozen=True)
class Paper:
    file: str
    title: str
    dataset: str
    metric: str
    source: str
    decimals: int
    caveats: tuple[str, ...]
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    groupings: dict[str, str]
    rows: tuple[Row, ...]


def find(name: str, folder: Path = FOLDER) -> Path:
    """The file of a published table; UsageError lists what there is and the nearest name."""
    known = sorted(p.stem for p in Path(folder).glob("*.toml"))
    if name in known:
        return Path(folder) / f"{name}.toml"
    raise UsageError(
        f"no table {name!r} in {folder}; there are {', '.join(known) or 'none'}"
        f"{_nearest(name, known)}"
    )


def of(dataset: str, folder: Path = FOLDER) -> Path:
    """The first published table of a data set; UsageError when there is none."""
    for file in sorted(Path(folder).glob("*.toml")):
        if read(file).dataset == dataset:
            return file
    raise UsageError(f"no table of {dataset} in {folder}")


def read(file: Path) -> Paper:
    """The table in a file; DataError names the file, the row and the column that is wrong."""
    try:
        with Path(file).open("rb") as opened:
            raw = tomllib.load(opened)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # TOML and UTF-8 errors are both of this kind
        raise DataError(f"{file}: not TOML ({error})") from error
    try:
        return _paper(str(file), raw)
    except _Fault as fault:
        raise DataError(f"{file}: {fault}") from None


class _Fault(Exception):
    """Where a table is wrong, and how; `read` puts the file's name in front."""


def _paper(file: str, raw: dict[str, Any]) -> Paper:
    text = ("title", "dataset", "metric", "source")
    lists = ("columns", "rows", "caveats")
    _only("the table", raw, {*text, *lists, "version", "decimals", "blocks", "groupings"})
    if raw.get("version") != VERSION:
        raise _Fault(f"version {raw.get('version')!r}, expected {VERSION}")
    columns = tuple(_column(i, c) for i, c in enumerate(_list("the table", raw, "columns")))
    _unique("column", [c.name for c in columns])
    blocks = tuple(_block(k, b) for k, b in _table("the table", raw, "blocks").items())
    groupings = {k: str(v) for k, v in raw.get("groupings", {}).items()}
    known = (*RULES, *groupings)
    rows = tuple(
        _row(i, r, columns, blocks, known) for i, r in enumerate(_list("the table", raw, "rows"))
    )
    _unique("row", [r.method for r in rows])
    decimals = raw.get("decimals", 2)
    if type(decimals) is not int or not 0 <= decimals <= 6:
        raise _Fault(f"decimals is {decimals!r}, expected a whole number from 0 to 6")
    return Paper(
        file=file,
        **{name: _text("the table", raw, name) for name in text},
        decimals=decimals,
        caveats=tuple(str(c) for c in raw.get("caveats", [])),
        columns=columns,
        blocks=blocks,
        groupings=groupings,
        rows=rows,
    )


def _column(i: int, raw: Any) -> Column:
    where = f"column {i + 1}"
    _only(where, raw, {"name", "path"})
    return Column(_text(where, raw, "name"), _text(where, raw, "path"))


def _block(name: str, raw: Any) -> Block:
    where = f"block {name}"
    _only(where, raw, {"title", "imbalance"})
    imbalance = raw.get("imbalance")
    if imbalance is not None and (type(imbalance) is not int or imbalance < 1):
        raise _Fault(f"{where}: imbalance is {imbalance!r}, expected a whole number from 1")
    return Block(name, _text(where, raw, "title"), imbalance)


def _row(
    i: int, raw: Any, columns: tuple[Column, ...], blocks: tuple[Block, ...], known: tuple[str, ...]
) -> Row:
    keys = [b.key for b in blocks]
    _only(f"row {i + 1}", raw, {"method", "label", "ours", *keys})
    method = _text(f"row {i + 1}", raw, "method")
    where = f"row {method}"
    ours = raw.get("ours", False)
    if not isinstance(ours, bool):
        raise _Fault(f"{where}: ours is {ours!r}, expected true or false")
    cells = {k: _cells(f"{where}, {k}", raw[k], columns, known) for k in keys if k in raw}
    if ours and cells:
        raise _Fault(f"{where}: is ours, so it has no published numbers, but {', '.join(cells)}")
    if not ours and not cells:
        raise _Fault(f"{where}: no published numbers; expected some in {', '.join(keys)}")
    label = _text(where, {"label": method, **raw}, "label")
    return Row(method, label, ours, cells)


def _cells(where: str, raw: Any, columns: tuple[Column, ...], known: tuple[str, ...]) -> Cells:
    names = [c.name for c in columns]
    _only(where, raw, {*names, "grouped_by", "note", "v1"})
    for name in names:
        if name not in raw:
            raise _Fault(f"{where}, column {name}: missing")
    grouped_by = raw.get("grouped_by")
    if grouped_by not in known and any(c.by_rule for c in columns):
        raise _Fault(f"{where}: grouped_by is {grouped_by!r}, expected one of {', '.join(known)}")
    v1 = raw.get("v1", {})
    _only(f"{where}, v1", v1, set(names))
    return Cells(
        numbers={n: _number(f"{where}, column {n}", raw[n]) for n in names},
        grouped_by=grouped_by,
        note=_text(where, raw, "note") if "note" in raw else None,
        v1={n: _number(f"{where}, v1, column {n}", v) for n, v in v1.items()},
    )


def _number(where: str, raw: Any) -> Number:
    parts = raw if isinstance(raw, list) else [raw]
    good = len(parts) <= 2 and all(type(p) in (int, float) and 0 <= p <= 100 for p in parts)
    if not (good and parts):
        raise _Fault(f"{where}: {raw!r} is neither a percentage (0 to 100) nor [mean, sd]")
    return Number(*(float(p) for p in parts))


def _only(where: str, raw: Any, allowed: Collection[str]) -> None:
    if not isinstance(raw, Mapping):
        raise _Fault(f"{where}: {raw!r} is no table of names and values")
    for name in raw:
        if name not in allowed:
            raise _Fault(
                f"{where}: unknown name {name!r}; expected "
                f"{', '.join(sorted(allowed))}{_nearest(name, allowed)}"
            )


def _text(where: str, raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise _Fault(f"{where}: {name} is {value!r}, expected a text")
    return value


def _list(where: str, raw: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(raw.get(name), list) or not raw[name]:
        raise _Fault(f"{where}: no [[{name}]]")
    found: list[Any] = raw[name]
    return found


def _table(where: str, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(raw.get(name), dict) or not raw[name]:
        raise _Fault(f"{where}: no [{name}.<key>]")
    found: dict[str, Any] = raw[name]
    return found


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise _Fault(f"{what} {name}: occurs {names.count(name)} times")


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
