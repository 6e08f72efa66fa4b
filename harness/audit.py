"""Do published groups add up? Overall beside the class-weighted mean of many, medium and few.

On a balanced test set the two are equal, so a row that is off was grouped by another rule than
assumed, or holds a misprint or numbers of different runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.metrics import GROUPS
from harness.published import Block, Cells, Number, Paper
from harness.types import DataError

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
    best = min(fits, key=lambda rule: abs(fits[rule].residual))
    return Finding(
        *where,
        overall=overall,
        by_rule=fits,
        flagged=abs(fits[HEADLINE].residual) > tolerance,
        best=best,
        explained=abs(fits[best].residual) <= tolerance,
    )


def _fit(groups: Sequence[float], overall: float, classes: Sequence[int]) -> Fit:
    value = sum(n * v for n, v in zip(classes, groups, strict=True)) / sum(classes)
    return Fit(value, overall - value)


def render(findings: Sequence[Finding]) -> str:
    """As text: every row, what each rule makes of it, and which rule explains it."""
    from tabulate import tabulate

    rules = sorted({rule for finding in findings for rule in finding.by_rule})
    head = ["Table", "Block", "Row", "Overall", *(f"{r} residual" for r in rules), "explained by"]
    body = [
        [
            f"{f.table}{' (v1)' if f.v1 else ''}",
            f.block,
            f.row,
            f"{f.overall:.2f}",
            *(f"{f.by_rule[r].residual:+.2f}" if r in f.by_rule else "" for r in rules),
            f.best if f.explained else "no rule",
        ]
        for f in findings
    ]
    off = [f for f in findings if f.flagged]
    grid = tabulate(body, head, "simple", disable_numparse=True)
    said = (
        f"{len(findings)} rows: {len(off)} are more than {TOLERANCE} points off under rule "
        f"{HEADLINE}, {sum(not f.explained for f in findings)} under every rule. Residual: the "
        "printed Overall less the mean of Many, Medium and Few weighted by a rule's numbers of "
        "classes."
    )
    return f"{grid}\n\n{said}"
