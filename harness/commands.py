"""What the commands of `harness` do: each function takes the parsed arguments and prints."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness import lookup
from harness.types import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.places import Place


def _place(args: argparse.Namespace) -> Place:
    from harness import published
    from harness.parallel import check_device
    from harness.params import overrides
    from harness.places import Place

    found = lookup.find("harness.datasets", args.dataset)
    changed = overrides(args.params, args.home, args.profile, found.NAME)
    asked = args.backbone
    if asked is None and getattr(args, "table", None) is not None:
        asked = published.read(_paper(args, found.NAME)).backbone
    place = Place(found.NAME, args.profile, args.home, args.root, changed, asked)
    _ = place.recipe  # an unknown profile or parameter is told before any work
    check_device(args.device)
    return place


def _paper(args: argparse.Namespace, dataset: str) -> Path:
    """The published table asked for, or the data set's main one."""
    from harness import published

    name = getattr(args, "table", None)
    if name is None:
        return published.of(dataset)
    path = published.find(name)
    if dataset not in published.read(path).datasets:
        known = [file.stem for file in published.showing(dataset)]
        raise UsageError(f"{name} does not show {dataset}{lookup.nearest(name, known)}")
    return path


# ---------------------------------------------------------------- commands


def compare(args: argparse.Namespace) -> None:
    place = _place(args)
    place.check_embedded()
    _asked(args, place)  # what is wrong with the end of the road is told at its beginning
    _check_view(args)
    _timed("index", index, args)
    _timed("hard", hard, args)
    _timed("generate", generate, args)
    _timed("score", score, args)
    _timed("train", train, args)
    print(_rendered(place, args, "text"))


def _timed(name: str, stage: Callable[..., None], args: argparse.Namespace) -> None:
    begun = time.perf_counter()
    stage(args)
    print(f"  {name} took {time.perf_counter() - begun:.1f} s", file=sys.stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def index(args: argparse.Namespace) -> None:
    from harness import stages

    table = stages.index(_place(args))
    _say(f"index: {len(table)} training images")


def hard(args: argparse.Namespace) -> None:
    from harness import census, runs, stages

    place = _place(args)
    table = stages.hard(place, runs.judge(place, args.workers, args.device))
    if args.command == "hard":
        print(census.render(place, census.census(place)))
    _say(f"hard: {table['source'].n_unique()} images get a spectrum")


def generate(args: argparse.Namespace) -> None:
    from harness import stages
    from harness.failures import render

    place = _place(args)
    place.check_embedded()
    kinds = _kinds(args, place)
    made = stages.generate(place, args.workers, args.device, kinds)
    _say(f"generate: {made} images made")
    for kind in kinds:
        failed = stages.failed(place, kind)
        if len(failed):
            _say(f"{render(failed)}\nthey are left out; the next call tries them again")


def score(args: argparse.Namespace) -> None:
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
        for text in chosen or _table_rows(args, place)
    ]
    for method in methods:
        check_text(method, place)
    rows = [method.expression for method in methods]
    return rows, place.imbalances(args.imbalance), args.seeds or place.recipe.run_seeds


def _kinds(args: argparse.Namespace, place: Place) -> list[str]:
    """Kinds of synthetic images that the rows asked for, or those of the table, read."""
    from harness.compose import compose

    rows = args.rows or _table_rows(args, place)
    found = {compose(text, place.module.NAME, place.profile).reads for text in rows}
    return sorted(kind for kind in found if kind is not None) or ["spectrum"]


def _check_view(args: argparse.Namespace) -> None:
    from harness.metrics import rule_named
    from harness.records import SELECTIONS

    rule_named(args.rule)
    lookup.one_of("--select", args.select, SELECTIONS)


def _table_rows(args: argparse.Namespace, place: Place) -> list[str]:
    """Rows of the table."""
    from harness import published

    return [row.method for row in published.read(_paper(args, place.module.NAME)).rows]


