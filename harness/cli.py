"""The `harness` command: argument parsing and printing only."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness import lookup
from harness.types import DataError, UsageError

if TYPE_CHECKING:
    from harness.places import Place

EXAMPLES = """examples:
  harness compare --dataset cifar100-lt             the whole road, then the leaderboard
  harness compare --dataset cifar100-lt --rows CE "CE+DisCL" --imbalance 100 --seeds 0 1 2 3 4
  harness train --dataset cifar100-lt --method 'CE+DisCL(curriculum="fixed", levels=(0.5,))'
  harness table --dataset cifar100-lt --rule B --format markdown
  harness list                                      data sets, profiles, methods

exit codes: 0 done, 1 data (a file is missing, damaged or cannot be written), 2 usage."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    if args.command is None:
        _parser().print_help()
        return 2
    try:
        args.run(args)
    except UsageError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except DataError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("harness: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` tells more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="harness",
        description="Compare DisCL with its baselines on scarce image data with synthetic images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")
    compare = _command(commands, "compare", _compare, "run what is missing and print the table")
    _rows(compare)
    compare.add_argument("--rule", default="A", help="class grouping: A, B, C, D (default A)")
    compare.add_argument("--select", default="last", help="epoch: last (default) or oracle")
    _command(commands, "index", _index, "list the training images of every imbalance ratio")
    _command(commands, "hard", _hard, "choose the images that get a spectrum")
    for name, stage, about in (
        ("generate", _generate, "make the synthetic images that are missing"),
        ("score", _score, "CLIPScores of the synthetic images"),
    ):
        _command(commands, name, stage, about).add_argument(
            "--rows", nargs="+", metavar="METHOD", help="whose images (default: the table's rows)"
        )
    train = _command(commands, "train", _train, "train the runs that are missing")
    _rows(train)
    train.add_argument("--method", action="append", help="an expression; may be repeated")
    table = _command(commands, "table", _table, "print the leaderboard of what was run")
    table.add_argument("--rule", default="A", help="class grouping: A, B, C, D (default A)")
    table.add_argument("--select", default="last", help="epoch: last (default) or oracle")
    table.add_argument("--format", choices=("text", "markdown"), default="text")
    table.add_argument("--out", type=Path, help="write the table to this file instead")
    cache = _command(commands, "cache", _cache, "check, clean or export the synthetic images")
    cache.add_argument("action", choices=("verify", "gc", "export"))
    cache.add_argument("--to", type=Path, help="export: a folder that does not exist yet")
    cache.add_argument("--format", choices=("files", "webdataset", "hf"), default="files")
    listing = commands.add_parser("list", help="data sets, their profiles, and methods")
    listing.set_defaults(run=_list)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"example: harness {name} --dataset cifar100-lt",
    )
    parser.add_argument("--dataset", required=True, help="see `harness list`")
    parser.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
    parser.add_argument("--root", type=Path, help="folder of the data set's official files")
    parser.add_argument("--home", type=Path, default=Path(), help="for results (default: here)")
    parser.add_argument("--params", type=Path, help="default: params.yaml in --home, if there")
    parser.add_argument("--workers", type=_positive, help="processes (default: one per core)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:0, ...")
    parser.set_defaults(run=run)
    return parser


def _rows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", nargs="+", metavar="METHOD", help="default: the table's rows")
    parser.add_argument("--imbalance", nargs="+", type=_positive, help="default: the profile's")
    parser.add_argument("--seeds", nargs="+", type=_seed, help="default: the profile's")


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest}")
    return int(text)


def _place(args: argparse.Namespace) -> Place:
    from harness.parallel import check_device
    from harness.params import overrides
    from harness.places import Place

    found = lookup.find("harness.datasets", args.dataset)
    changed = overrides(args.params, args.home, args.profile, found.NAME)
    place = Place(found.NAME, args.profile, args.home, args.root, changed)
    _ = place.recipe  # an unknown profile or parameter is told before any work
    check_device(args.device)
    return place


# ---------------------------------------------------------------- commands


def _compare(args: argparse.Namespace) -> None:
    place = _place(args)
    _asked(args, place)  # what is wrong with the end of the road is told at its beginning
    _check_view(args)
    _timed("index", _index, args)
    _timed("hard", _hard, args)
    _timed("generate", _generate, args)
    _timed("score", _score, args)
    _timed("train", _train, args)
    print(_rendered(place, args, "text"))


