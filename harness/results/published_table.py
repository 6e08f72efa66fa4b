"""The shape of a published table: its columns, blocks, rows and numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """One published number in its column's unit; sd is None where none is printed."""

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
    unit: str = "percent"
    printed: str | None = None  # the column whose published numbers stand for those of this one

    @property
    def by_rule(self) -> bool:
        """Whether the number depends on the grouping rule."""
        return "{rule}" in self.path


@dataclass(frozen=True)
class Block:
    key: str
    title: str
    imbalance: int | None
    dataset: str
    classes: dict[str, tuple[int, int, int]]  # many, medium and few classes, by grouping


@dataclass(frozen=True)
class Cells:
    """What a row prints in one block."""

    numbers: dict[str, Number]
    grouped_by: str | None
    note: str | None
    v1: dict[str, Number]
    v1_label: str | None = None
    target: bool = True  # False: not to be compared with


@dataclass(frozen=True)
class Row:
    method: str
    label: str
    ours: bool
    cells: dict[str, Cells]  # by block
    over: str | None = None


@dataclass(frozen=True)
class Paper:
    file: str
    kind: str
    main: bool
    title: str
    dataset: str | None  # None: each block has its own
    backbone: str | None
    metric: str
    source: str
    decimals: int
    caveats: tuple[str, ...]
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    groupings: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def compared(self) -> bool:
        """Whether any of its numbers were published."""
        return any(row.cells for row in self.rows)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets of its blocks, each once."""
        return tuple(dict.fromkeys(b.dataset for b in self.blocks))
