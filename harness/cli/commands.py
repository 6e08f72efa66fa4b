"""The commands of the road, from the index to the table: each takes the arguments and prints."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.cli.arguments import check_view, give, paper_of, reads_of, runs_of, say, workspace_of
from harness.core import registry
from harness.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from harness.pipeline.workspace import Workspace
    from harness.results.leaderboard import Table

PICTURES = 5000  # in a report's galleries


def compare(args: argparse.Namespace) -> None:
    workspace = workspace_of(args)
    workspace.check_built_in()
    asked = runs_of(
        args, workspace
    )  # what is wrong with the end of the road is told at its beginning
    check_view(args, workspace)
    _timed("index", index, args)
    _timed("hard", hard, args)
    _timed("generate", generate, args)
    _timed("score", score, args)
    _timed("train", train, args)
    print(_rendered(workspace, args, "text"))
    rows, imbalances, _ = asked
    if args.rows and len(rows) > 1:
        print(_compared(workspace, args, rows, imbalances))
    from harness import report

    page = workspace.work / "report.html"
    report.write(page, report.make([workspace], args.rule, args.select, PICTURES))
    print(f"The page with the charts and the pictures: {page}")


def _timed(name: str, stage: Callable[..., None], args: argparse.Namespace) -> None:
    begun = time.perf_counter()
    stage(args)
    print(f"  {name} took {time.perf_counter() - begun:.1f} s", file=sys.stderr)


def index(args: argparse.Namespace) -> None:
    from harness.pipeline import stages

    table = stages.index(workspace_of(args))
    say(f"index: {len(table)} training images")


def hard(args: argparse.Namespace) -> None:
    from harness.pipeline import pool_statistics, runs, stages

    workspace = workspace_of(args)
    table = stages.hard(workspace, runs.judge(workspace, args.workers, args.device))
    if args.command == "hard":
        print(pool_statistics.render(workspace, pool_statistics.census(workspace)))
    say(f"hard: {table['source'].n_unique()} images get a spectrum")


def generate(args: argparse.Namespace) -> None:
    from harness.pipeline import stages
    from harness.pool.failures import render

    workspace = workspace_of(args)
    workspace.check_built_in()
    kinds, levels = reads_of(args, workspace)
    made = stages.generate(workspace, args.workers, args.device, kinds, levels)
    say(f"generate: {made} images made")
    for kind in kinds:
        failed = stages.failed(workspace, kind, levels)
        if len(failed):
            say(f"{render(failed)}\nthey are left out; the next call tries them again")


def score(args: argparse.Namespace) -> None:
    from harness.pipeline import stages

    workspace = workspace_of(args)
    kinds, levels = reads_of(args, workspace)
    scored = sum(stages.score(workspace, args.device, kind, levels) for kind in kinds)
    say(f"score: {scored} images scored")


def train(args: argparse.Namespace) -> None:
    from harness.pipeline import runs
    from harness.pipeline.jobs import plan

    tables = args.table if isinstance(args.table, list) else [args.table]
    views = [argparse.Namespace(**{**vars(args), "table": name}) for name in tables]
    asked = [
        (workspace, runs_of(view, workspace))
        for view in views
        for workspace in (workspace_of(view),)
    ]
    jobs = [job for workspace, what in asked for job in plan(workspace, *what)]
    done = runs.run(jobs, args.workers, args.device)
    say(f"train: {done} of {len(jobs)} runs trained, the others were there")


def _leaderboard(workspace: Workspace, args: argparse.Namespace) -> Table:
    from harness.results import leaderboard, records

    found = records.read_all(workspace.profile, workspace.module.NAME, workspace.records)
    paper = paper_of(args, workspace.module.NAME)
    return leaderboard.table(paper, found, workspace.profile, args.rule, args.select)


def _rendered(workspace: Workspace, args: argparse.Namespace, form: str) -> str:
    from harness.results import tables

    shown = sys.stdout.isatty() and not getattr(args, "out", None)
    width = shutil.get_terminal_size().columns if shown else None
    return tables.render(_leaderboard(workspace, args), form, width)


def _compared(
    workspace: Workspace,
    args: argparse.Namespace,
    rows: Sequence[str],
    imbalances: Sequence[int | None],
) -> str:
    """The first of the rows against the others, in the table's columns."""
    from harness.results import comparison, published, records

    found = records.read_all(workspace.profile, workspace.module.NAME, workspace.records)
    mine = [r for r in found if r["backbone"] == workspace.recipe.backbone]
    columns = published.read(paper_of(args, workspace.module.NAME)).columns
    paths = {c.name: c.path.format(rule=args.rule) for c in columns}
    compared = comparison.versus(mine, rows, paths, imbalances, args.select)
    return comparison.render(compared)


