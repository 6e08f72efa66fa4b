"""From the content of a file to a published table.

version, title, dataset, metric, source, decimals, caveats
kind            what a number is of: "runs" (default; a method's runs), "gains" (a method's runs
                over those of another), "pool" (the synthetic images of a data set)
main            true for the table that stands for its data set where several show it
backbone        as recipes name it
[[columns]]     name; path of the number in a record's metrics, where {rule} stands for the
                grouping rule ("rules.{rule}.many", "overall", "ood.macro_f1"); unit: "percent"
                (default), "points" (a difference of percentages), "count"; printed = another
                column, which the paper prints instead of this one: a claim on this column is
                shown with the numbers of that one, and rows have none here
[blocks.<key>]  title; imbalance (left out where a data set has none); dataset where the table
                has none; classes = { <grouping> = [many, medium, few], ... }, how many there are
[groupings]     <letter> = what it means, for groupings besides harness.core.metrics.RULES
[[rows]]        method (canonical expression; kind "pool": the term that reads the images); label
                (default: the method); over = the other method (kind "gains"); ours = true for
                rows that nobody published; per block <key> = { <column> = number or [mean, sd],
                ..., grouped_by, note, target = false for numbers known to be wrong,
                v1 = { <column> or label = what version 1 of the paper prints instead } }
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from harness.core.errors import quoted, shortened
from harness.core.metrics import RULES
from harness.results.published_table import Block, Cells, Column, Number, Paper, Row

VERSION = 1
KINDS = ("runs", "gains", "pool")
UNITS = {
    "percent": (0, 100, "a percentage (0 to 100)"),
    "points": (-100, 100, "a difference of percentages (-100 to 100)"),
    "count": (0, math.inf, "a whole number from 0"),
}


class Fault(Exception):
    """Where a table is wrong, and how; whoever reads the file puts its name in front."""


def paper(file: str, raw: dict[str, Any]) -> Paper:
    """The table that a file holds; Fault where it is wrong."""
    text = ("title", "metric", "source")
    optional = {"kind", "main", "dataset", "backbone", "decimals", "groupings", "caveats"}
    _only("the table", raw, {*text, *optional, "version", "columns", "blocks", "rows"})
    if raw.get("version") != VERSION:
        raise Fault(f"version {quoted(raw.get('version'))}, expected {VERSION}")
    kind = _choice("the table", raw, "kind", KINDS)
    columns = tuple(_column(i, c) for i, c in enumerate(_list("the table", raw, "columns")))
    _unique("column", [c.name for c in columns])
    others = [c.name for c in columns if c.printed is None]
    for column in columns:
        if column.printed not in (None, *others):
            raise Fault(
                f"column {column.name}: printed is {quoted(column.printed)}, no printed column"
            )
    named = _table("the table", raw, "groupings") if "groupings" in raw else {}
    groupings = {name: str(says) for name, says in named.items()}
    known = (*RULES, *groupings)
    dataset = _maybe("the table", raw, "dataset")
    blocks = tuple(
        _block(k, b, dataset, known) for k, b in _table("the table", raw, "blocks").items()
    )
    rows = tuple(
        _row(i, r, kind, columns, blocks, known)
        for i, r in enumerate(_list("the table", raw, "rows"))
    )
    _unique("row", [r.method for r in rows])
    decimals = raw.get("decimals", 2)
    if type(decimals) is not int or not 0 <= decimals <= 6:
        raise Fault(f"decimals is {quoted(decimals)}, expected a whole number from 0 to 6")
    return Paper(
        file=file,
        kind=kind,
        main=_flag("the table", raw, "main", False),
        **{name: _text("the table", raw, name) for name in text},
        dataset=dataset,
        backbone=_maybe("the table", raw, "backbone"),
        decimals=decimals,
        caveats=tuple(str(c) for c in raw.get("caveats", [])),
        columns=columns,
        blocks=blocks,
        groupings=groupings,
        rows=rows,
    )


def _column(i: int, raw: Any) -> Column:
    where = f"column {i + 1}"
    _only(where, raw, {"name", "path", "unit", "printed"})
    unit = _choice(where, raw, "unit", tuple(UNITS))
    name, path = _text(where, raw, "name"), _text(where, raw, "path")
    return Column(name, path, unit, _maybe(where, raw, "printed"))


def _block(name: str, raw: Any, dataset: str | None, known: tuple[str, ...]) -> Block:
    where = f"block {shortened(name, 60)}"
    _only(where, raw, {"title", "imbalance", "dataset", "classes"})
    imbalance = raw.get("imbalance")
    if imbalance is not None and (type(imbalance) is not int or imbalance < 1):
        raise Fault(f"{where}: imbalance is {quoted(imbalance)}, expected a whole number from 1")
    if dataset is not None and "dataset" in raw:
        raise Fault(f"{where}: dataset is {quoted(raw['dataset'])}, but the table's is {dataset!r}")
    if dataset is None:
        dataset = _text(where, raw, "dataset")
    classes = _classes(f"{where}, classes", raw.get("classes", {}), known)
    return Block(name, _text(where, raw, "title"), imbalance, dataset, classes)


def _classes(where: str, raw: Any, known: tuple[str, ...]) -> dict[str, tuple[int, int, int]]:
    _only(where, raw, known)
    for name, sizes in raw.items():
        good = isinstance(sizes, list) and len(sizes) == 3
        if not good or not all(type(n) is int and n >= 0 for n in sizes):
            raise Fault(f"{where}: {name} is {quoted(sizes)}, expected three numbers of classes")
    if len({sum(sizes) for sizes in raw.values()}) > 1:
        totals = ", ".join(f"{name} {sum(sizes)}" for name, sizes in raw.items())
        raise Fault(f"{where}: the groups hold different numbers of classes ({totals})")
    return {name: tuple(raw[name]) for name in known if name in raw}


def _row(
    i: int,
    raw: Any,
    kind: str,
    columns: tuple[Column, ...],
    blocks: tuple[Block, ...],
    known: tuple[str, ...],
) -> Row:
    keys = [b.key for b in blocks]
    _only(f"row {i + 1}", raw, {"method", "label", "over", "ours", *keys})
    method = _text(f"row {i + 1}", raw, "method")
    where = f"row {shortened(method, 60)}"
    ours = _flag(where, raw, "ours", False)
    cells = {k: _cells(f"{where}, {k}", raw[k], columns, known) for k in keys if k in raw}
    if ours and cells:
        raise Fault(f"{where}: is ours, so it has no published numbers, but {', '.join(cells)}")
    if not ours and not cells:
        raise Fault(f"{where}: no published numbers; expected some in {', '.join(keys)}")
    over = _maybe(where, raw, "over")
    if (over is None) == (kind == "gains"):
        expected = "a method" if kind == "gains" else f"none in a table of kind {kind}"
        raise Fault(f"{where}: over is {quoted(over)}, expected {expected}")
    label = _text(where, {"label": method, **raw}, "label")
    return Row(method, label, ours, cells, over)


def _cells(where: str, raw: Any, columns: tuple[Column, ...], known: tuple[str, ...]) -> Cells:
    columns = tuple(c for c in columns if c.printed is None)
    names = [c.name for c in columns]
    _only(where, raw, {*names, "grouped_by", "note", "target", "v1"})
    for name in names:
        if name not in raw:
            raise Fault(f"{where}, column {name}: missing")
    grouped_by = raw.get("grouped_by")
    if grouped_by not in known and any(c.by_rule for c in columns):
        raise Fault(
            f"{where}: grouped_by is {quoted(grouped_by)}, expected one of {', '.join(known)}"
        )
    v1 = raw.get("v1", {})
    _only(f"{where}, v1", v1, {*names, "label"})
    return Cells(
        numbers={c.name: _number(f"{where}, column {c.name}", raw[c.name], c) for c in columns},
        grouped_by=grouped_by,
        note=_maybe(where, raw, "note"),
        v1={
            c.name: _number(f"{where}, v1, column {c.name}", v1[c.name], c)
            for c in columns
            if c.name in v1
        },
        v1_label=_maybe(f"{where}, v1", v1, "label"),
        target=_flag(where, raw, "target", True),
    )


def _number(where: str, raw: Any, column: Column) -> Number:
    parts = raw if isinstance(raw, list) else [raw]
    low, high, says = UNITS[column.unit]
    kinds = (int,) if column.unit == "count" else (int, float)
    good = len(parts) <= 2 and all(type(p) in kinds and low <= p <= high for p in parts)
    if not (good and parts):
        raise Fault(f"{where}: {quoted(raw)} is neither {says} nor [mean, sd]")
    return Number(*(float(p) for p in parts))


def _only(where: str, raw: Any, allowed: Collection[str]) -> None:
    if not isinstance(raw, Mapping):
        raise Fault(f"{where}: {quoted(raw)} is no table of names and values")
    for name in raw:
        if name not in allowed:
            raise Fault(
                f"{where}: unknown name {quoted(name)}; expected "
                f"{', '.join(sorted(allowed))}{nearest(name, allowed)}"
            )


def _text(where: str, raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise Fault(f"{where}: {name} is {quoted(value)}, expected a text")
    return value


def _maybe(where: str, raw: Mapping[str, Any], name: str) -> str | None:
    return _text(where, raw, name) if name in raw else None


def _choice(where: str, raw: Mapping[str, Any], name: str, options: tuple[str, ...]) -> str:
    """One of the options; the first where it is left out."""
    value = raw.get(name, options[0])
    if value not in options:
        raise Fault(
            f"{where}: {name} is {quoted(value)}, expected one of {', '.join(options)}"
            f"{nearest(str(value), options)}"
        )
    return str(value)


def _flag(where: str, raw: Mapping[str, Any], name: str, default: bool) -> bool:
    value = raw.get(name, default)
    if not isinstance(value, bool):
        raise Fault(f"{where}: {name} is {quoted(value)}, expected true or false")
    return value


def _list(where: str, raw: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(raw.get(name), list) or not raw[name]:
        raise Fault(f"{where}: no [[{name}]]")
    items: list[Any] = raw[name]
    return items


def _table(where: str, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(raw.get(name), dict) or not raw[name]:
        raise Fault(f"{where}: no [{name}.<key>]")
    entries: dict[str, Any] = raw[name]
    return entries


def _unique(what: str, names: list[str]) -> None:
    for name, times in Counter(names).most_common(1):
        if times > 1:
            raise Fault(f"{what} {shortened(name, 60)}: occurs {times} times")


def nearest(name: str, known: Collection[str]) -> str:
    """What to add to an error about an unknown name: the one that is most like it."""
    near = difflib.get_close_matches(name[:100], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