def _timed(name: str, stage: Callable[..., None], args: argparse.Namespace) -> None:
    begun = time.perf_counter()
    stage(args)
    print(f"  {name} took {time.perf_counter() - begun:.1f} s", file=sys.stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _index(args: argparse.Namespace) -> None:
    from harness import stages

    table = stages.index(_place(args))
    _say(f"index: {len(table)} training images")


def _hard(args: argparse.Namespace) -> None:
    from harness import runs, stages

    place = _place(args)
    table = stages.hard(place, runs.judge(place, args.workers, args.device))
    _say(f"hard: {table['source'].n_unique()} images get a spectrum")


def _generate(args: argparse.Namespace) -> None:
    from harness import stages

    place = _place(args)
    made = stages.generate(place, args.workers, args.device, _kinds(args, place))
    _say(f"generate: {made} images made")


def _score(args: argparse.Namespace) -> None:
    from harness import stages

    place = _place(args)
    scored = sum(stages.score(place, args.device, kind) for kind in _kinds(args, place))
    _say(f"score: {scored} images scored")


def _asked(
    args: argparse.Namespace, place: Place
) -> tuple[list[str], Sequence[int | None], Sequence[int]]:
    """Canonical expressions, imbalance ratios and seeds of the runs asked for."""
    from harness.compose import compose
    from harness.jobs import check_text

    chosen = [*(args.rows or ()), *(getattr(args, "method", None) or ())]
    methods = [
        compose(text, place.module.NAME, place.profile)
        for text in chosen or _table_rows(place.module.NAME)
    ]
    for method in methods:
        check_text(method, place)
    rows = [method.expression for method in methods]
    return rows, place.imbalances(args.imbalance), args.seeds or place.recipe.run_seeds


def _kinds(args: argparse.Namespace, place: Place) -> list[str]:
    """Kinds of synthetic images that the rows asked for, or those of the table, read."""
    from harness.compose import compose

    rows = args.rows or _table_rows(place.module.NAME)
    found = {compose(text, place.module.NAME, place.profile).reads for text in rows}
    return sorted(kind for kind in found if kind is not None) or ["spectrum"]


def _check_view(args: argparse.Namespace) -> None:
    from harness.metrics import rule_named
    from harness.records import SELECTIONS

    rule_named(args.rule)
    lookup.one_of("--select", args.select, SELECTIONS)


def _table_rows(dataset: str) -> list[str]:
    """Rows of the data set's table whose terms there are."""
    from harness import published

    known = {name.lower() for name in lookup.names("baselines")}
    rows = []
    for row in published.read(published.of(dataset)).rows:
        terms = [term.split("(")[0].lower() for term in row.method.split("+")]
        if all(term in known for term in terms):
            rows.append(row.method)
    return rows


def _train(args: argparse.Namespace) -> None:
    from harness import runs
    from harness.jobs import plan

    place = _place(args)
    jobs = plan(place, *_asked(args, place))
    done = runs.run(jobs, args.workers, args.device)
    _say(f"train: {done} of {len(jobs)} runs trained, the others were there")


def _rendered(place: Place, args: argparse.Namespace, form: str) -> str:
    from harness import leaderboard, published, records, tables

    found = records.read_all(place.profile, place.module.NAME, place.records)
    paper = published.of(place.module.NAME)
    table = leaderboard.table(paper, found, place.profile, args.rule, args.select)
    return tables.to_markdown(table) if form == "markdown" else tables.to_text(table)


def _table(args: argparse.Namespace) -> None:
    from harness.files import write_atomic

    place = _place(args)
    _check_view(args)
    text = _rendered(place, args, args.format)
    if args.out:
        write_atomic(args.out, (text.rstrip("\n") + "\n").encode())
    else:
        print(text)


def _cache(args: argparse.Namespace) -> None:
    from harness import cache, stages
    from harness.pool_export import export

    place = _place(args)
    if args.action == "verify":
        problems = cache.verify(place.pool)
        for problem in problems:
            print(problem)
        if problems:
            raise DataError(f"{len(problems)} problems in {place.pool}; `harness cache gc` clears")
        print(f"{len(cache.read_index(place.pool))} images, nothing wrong")
    elif args.action == "gc":
        removed = cache.gc(place.pool, [stages.asked_by(place)])
        print(f"{len(removed)} files removed")
    else:
        if args.to is None:
            raise UsageError("export needs a folder: --to DIR")
        export(place.pool, cache.read_index(place.pool), args.to, args.format)
        print(f"exported to {args.to}")


def _list(args: argparse.Namespace) -> None:
    print("data sets:", ", ".join(lookup.names("harness.datasets")))
    print("profiles:  mini (embedded world, the default), smoke (cut down), paper (real data)")
    print("methods:  ", ", ".join(lookup.names("baselines")), "joined by +")


if __name__ == "__main__":
    sys.exit(main())
