"""The commands from the index to the table: each makes a request and prints what comes of it."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import (
    check_goes_with,
    choices,
    datasets,
    give,
    one_dataset,
    requests_of,
    say,
)
from harness.core.attempts import Unfinished
from harness.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from harness.api.result import Result
    from harness.api.steps import Generated, Trained
    from harness.pipeline.request import Request
    from harness.pipeline.workspace import Workspace

PICTURES = 5000  # in a report's galleries


def compare(args: argparse.Namespace) -> None:
    requests = requests_of(args, methods=True, table=True)
    for request in requests:
        request.workspace.check_built_in()
    unfinished = [error for request in requests if (error := _compare_one(request, args))]
    if unfinished:
        raise unfinished[0]


def _compare_one(request: Request, args: argparse.Namespace) -> Unfinished | None:
    from harness.api.result import Result
    from harness.results import versus

    unfinished = _all_steps(request)
    result = Result(request)
    print(_rendered(result, args, "text"))
    _beside_reference(result)
    compared = result.comparisons()
    if compared:
        print(versus.render(compared))
    page = result.report(pictures=PICTURES)
    print(f"The page with the charts and the pictures: {page}")
    return unfinished


def _all_steps(request: Request) -> Unfinished | None:
    """Do what is missing; runs that failed are returned, as the table of the others is wanted."""
    from harness.api import steps

    try:
        for step in steps.run(request):
            DONE[step.name](step.result)
            say(f"  {step.name} took {step.seconds:.1f} s")
    except Unfinished as error:
        if error.stage != "train":
            raise
        return error
    return None


def _beside_reference(result: Result) -> None:
    """Whether the results are those of the project, but for the luck of training."""
    from harness.api.checks import beside_reference
    from harness.cli import gate_text

    report = beside_reference(result.request, result.records)
    if report is not None:
        print(gate_text.beside(report))


def index(args: argparse.Namespace) -> None:
    from harness.api import steps

    for request in requests_of(args):
        _index_done(steps.index(request))


def hard(args: argparse.Namespace) -> None:
    from harness.api import steps
    from harness.pipeline import pool_statistics

    for request in requests_of(args):
        table = steps.hard(request)
        print(pool_statistics.render(request.workspace, pool_statistics.count(request.workspace)))
        _hard_done(table)


def generate(args: argparse.Namespace) -> None:
    from harness.api import steps

    for request in requests_of(args, methods=True):
        _generate_done(steps.generate(request))


def score(args: argparse.Namespace) -> None:
    from harness.api import steps

    for request in requests_of(args, methods=True):
        _score_done(steps.score(request))


def train(args: argparse.Namespace) -> None:
    from harness.api import steps
    from harness.pipeline.request import resolve

    every = [
        resolve(choices(args, dataset=dataset, table=name), methods=True)
        for dataset in datasets(args)
        for name in args.table
    ]
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

    if args.format in ("csv", "json"):
        one_dataset(args, f"--format {args.format}")
    if args.metrics:
        one_dataset(args, "--metrics")
    if args.plots:
        one_dataset(args, "--plots")
    results = [Result(request) for request in requests_of(args, table=True)]
    texts = [_rendered(result, args, args.format) for result in results]
    first = results[0]
    if args.metrics:
        write_atomic(args.metrics, table_data.to_metrics(first.leaderboard).encode())
    if args.plots:
        from harness.pipeline import plot_data

        plot_data.write(args.plots, first.leaderboard, first.records, first.request.workspace)
    give("\n".join(texts), args.out)


def verify(args: argparse.Namespace) -> None:
    """Print what is damaged; DataError where something is, unless all of it was repaired."""
    from harness.pipeline import verification

    if not args.home.is_dir():
        raise DataError(f"{args.home}: no such folder; expected the --home of earlier commands")
    every = []
    for request in requests_of(args):
        if len(datasets(args)) > 1:
            print(f"{request.dataset}:")
        problems = verification.verify(request.workspace)
        every.append(problems)
        for name, some in problems.items():
            print(f"{name}: {len(some) or 'nothing'} wrong")
            for problem in some:
                print(f"  {problem.text}")
    count = sum(len(some) for problems in every for some in problems.values())
    if count and not args.repair:
        raise DataError(f"{_number(count)}; `harness verify --repair` removes what is damaged")
    if count:
        left = [problem for problems in every for problem in verification.repair(problems)]
        print("repaired; `harness compare` makes again what is missing now")
        if left:
            raise DataError(f"{_number(len(left))} left: nothing of the harness's makes them again")


def _number(count: int) -> str:
    return f"{count} {'problem' if count == 1 else 'problems'}"


def cache(args: argparse.Namespace) -> None:
    check_goes_with(args, "to format", args.action == "export", "`cache export`")
    if args.action == "export":
        one_dataset(args, "an export")
        if args.to is None:
            raise UsageError("export needs a folder: --to DIR")
    for request in requests_of(args):
        CACHE[args.action](request.workspace, args)


def _gc(workspace: Workspace, args: argparse.Namespace) -> None:
    from harness.pipeline import stages
    from harness.pool import cache, failures

    removed = cache.gc(workspace.pool, [stages.generator_key(workspace)])
    old = failures.stale(workspace.pool, [stages.generator_key(workspace)])
    for path in old:
        path.unlink(missing_ok=True)
    print(f"{len(removed) + len(old)} files removed")


def _rekey(workspace: Workspace, args: argparse.Namespace) -> None:
    from harness.pool.rekey import rekey

    print(f"{rekey(workspace.pool, workspace.generator)} images have a new key")


def _export(workspace: Workspace, args: argparse.Namespace) -> None:
    from harness.api.exports import write_export

    count = write_export(workspace, args.to, args.format or "files")
    print(f"{count} images exported to {args.to}")


CACHE: dict[str, Callable[[Workspace, argparse.Namespace], None]] = {
    "gc": _gc,
    "rekey": _rekey,
    "export": _export,
}
