"""Offences: all that is wrong with a data set's files, told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from harness.core.errors import DataError, one_line

T = TypeVar("T")
SHOWN = 20  # lines of an error; the others are counted


class Offences(DataError):
    """Several offences, a line each: file, what is wrong, what is allowed."""

    def __init__(self, lines: tuple[str, ...], count: int) -> None:
        super().__init__(lines, count)
        self.lines, self.count = tuple(map(one_line, lines)), count

    def __str__(self) -> str:
        if self.count == 1:
            return self.lines[0]
        return "\n".join([*self.listed, f"{self.count} offences"])

    @property
    def listed(self) -> list[str]:
        """The lines, and the number of those that are not shown."""
        more = self.count - len(self.lines)
        return [*self.lines, *([f"and {more} more"] if more else [])]


class Faults:
    """Collects offences; the first SHOWN are kept as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def add(self, line: str) -> None:
        self.extend([line], 1)

    def extend(self, lines: Iterable[str], count: int) -> None:
        """Lines in order, of which only as many are drawn as are shown, and their number."""
        source = iter(lines)
        for _ in range(min(count, SHOWN - len(self.lines))):
            self.lines.append(next(source))
        self.count += count

    def take(self, error: DataError) -> None:
        """Add what an error says: one offence, or several."""
        if isinstance(error, Offences):
            self.extend(error.lines, len(error.lines))
            self.count += error.count - len(error.lines)
        else:
            self.add(str(error))

    def merge(self, other: Faults) -> None:
        self.extend(other.lines, len(other.lines))
        self.count += other.count - len(other.lines)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Within, a DataError is an offence more, and the code after it goes on."""
        try:
            yield
        except DataError as error:
            self.take(error)

    def refuse(self) -> None:
        """Raise Offences if there are any."""
        if self.count:
            raise Offences(tuple(self.lines), self.count)


class Report:
    """What was verified, a line each, and what is wrong."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.faults = Faults()

    def add(self, line: str, faults: Faults | None = None) -> None:
        """The line if nothing is wrong with what it says, else the faults."""
        if faults is not None and faults.count:
            self.faults.merge(faults)
        else:
            self.lines.append(line)


def of_all(readers: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What each of them returns, by name; Offences of all that fail."""
    faults, results = Faults(), {}
    for name, read in readers.items():
        with faults.gathering():
            results[name] = read()
    faults.refuse()
    return results
