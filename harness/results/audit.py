"""Do published groups add up? Overall beside the class-weighted mean of many, medium and few.

On a balanced test set the two are equal, so a row that is off was grouped by another rule than
assumed, or holds a misprint or numbers of different runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import DataError
from harness.core.metrics import GROUPS
from harness.results.published_table import Block, Cells, Number, Paper, Row

HEADLINE = "A"  # the grouping rule that rows are assumed to follow
TOLERANCE = 0.15  # points: numbers rounded to one decimal can be off by 0.1
PARTS = (*(f"rules.{{rule}}.{group}" for group in GROUPS), "overall")


@dataclass(frozen=True)
class Fit:
    """A row's groups weighted by a rule's numbers of classes."""

    value: float  # percent
    residual: float  # Overall minus value, points


@dataclass(frozen=True)
class Finding:
    """What one row's numbers say about their grouping, in one block of one table."""

    table: str  # the file's stem
    block: str
    row: str  # method
    v1: bool  # with the numbers of version 1 where they differ
    overall: float
    by_rule: dict[str, Fit]  # of every grouping whose numbers of classes the block has
    flagged: bool  # more than the tolerance away from HEADLINE
    best: str  # the grouping with the smallest residual; the first in the alphabet if several
    explained: bool  # whether that residual is within the tolerance
    fits: tuple[str, ...]  # groupings within the tolerance, the nearest first, equal ones once
    rounding: float  # the largest residual, in points, that rounding of the numbers can make

    @property
    def above_rounding(self) -> bool:
        """Whether the nearest grouping leaves more than rounding can make."""
        return abs(self.by_rule[self.best].residual) > self.rounding + 1e-9


def audit(papers: Iterable[Paper], tolerance: float = TOLERANCE) -> list[Finding]:
    """Findings of all rows that print many, medium, few and overall, in the tables' order.

    Tables without these columns have none. tolerance: points. DataError for a block whose
    numbers of classes are missing.
    """
    return [finding for paper in papers for finding in _of_table(paper, tolerance)]


def _of_table(paper: Paper, tolerance: float) -> Iterator[Finding]:
    columns = _columns(paper)
    for block in paper.blocks if columns else ():
        _check(paper, block)
        for row in paper.rows:
            for v1, numbers in _versions(row.cells.get(block.key), columns):
                where = (Path(paper.file).stem, block.key, row.method, v1)
                yield _finding(where, [numbers[c].value for c in columns], block, tolerance)


def _versions(cells: Cells | None, columns: list[str]) -> Iterator[tuple[bool, dict[str, Number]]]:
    if cells is None:
        return
    yield False, cells.numbers
    if cells.v1.keys() & set(columns):
        yield True, {**cells.numbers, **cells.v1}


def _columns(paper: Paper) -> list[str]:
    """Names of the columns of PARTS; [] if the table lacks one of them."""
    names = {c.path: c.name for c in paper.columns}
    return [names[path] for path in PARTS] if set(PARTS) <= names.keys() else []


def _check(paper: Paper, block: Block) -> None:
    if HEADLINE not in block.classes:
        raise DataError(
            f"{paper.file}: block {block.key}: no classes of rule {HEADLINE} to add its groups up"
        )


def _finding(
    where: tuple[str, str, str, bool], values: Sequence[float], block: Block, tolerance: float
) -> Finding:
    *groups, overall = values
    fits = {rule: _fit(groups, overall, block.classes[rule]) for rule in sorted(block.classes)}
    order = sorted(fits, key=lambda rule: abs(fits[rule].residual))
    near = [rule for rule in order if abs(fits[rule].residual) <= tolerance]
    different = {tuple(block.classes[rule]): rule for rule in reversed(near)}
    best = order[0]
    return Finding(
        *where,
        overall=overall,
        by_rule=fits,
        flagged=abs(fits[HEADLINE].residual) > tolerance,
        best=best,
        explained=bool(near),
        fits=tuple(rule for rule in near if rule in different.values()),
        rounding=10.0 ** -max(map(_decimals, values)),
    )


def _decimals(value: float) -> int:
    """Of a number as printed, but for noughts at its end; half a last digit each can be rounded off
    Overall and the mean of the groups.
    """
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])


def _fit(groups: Sequence[float], overall: float, classes: Sequence[int]) -> Fit:
    value = sum(n * v for n, v in zip(classes, groups, strict=True)) / sum(classes)
    return Fit(value, overall - value)


# ---------------------------------------------------------------- what else a table says of itself


@dataclass(frozen=True)
class EqualRows:
    """Rows of one block that print the same number in every column."""

    table: str
    block: str
    rows: tuple[str, ...]  # labels
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """What version 1 of the paper prints instead: a number, or a row's label."""

    table: str
    block: str
    row: str  # method
    what: str  # column, or "label"
    v1: str
    v4: str
    v1_off: (
        float | None
    )  # Overall less the groups' mean under HEADLINE, all of the row's v1 numbers
    v4_off: float | None


@dataclass(frozen=True)
class Product:
    """Images generated, as printed, beside hard images x levels x seeds; the rate likewise."""

    dataset: str
    block: str
    generated: int
    expected: int
    one_level: int  # hard images x seeds
    rate: float  # percent, printed
    kept_share: float  # percent, kept / generated


def equal_rows(papers: Iterable[Paper]) -> list[EqualRows]:
    """Rows printed twice, in the tables' order."""
    groups = []
    for paper in papers:
        for block in paper.blocks:
            same: dict[tuple[Number, ...], list[Row]] = {}
            for row in paper.rows:
                if block.key in row.cells:
                    numbers = tuple(row.cells[block.key].numbers.values())
                    same.setdefault(numbers, []).append(row)
            for rows in same.values():
                if len(rows) > 1:
                    notes = (row.cells[block.key].note for row in rows)
                    labels = tuple(row.label for row in rows)
                    remarks = tuple(note for note in notes if note)
                    groups.append(EqualRows(Path(paper.file).stem, block.key, labels, remarks))
    return groups


def changes(papers: Sequence[Paper]) -> list[Change]:
    """Where the two versions of the paper differ, in the tables' order."""
    off = {(f.table, f.block, f.row, f.v1): f.by_rule[HEADLINE].residual for f in audit(papers)}
    differences = []
    for paper in papers:
        table = Path(paper.file).stem
        for row in paper.rows:
            for block, cells in row.cells.items():
                printed = [(c, n.text(paper.decimals)) for c, n in cells.v1.items()]
                now = {c: n.text(paper.decimals) for c, n in cells.numbers.items()}
                if cells.v1_label is not None:
                    printed, now = [*printed, ("label", cells.v1_label)], now | {"label": row.label}
                where = (table, block, row.method)
                offs = (
                    (off.get((*where, True)), off.get((*where, False))) if cells.v1 else (None,) * 2
                )
                differences += [Change(*where, what, v1, now[what], *offs) for what, v1 in printed]
    return differences


def products(papers: Iterable[Paper]) -> list[Product]:
    """Of the tables that count synthetic images."""
    counts = []
    for paper in papers:
        names = {c.path: c.name for c in paper.columns}
        for block in paper.blocks if paper.kind == "pool" else ():
            for row in paper.rows:
                n = {path: row.cells[block.key].numbers[names[path]].value for path in names}
                one = int(n["hard"] * n["seeds"])
                share = 100 * n["kept"] / n["generated"]
                generated, expected = int(n["generated"]), one * int(n["levels"])
                counts.append(
                    Product(block.dataset, block.title, generated, expected, one, n["rate"], share)
                )
    return counts
