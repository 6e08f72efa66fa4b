"""The commands from the index to the table: each makes a request and prints what comes of it."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import choices, give, request_of, say
from harness.core import registry
from harness.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from harness.api.result import Result
    from harness.api.steps import Generated, Trained

PICTURES = 5000  # in a report's galleries


def compare(args: argparse.Namespace) -> None:
    from harness.api import steps
    from harness.api.result import Result
    from harness.results import versus

    request = request_of(args, methods=True, table=True)
    request.workspace.check_built_in()
    for step in steps.run(request):
        DONE[step.name](step.result)
        say(f"  {step.name} took {step.seconds:.1f} s")
    result = Result(request)
    print(_rendered(result, args, "text"))
    _beside_reference(result)
    compared = result.comparisons()
    if compared:
        print(versus.render(compared))
    page = result.report(pictures=PICTURES)
    print(f"The page with the charts and the pictures: {page}")


def _beside_reference(result: Result) -> None:
    """Whether the results are those of the project, but for the luck of training."""
    from harness.api.checks import beside_reference
    from harness.cli import gate_text

    report = beside_reference(result.request, result.records)
    if report is not None:
        print(gate_text.beside(report))


def index(args: argparse.Namespace) -> None:
    from harness.api import steps

    _index_done(steps.index(request_of(args)))


def hard(args: argparse.Namespace) -> None:
    from harness.api import steps
    from harness.pipeline import pool_statistics

    request = request_of(args)
    table = steps.hard(request)
    print(pool_statistics.render(request.workspace, pool_statistics.count(request.workspace)))
    _hard_done(table)


def generate(args: argparse.Namespace) -> None:
    from harness.api import steps

    _generate_done(steps.generate(request_of(args, methods=True)))


def score(args: argparse.Namespace) -> None:
    from harness.api import steps

    _score_done(steps.score(request_of(args, methods=True)))


def train(args: argparse.Namespace) -> None:
    from harness.api import steps
    from harness.pipeline.request import resolve

    every = [resolve(choices(args, table=name), methods=True) for name in args.table]
    _train_done(steps.train_alone(every))


def _index_done(table: pl.DataFrame) -> None:
    say(f"index: {len(table)} training images")


def _hard_done(table: pl.DataFrame) -> None:
    say(f"hard: {table.select('source', 'classname').n_unique()} images get a spectrum")


def _generate_done(result: Generated) -> None:
    from harness.pool.failures import render

    say(f"generate: {result.images} images made")
    for rows in result.failed.values():
        say(f"{render(rows)}\nthey are left out; the next call tries them again")


def _score_done(images: int) -> None:
    say(f"score: {images} images scored")


def _train_done(result: Trained) -> None:
    say(f"train: {result.trained} of {result.runs} runs trained, the others were there")


DONE: dict[str, Callable[[Any], None]] = {
    "index": _index_done,
    "hard": _hard_done,
    "generate": _generate_done,
    "score": _score_done,
    "train": _train_done,
}


def _rendered(result: Result, args: argparse.Namespace, form: str) -> str:
    from harness.results import tables

    shown = sys.stdout.isatty() and not getattr(args, "out", None)
    width = shutil.get_terminal_size().columns if shown else None
    columns = getattr(args, "columns", "both")
    return tables.render(result.leaderboard, form, width, columns)


def table(args: argparse.Namespace) -> None:
    from harness.api.result import Result
    from harness.core.files import write_atomic
    from harness.results import table_data

    result = Result(request_of(args, table=True))
    if args.metrics:
        write_atomic(args.metrics, table_data.to_metrics(result.leaderboard).encode())
    if args.plots:
        from harness.pipeline import plot_data

        plot_data.write(args.plots, result.leaderboard, result.records, result.request.workspace)
    give(_rendered(result, args, args.format), args.out)


def verify(args: argparse.Namespace) -> None:
    """Print what is damaged; DataError where something is, unless all of it was repaired."""
    from harness.pipeline import verification

    workspace = request_of(args).workspace
    problems = verification.verify(workspace)
    for name, some in problems.items():
        print(f"{name}: {len(some) or 'nothing'} wrong")
        for problem in some:
            print(f"  {problem.text}")
    count = sum(map(len, problems.values()))
    if count and not args.repair:
        raise DataError(f"{_number(count)}; `harness verify --repair` removes what is damaged")
    if count:
        left = verification.repair(problems)
        print("repaired; `harness compare` makes again what is missing now")
        if left:
            raise DataError(f"{_number(len(left))} left: nothing of the harness's makes them again")


def _number(count: int) -> str:
    return f"{count} {'problem' if count == 1 else 'problems'}"


def cache(args: argparse.Namespace) -> None:
    from harness.api.exports import write_export
    from harness.pipeline import stages
    from harness.pool import cache, failures

    workspace = request_of(args).workspace
    pool = workspace.pool
    if args.action == "gc":
        removed = cache.gc(pool, [stages.generator_key(workspace)])
        old = failures.stale(pool, [stages.generator_key(workspace)])
        for path in old:
            path.unlink(missing_ok=True)
        print(f"{len(removed) + len(old)} files removed")
    elif args.action == "rekey":
        from harness.pool.rekey import rekey

        print(f"{rekey(pool, workspace.generator)} images have a new key")
    else:
        if args.to is None:
            raise UsageError("export needs a folder: --to DIR")
        count = write_export(workspace, args.to, args.format)
        print(f"{count} images exported to {args.to}")


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