def train(args: argparse.Namespace) -> None:
    from harness import runs
    from harness.jobs import plan

    place = _place(args)
    jobs = plan(place, *_asked(args, place))
    done = runs.run(jobs, args.workers, args.device)
    _say(f"train: {done} of {len(jobs)} runs trained, the others were there")


def _rendered(place: Place, args: argparse.Namespace, form: str) -> str:
    from harness import leaderboard, records, tables

    found = records.read_all(place.profile, place.module.NAME, place.records)
    paper = _paper(args, place.module.NAME)
    table = leaderboard.table(paper, found, place.profile, args.rule, args.select)
    return tables.to_markdown(table) if form == "markdown" else tables.to_text(table)


def table(args: argparse.Namespace) -> None:
    from harness.files import write_atomic

    place = _place(args)
    _check_view(args)
    text = _rendered(place, args, args.format)
    if args.out:
        write_atomic(args.out, (text.rstrip("\n") + "\n").encode())
    else:
        print(text)


def cache(args: argparse.Namespace) -> None:
    from harness import cache, failures, stages
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


# ---------------------------------------------------------------- beside the road


def data(args: argparse.Namespace) -> None:
    """Check the official files of a data set, or fetch them."""
    place = _place(args)
    if args.action == "fetch":
        if args.root is None:
            raise UsageError("fetch needs a folder to download to: --root DIR")
        place.module.fetch(args.root)
        _say(f"{place.module.NAME} is below {args.root}; `harness data check` looks at it")
        return
    for line in place.module.check(place.data, place.profile, args.decode):
        print(line)


def prompts(args: argparse.Namespace) -> None:
    """Scene descriptions for the classes of a data set."""
    from harness import prompts as grammar
    from harness import prompts_endpoint as endpoint
    from harness import stages

    place = _place(args)
    classes, out = stages.load(place, place.imbalances()[0]).classes, args.out or place.prompts
    if args.endpoint is None:
        grammar.write(out, grammar.grammar(place.module.NAME, classes))
        _say(f"{out}: ten scenes for each of {len(classes)} classes, by the grammar")
        return
    key = endpoint.key_from_environment(args.key)
    about = {"endpoint": args.endpoint, "model": args.model, "key": key}
    failed = endpoint.fetch(classes, out, dataset=place.module.NAME, **about)
    for name, why in failed.items():
        print(f"{name}: {why}")
    if failed:
        raise DataError(f"{len(failed)} of {len(classes)} classes have no scenes; the same command")
    _say(f"{out}: scenes for {len(classes)} classes, by {args.model}")


def audit(args: argparse.Namespace) -> None:
    """The published tables against their own class counts."""
    from harness import audit as published_audit
    from harness import published

    papers = [published.read(file) for file in sorted(published.FOLDER.glob("*.toml"))]
    print(published_audit.render(published_audit.audit(papers)))


def plan(args: argparse.Namespace) -> None:
    """What would run, without any data."""
    from harness import plan as planning

    place = _place(args)
    rows = args.rows or _table_rows(args, place)
    told = planning.plan(place, rows, place.imbalances(args.imbalance), args.seeds, args.tflops)
    print(planning.render(told))


def profile(args: argparse.Namespace) -> None:
    """Where the seconds go."""
    from dataclasses import replace

    from harness import profile as profiling
    from harness import profile_data, profile_text

    place = _place(args)
    if args.levels:
        place = replace(place, overrides=(*place.overrides, ("levels", args.levels)))
    for what in dict.fromkeys(args.what):
        if what == "generation":
            place.check_embedded()
            todo = profiling.work(place, args.sources, args.device)
            found = profiling.profile(todo, args.against, args.approximate, trace=args.trace)
        elif what == "reading":
            found = profile_data.reading(place)
        else:
            found = profile_data.training(place, args.device)
        print(profile_text.render(found), end="\n\n")
        _say(f"profile: {profile_text.write(place, found)}")


def doctor(args: argparse.Namespace) -> None:
    """What is installed and found here, and what each profile still needs."""
    from harness import doctor as looking

    print(looking.render(looking.doctor(args.home)))
