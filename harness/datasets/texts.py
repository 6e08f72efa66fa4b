"""Reads the text files of data sets: lists and tables (CSV), each with errors that say where.

A byte order mark, Windows line ends and blank lines at the end of a file change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.core import documents
from harness.core.errors import DataError, quoted
from harness.core.registry import nearest
from harness.datasets.offences import Faults

WHOLE = "a whole number from 0"
LONGEST = 18  # digits of a number that fits 64 bits whatever they are


def lines(path: Path, holds: str) -> list[str]:
    """The lines of a file, without their ends; DataError for one that is blank, or for none."""
    content = documents.text(path, holds).split("\n")
    while content and not content[-1].strip():
        content.pop()
    faults = Faults()
    for number, line in enumerate(content, 1):
        if not line.strip():
            faults.add(f"{path}, line {number}: blank, with {quoted(content[-1])} after it")
    faults.refuse()
    if not content:
        raise DataError(f"{path}: empty, expected {holds}")
    return [line.removesuffix("\r") for line in content]


def whole(value: str, where: str, name: str) -> int:
    """A number as the official files write it, digits only; DataError for anything else."""
    if not (value.isascii() and value.isdigit() and len(value) <= LONGEST):
        raise DataError(f"{where}: {name} {quoted(value)}, expected {WHOLE}")
    return int(value)


class Table:
    """The columns asked for of a CSV file with a header.

    Raises DataError for a header that lacks one of them or names one twice, and for a row with
    more or fewer fields than the header.
    """

    def __init__(self, path: Path, columns: Sequence[str], holds: str) -> None:
        self.path, self.columns = path, tuple(columns)
        self.rows: list[list[str]] = []  # of the columns asked for
        self.lines: list[int] = []  # the line that each row ends on
        rows = documents.csv_rows(path, holds)
        _, header = next(rows, (1, []))
        self._read(rows, self._places(header), len(header))
        if not self.rows:
            raise DataError(f"{path}: no row below the header, expected {holds}")

    def column(self, name: str) -> list[str]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def numbers(self, name: str) -> list[int]:
        """A column of whole numbers from 0."""
        faults, values = Faults(), []
        for i, value in enumerate(self.column(name)):
            with faults.gathering():
                values.append(whole(value, self.where(i), name))
        faults.refuse()
        return values

    def where(self, row: int) -> str:
        """How an error names a row."""
        return f"{self.path}, line {self.lines[row]}"

    def _places(self, header: list[str]) -> list[int]:
        for name in self.columns:
            if header.count(name) != 1:
                number = "no" if name not in header else "more than one"
                where = f"{self.path}, line 1"
                raise DataError(f"{where}: {number} column {name!r}{nearest(name, header)}")
        return [header.index(name) for name in self.columns]

    def _read(self, rows: Iterator[tuple[int, list[str]]], places: list[int], width: int) -> None:
        blank, faults = 0, Faults()
        for line, row in rows:
            if not row:
                blank = blank or line
            elif blank:
                faults.add(f"{self.path}, line {blank}: blank, with rows after it")
                blank = 0
            elif len(row) != width:
                fields = f"{len(row)} fields, expected {width} as in the header"
                faults.add(f"{self.path}, line {line}: {fields}")
            else:
                self.rows.append([row[i] for i in places])
                self.lines.append(line)
        faults.refuse()
