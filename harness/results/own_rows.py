"""Rows that nobody published: in a published table, or in a leaderboard of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.metrics import GROUPS
from harness.results import published
from harness.results.published_table import Block, Column, Paper, Row

DATASETS = "harness.datasets"


def table_for(
    dataset: str,
    methods: Sequence[str],
    imbalances: Sequence[int | None],
    name: str | None = None,
    folder: Path = published.FOLDER,
    backbone: str | None = None,
) -> Paper:
    """The table of a data set in which these methods are rows.

    dataset: its printed name. methods: canonical expressions; those that the published table lacks
    are added, marked ours. imbalances: blocks of a leaderboard that nobody published. name: of a
    published table (default: the data set's first one of the backbone, its main one before others,
    or where there is none a leaderboard of these methods alone). backbone: of the runs; None: any.
    Without methods the main table. UsageError where there is neither a table nor a method, and for
    a named table of another backbone.
    """
    if name is not None:
        paper = published.read(published.find(name, folder))
        if not _takes(paper, backbone):
            raise UsageError(f"{name} is of {paper.backbone}, and these runs are of {backbone}")
        return with_rows(paper, methods)
    for file in published.showing(dataset, folder=folder):
        paper = published.read(file)
        if _takes(paper, backbone):
            return with_rows(paper, methods)
    if not methods:
        return published.read(published.of(dataset, folder))
    return leaderboard_of(dataset, methods, imbalances, backbone)


def _takes(paper: Paper, backbone: str | None) -> bool:
    """Whether runs of the backbone stand in the table."""
    return backbone is None or paper.backbone in (None, backbone)


def with_rows(paper: Paper, methods: Sequence[str]) -> Paper:
    """The table, and below its rows those of ours that it does not list, in their order."""
    listed = {row.method for row in paper.rows}
    added = [method for method in dict.fromkeys(methods) if method not in listed]
    if added and paper.kind != "runs":
        raise UsageError(f"{Path(paper.file).stem} has no place for a further row {added[0]}")
    return replace(paper, rows=(*paper.rows, *map(_row, added)))


def leaderboard_of(
    dataset: str,
    methods: Sequence[str],
    imbalances: Sequence[int | None],
    backbone: str | None = None,
) -> Paper:
    """A leaderboard of these methods, for a data set or a backbone that no published table shows.

    backbone: of the runs that stand in it; None: any.
    """
    module = registry.find(DATASETS, dataset)
    scored = getattr(module, "SCORED", None)
    return Paper(
        file=f"{dataset} (no published table)",
        kind="runs",
        main=True,
        title=module.NAME,
        dataset=module.NAME,
        backbone=backbone,
        metric="macro F1" if scored else "top-1 accuracy on the test set",
        source="ours",
        decimals=2,
        caveats=(),
        columns=_columns(scored),
        blocks=tuple(_block(module.NAME, ratio) for ratio in imbalances),
        groupings={},
        rows=tuple(map(_row, dict.fromkeys(methods))),
    )


def _row(method: str) -> Row:
    return Row(method, method, True, {})


def _columns(scored: Any) -> tuple[Column, ...]:
    if scored:
        return tuple(Column(name.upper().replace("_", " "), f"{name}.macro_f1") for name in scored)
    by_group = (Column(group.capitalize(), f"rules.{{rule}}.{group}") for group in GROUPS)
    return (*by_group, Column("Overall", "overall"))


def _block(dataset: str, imbalance: int | None) -> Block:
    if imbalance is None:
        return Block("all", dataset, None, dataset, {})
    return Block(f"ir{imbalance}", f"imbalance ratio {imbalance}", imbalance, dataset, {})