def table(args: argparse.Namespace) -> None:
    from harness.core.files import write_atomic
    from harness.results import table_data

    if args.dataset is None:
        args.dataset = _dataset_of(args.table)
    workspace = workspace_of(args)
    check_view(args, workspace)
    if args.metrics:
        write_atomic(args.metrics, table_data.to_metrics(_leaderboard(workspace, args)).encode())
    give(_rendered(workspace, args, args.format), args.out)


def _dataset_of(name: str | None) -> str:
    from harness.results import published

    if name is None:
        raise UsageError("whose table? Name --dataset (see `harness list`), or --table")
    paper = published.read(published.find(name))
    if len(paper.datasets) != 1:
        raise UsageError(f"{name} is of {', '.join(paper.datasets)}; name one of them: --dataset")
    return paper.datasets[0]


def cache(args: argparse.Namespace) -> None:
    from harness.pipeline import stages
    from harness.pool import cache, failures
    from harness.pool.exports import export

    workspace = workspace_of(args)
    if args.action == "verify":
        problems = cache.verify(workspace.pool)
        for problem in problems:
            print(problem)
        if problems:
            raise DataError(
                f"{len(problems)} problems in {workspace.pool}; `harness cache gc` clears"
            )
        print(f"{len(cache.read_index(workspace.pool))} images, nothing wrong")
    elif args.action == "gc":
        removed = cache.gc(workspace.pool, [stages.asked_by(workspace)])
        old = failures.stale(workspace.pool, [stages.asked_by(workspace)])
        for path in old:
            path.unlink(missing_ok=True)
        print(f"{len(removed) + len(old)} files removed")
    else:
        if args.to is None:
            raise UsageError("export needs a folder: --to DIR")
        export(workspace.pool, cache.read_index(workspace.pool), args.to, args.format)
        print(f"exported to {args.to}")


def listing(args: argparse.Namespace) -> None:
    if args.method:
        give(_arguments(args.method, args.format), None)
        return
    datasets, broken = _split_by_state("harness.datasets")
    methods, others = _split_by_state("baselines")
    print("data sets:", ", ".join(datasets))
    print("profiles:  mini (built-in world, the default), smoke (cut down), paper (real data)")
    print("methods:  ", ", ".join(methods), "joined by +")
    for sentence in broken + others:
        print("broken:   ", sentence)


def _split_by_state(package: str) -> tuple[list[str], list[str]]:
    """The names of a package whose files work, and what is wrong with the other files."""
    from harness.methods.compose import PACKAGE, problem

    find_problem = problem if package == PACKAGE else registry.problem
    problems = {name: find_problem(package, name) for name in registry.names(package)}
    works = [name for name, sentence in problems.items() if sentence is None]
    return works, [sentence for sentence in problems.values() if sentence is not None]


def _arguments(names: Sequence[str], form: str) -> str:
    """The arguments of terms as tables; of all terms that work for the name "all"."""
    from harness.cli import argument_tables
    from harness.methods.compose import PACKAGE

    chosen = _split_by_state(PACKAGE)[0] if list(names) == ["all"] else names
    return argument_tables.render(chosen, form)
