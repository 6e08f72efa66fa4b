"""Reads the JSON files of iNaturalist's data sets, which follow COCO's."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.core.errors import DataError, quoted, shortened
from harness.datasets import rows
from harness.datasets.offences import Faults, of_all


def class_names(path: Path) -> list[str]:
    """Names by category id: the common one where the file has one, the scientific one else.

    DataError unless it is a list of categories with the ids 0, 1, 2, ... in this order.
    """
    expected = "the categories with their real names"
    categories = _Entries(path, "", documents.json_value(path, "categories", expected))
    if categories.column("id", int) != list(range(len(categories.entries))):
        raise DataError(f"{path}: ids are not 0, 1, 2, ... in this order")
    names = categories.column("name", str)
    for number, entry in enumerate(categories.entries):
        if isinstance(entry.get("common_name"), str):
            names[number] = entry["common_name"]
    spoken = [" ".join(re.split(r"[\s_]+", name)).strip() for name in names]
    for number, name in enumerate(spoken):
        if not any(c.isalnum() for c in name):
            raise DataError(f"{categories.where(number)}: {quoted(names[number])} is no class name")
    return spoken


def listing(path: Path, classes: int) -> rows.Listing:
    """The images of a file, labelled by their annotations; annotations[i] is of images[i].

    DataError for a file that is damaged or says otherwise.
    """
    expected = "images, annotations and categories as in COCO's files"
    content = documents.json_value(path, "annotations", expected)
    if not isinstance(content, dict):
        raise DataError(f"{path}: a {type(content).__name__}, expected an object with images")
    parts = {
        name: _Entries(path, name, content.pop(name, None)) for name in ("images", "annotations")
    }
    images, notes = parts["images"], parts["annotations"]
    if len(images.entries) != len(notes.entries):
        sizes = f"{len(images.entries)} images and {len(notes.entries)} annotations"
        raise DataError(f"{path}: {sizes}, expected one annotation per image")
    columns = of_all(
        {
            "id": partial(images.column, "id", int),
            "path": partial(images.column, "file_name", str),
            "label": partial(notes.column, "category_id", int),
            "note": partial(notes.column, "id", int),
            "image": partial(notes.column, "image_id", int),
        }
    )
    ids, faults = columns["id"], Faults()
    _same(ids, columns.pop("note"), notes, "id", faults)
    _same(ids, columns.pop("image"), notes, "image_id", faults)
    where = rows.Where(path, "images[{0}], annotations[{0}]")
    return rows.listing({"place": range(len(ids)), **columns}, where, classes, faults)


def _same(ids: list[int], values: list[int], notes: _Entries, name: str, faults: Faults) -> None:
    """At fault is an annotation that is not that of the image with its number."""
    for number, (expected, value) in enumerate(zip(ids, values, strict=True)):
        if expected != value:
            where = notes.where(number)
            faults.add(f"{where}: {name} {value}, expected {expected} as of images[{number}]")


class _Entries:
    """A list of objects in a JSON file; DataError for anything else."""

    def __init__(self, path: Path, name: str, entries: Any) -> None:
        self.path, self.name = path, name
        if not isinstance(entries, list) or not entries:
            kind = "nothing" if not entries else type(entries).__name__
            raise DataError(f"{path}: {name or 'holds'} {kind}, expected a list of objects")
        self.entries: list[Any] = entries

    def where(self, number: int) -> str:
        return f"{self.path}, {self.name}[{number}]"

    def column(self, name: str, kind: type) -> list[Any]:
        """The field of that name of all of them: whole numbers from 0 (int) or texts (str)."""
        try:
            values = [entry[name] for entry in self.entries]
        except (KeyError, TypeError, IndexError):
            values = []
        fine = len(values) == len(self.entries) and set(map(type, values)) == {kind}
        if not fine or not (_numbers if kind is int else _texts)(values):
            faults = Faults()
            for number, entry in enumerate(self.entries):
                with faults.gathering():
                    self._check(number, entry, name, kind)
            faults.refuse()
        return values

    def _check(self, number: int, entry: Any, name: str, kind: type) -> None:
        if not isinstance(entry, dict):
            fault = f"a {type(entry).__name__}, expected an object"
        elif name not in entry:
            fault = f"no field {name!r} among {shortened(', '.join(entry), 60) or 'none'}"
        elif type(entry[name]) is not kind or not (_numbers if kind is int else _texts)(
            [entry[name]]
        ):
            allowed = "a whole number from 0" if kind is int else "a text"
            fault = f"{name} {quoted(entry[name])}, expected {allowed}"
        else:
            return
        raise DataError(f"{self.where(number)}: {fault}")


def _numbers(values: list[int]) -> bool:
    return min(values) >= 0 and max(values) < 2**63


def _texts(values: list[str]) -> bool:
    """Whether they are Unicode: JSON can spell halves of characters."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True
