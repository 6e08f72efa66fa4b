"""From the arguments of a command to the place, the rows and the runs that they ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core import registry
from harness.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.pipeline.workspace import Workspace


def say(text: str) -> None:
    """Tell the user something that is not the command's result."""
    print(text, file=sys.stderr)


def give(text: str, out: Path | None) -> None:
    """A command's result, to a file or to the terminal; one line end at its end."""
    from harness.core.files import write_atomic

    text = text.rstrip("\n")
    if out is None:
        print(text)
    else:
        write_atomic(out, f"{text}\n".encode())


def workspace_of(args: argparse.Namespace) -> Workspace:
    """The data set and profile asked for; what is wrong with them is told before any work."""
    from harness.core.parallel import check_device
    from harness.pipeline.config import assignments, overrides
    from harness.pipeline.workspace import Workspace
    from harness.results import published

    found = registry.find("harness.datasets", args.dataset)
    changed = overrides(args.params, args.home, args.profile, found.NAME)
    asked = args.backbone
    running = args.command != "table"  # it shows what there is, be it nothing
    if asked is None and running and getattr(args, "table", None) is not None:
        asked = published.read(paper_of(args, found.NAME)).backbone
    settings = assignments(args.set or ())
    workspace = Workspace(found.NAME, args.profile, args.home, args.root, changed, asked, settings)
    _ = workspace.recipe
    check_device(args.device)
    return workspace


def paper_of(args: argparse.Namespace, dataset: str) -> Path:
    """The published table asked for, or the data set's main one."""
    from harness.results import published

    name = getattr(args, "table", None)
    if name is None:
        return published.of(dataset)
    path = published.find(name)
    if dataset not in published.read(path).datasets:
        known = [file.stem for file in published.showing(dataset)]
        raise UsageError(f"{name} does not show {dataset}{registry.nearest(name, known)}")
    return path


def runs_of(
    args: argparse.Namespace, workspace: Workspace
) -> tuple[list[str], Sequence[int | None], Sequence[int]]:
    """Canonical expressions, imbalance ratios and seeds of the runs asked for."""
    from harness.methods.compose import compose
    from harness.pipeline.jobs import check_text

    chosen = [*(args.rows or ()), *(getattr(args, "method", None) or ())]
    methods = [
        compose(text, workspace.module.NAME, workspace.profile)
        for text in chosen or table_rows(args, workspace)
    ]
    for method in methods:
        check_text(method, workspace)
    rows = [method.expression for method in methods]
    return rows, workspace.imbalances(args.imbalance), args.seeds or workspace.recipe.run_seeds


def reads_of(args: argparse.Namespace, workspace: Workspace) -> tuple[list[str], list[int]]:
    """Kinds of synthetic images, and levels of spectra, that the rows read; or the table's rows."""
    from harness.methods.compose import compose
    from harness.pipeline.jobs import levels_read

    rows = args.rows or table_rows(args, workspace)
    methods = [compose(text, workspace.module.NAME, workspace.profile) for text in rows]
    kinds = sorted({method.reads for method in methods if method.reads is not None})
    return kinds or ["spectrum"], levels_read(workspace, methods)


def check_rule_and_selection(args: argparse.Namespace) -> None:
    """UsageError for a grouping rule, or a way to select an epoch, that there is not."""
    from harness.core.metrics import rule_named
    from harness.results.records import SELECTIONS

    rule_named(args.rule)
    registry.one_of("--select", args.select, SELECTIONS)


def check_view(args: argparse.Namespace, workspace: Workspace) -> None:
    """The same, and for a selection that the data set has no split for."""
    check_rule_and_selection(args)
    if args.select == "best_val" and workspace.module.VAL is None:
        known = "last, oracle (best on the test set)"
        raise UsageError(f"{workspace.module.NAME} has no validation split: --select {known}")


def table_rows(args: argparse.Namespace, workspace: Workspace) -> list[str]:
    """Rows of the table."""
    from harness.results import published

    return [row.method for row in published.read(paper_of(args, workspace.module.NAME)).rows]
