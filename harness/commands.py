"""The commands of the road, from the index to the table: each takes the arguments and prints."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness import lookup
from harness.asked import check_view, give, paper_of, place_of, reads_of, runs_of, say
from harness.types import DataError, UsageError

if TYPE_CHECKING:
    from harness.leaderboard import Table
    from harness.places import Place

PICTURES = 5000  # in a report's galleries


def compare(args: argparse.Namespace) -> None:
    place = place_of(args)
    place.check_built_in()
    asked = runs_of(args, place)  # what is wrong with the end of the road is told at its beginning
    check_view(args, place)
    _timed("index", index, args)
    _timed("hard", hard, args)
    _timed("generate", generate, args)
    _timed("score", score, args)
    _timed("train", train, args)
    print(_rendered(place, args, "text"))
    rows, imbalances, _ = asked
    if args.rows and len(rows) > 1:
        print(_compared(place, args, rows, imbalances))
    from harness import report

    page = place.work / "report.html"
    report.write(page, report.make([place], args.rule, args.select, PICTURES))
    print(f"The page with the charts and the pictures: {page}")


def _timed(name: str, stage: Callable[..., None], args: argparse.Namespace) -> None:
    begun = time.perf_counter()
    stage(args)
    print(f"  {name} took {time.perf_counter() - begun:.1f} s", file=sys.stderr)


def index(args: argparse.Namespace) -> None:
    from harness import stages

    table = stages.index(place_of(args))
    say(f"index: {len(table)} training images")


def hard(args: argparse.Namespace) -> None:
    from harness import census, runs, stages

    place = place_of(args)
    table = stages.hard(place, runs.judge(place, args.workers, args.device))
    if args.command == "hard":
        print(census.render(place, census.census(place)))
    say(f"hard: {table['source'].n_unique()} images get a spectrum")


def generate(args: argparse.Namespace) -> None:
    from harness import stages
    from harness.failures import render

    place = place_of(args)
    place.check_built_in()
    kinds, levels = reads_of(args, place)
    made = stages.generate(place, args.workers, args.device, kinds, levels)
    say(f"generate: {made} images made")
    for kind in kinds:
        failed = stages.failed(place, kind, levels)
        if len(failed):
            say(f"{render(failed)}\nthey are left out; the next call tries them again")


def score(args: argparse.Namespace) -> None:
    from harness import stages

    place = place_of(args)
    kinds, levels = reads_of(args, place)
    scored = sum(stages.score(place, args.device, kind, levels) for kind in kinds)
    say(f"score: {scored} images scored")


def train(args: argparse.Namespace) -> None:
    from harness import runs
    from harness.jobs import plan

    tables = args.table if isinstance(args.table, list) else [args.table]
    views = [argparse.Namespace(**{**vars(args), "table": name}) for name in tables]
    asked = [(place, runs_of(view, place)) for view in views for place in (place_of(view),)]
    jobs = [job for place, what in asked for job in plan(place, *what)]
    done = runs.run(jobs, args.workers, args.device)
    say(f"train: {done} of {len(jobs)} runs trained, the others were there")


def _leaderboard(place: Place, args: argparse.Namespace) -> Table:
    from harness import leaderboard, records

    found = records.read_all(place.profile, place.module.NAME, place.records)
    paper = paper_of(args, place.module.NAME)
    return leaderboard.table(paper, found, place.profile, args.rule, args.select)


def _rendered(place: Place, args: argparse.Namespace, form: str) -> str:
    from harness import tables

    shown = sys.stdout.isatty() and not getattr(args, "out", None)
    width = shutil.get_terminal_size().columns if shown else None
    return tables.render(_leaderboard(place, args), form, width)


def _compared(
    place: Place, args: argparse.Namespace, rows: Sequence[str], imbalances: Sequence[int | None]
) -> str:
    """The first of the rows against the others, in the table's columns."""
    from harness import comparison, published, records

    found = records.read_all(place.profile, place.module.NAME, place.records)
    mine = [r for r in found if r["backbone"] == place.recipe.backbone]
    columns = published.read(paper_of(args, place.module.NAME)).columns
    paths = {c.name: c.path.format(rule=args.rule) for c in columns}
    compared = comparison.versus(mine, rows, paths, imbalances, args.select)
    return comparison.render(compared)


def table(args: argparse.Namespace) -> None:
    from harness import table_data
    from harness.files import write_atomic

    if args.dataset is None:
        args.dataset = _dataset_of(args.table)
    place = place_of(args)
    check_view(args, place)
    if args.metrics:
        write_atomic(args.metrics, table_data.to_metrics(_leaderboard(place, args)).encode())
    give(_rendered(place, args, args.format), args.out)


def _dataset_of(name: str | None) -> str:
    from harness import published

    if name is None:
        raise UsageError("whose table? Name --dataset (see `harness list`), or --table")
    paper = published.read(published.find(name))
    if len(paper.datasets) != 1:
        raise UsageError(f"{name} is of {', '.join(paper.datasets)}; name one of them: --dataset")
    return paper.datasets[0]


def cache(args: argparse.Namespace) -> None:
    from harness import cache, failures, stages
    from harness.pool_export import export

    place = place_of(args)
    if args.action == "verify":
        problems = cache.verify(place.pool)
        for problem in problems:
            print(problem)
        if problems:
            raise DataError(f"{len(problems)} problems in {place.pool}; `harness cache gc` clears")
        print(f"{len(cache.read_index(place.pool))} images, nothing wrong")
    elif args.action == "gc":
        removed = cache.gc(place.pool, [stages.asked_by(place)])
        old = failures.stale(place.pool, [stages.asked_by(place)])
        for path in old:
            path.unlink(missing_ok=True)
        print(f"{len(removed) + len(old)} files removed")
    else:
        if args.to is None:
            raise UsageError("export needs a folder: --to DIR")
        export(place.pool, cache.read_index(place.pool), args.to, args.format)
        print(f"exported to {args.to}")


def listing(args: argparse.Namespace) -> None:
    print("data sets:", ", ".join(lookup.names("harness.datasets")))
    print("profiles:  mini (embedded world, the default), smoke (cut down), paper (real data)")
    print("methods:  ", ", ".join(lookup.names("baselines")), "joined by +")
