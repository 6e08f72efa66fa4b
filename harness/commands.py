"""What the commands of `harness` do: each function takes the parsed arguments and prints."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness import lookup
from harness.types import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.leaderboard import Table
    from harness.places import Place

PICTURES = 5000  # in a report's galleries


def _place(args: argparse.Namespace) -> Place:
    from harness import published
    from harness.parallel import check_device
    from harness.params import overrides
    from harness.places import Place

    found = lookup.find("harness.datasets", args.dataset)
    changed = overrides(args.params, args.home, args.profile, found.NAME)
    asked = args.backbone
    running = args.command != "table"  # it shows what there is, be it nothing
    if asked is None and running and getattr(args, "table", None) is not None:
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
    asked = _asked(args, place)  # what is wrong with the end of the road is told at its beginning
    _check_view(args, place)
    _timed("index", index, args)
    _timed("hard", hard, args)
    _timed("generate", generate, args)
    _timed("score", score, args)
    _timed("train", train, args)
    print(_rendered(place, args, "text"))
    rows, imbalances, _ = asked
    if args.rows and len(rows) > 1:
        print(_compared(place, args, rows, imbalances))
    page = place.work / "report.html"
    _write_report(page, [place], args, PICTURES)
    print(f"The page with the charts and the pictures: {page}")


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
    kinds, levels = _read(args, place)
    made = stages.generate(place, args.workers, args.device, kinds, levels)
    _say(f"generate: {made} images made")
    for kind in kinds:
        failed = stages.failed(place, kind, levels)
        if len(failed):
            _say(f"{render(failed)}\nthey are left out; the next call tries them again")


def score(args: argparse.Namespace) -> None:
    from harness import stages

    place = _place(args)
    kinds, levels = _read(args, place)
    scored = sum(stages.score(place, args.device, kind, levels) for kind in kinds)
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


def _read(args: argparse.Namespace, place: Place) -> tuple[list[str], list[int]]:
    """Kinds of synthetic images, and levels of spectra, that the rows read; or the table's rows."""
    from harness.compose import compose
    from harness.jobs import levels_read

    rows = args.rows or _table_rows(args, place)
    methods = [compose(text, place.module.NAME, place.profile) for text in rows]
    kinds = sorted({method.reads for method in methods if method.reads is not None})
    return kinds or ["spectrum"], levels_read(place, methods)


def _check_view(args: argparse.Namespace, place: Place) -> None:
    from harness.metrics import rule_named
    from harness.records import SELECTIONS

    rule_named(args.rule)
    lookup.one_of("--select", args.select, SELECTIONS)
    if args.select == "best_val" and place.module.VAL is None:
        known = "last, oracle (best on the test set)"
        raise UsageError(f"{place.module.NAME} has no validation split: --select {known}")


def _table_rows(args: argparse.Namespace, place: Place) -> list[str]:
    """Rows of the table."""
    from harness import published

    return [row.method for row in published.read(_paper(args, place.module.NAME)).rows]


def train(args: argparse.Namespace) -> None:
    from harness import runs
    from harness.jobs import plan

    tables = args.table if isinstance(args.table, list) else [args.table]
    views = [argparse.Namespace(**{**vars(args), "table": name}) for name in tables]
    asked = [(place, _asked(view, place)) for view in views for place in (_place(view),)]
    jobs = [job for place, what in asked for job in plan(place, *what)]
    done = runs.run(jobs, args.workers, args.device)
    _say(f"train: {done} of {len(jobs)} runs trained, the others were there")


def _leaderboard(place: Place, args: argparse.Namespace) -> Table:
    from harness import leaderboard, records

    found = records.read_all(place.profile, place.module.NAME, place.records)
    paper = _paper(args, place.module.NAME)
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
    columns = published.read(_paper(args, place.module.NAME)).columns
    paths = {c.name: c.path.format(rule=args.rule) for c in columns}
    compared = comparison.versus(mine, rows, paths, imbalances, args.select)
    return comparison.render(compared)


def table(args: argparse.Namespace) -> None:
    from harness import table_data
    from harness.files import write_atomic

    if args.dataset is None:
        args.dataset = _dataset_of(args.table)
    place = _place(args)
    _check_view(args, place)
    if args.metrics:
        write_atomic(args.metrics, table_data.to_metrics(_leaderboard(place, args)).encode())
    text = _rendered(place, args, args.format)
    if args.out:
        write_atomic(args.out, (text.rstrip("\n") + "\n").encode())
    else:
        print(text.rstrip("\n"))


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


def findings(args: argparse.Namespace) -> None:
    """The paper's claims, tested on the records of a profile."""
    import json

    from harness import claims
    from harness import findings as testing
    from harness.files import write_atomic
    from harness.report import findings_of

    places = _places(args)
    found = findings_of(places, claims.read(), args.rule, args.select)
    if args.format == "json":
        text = json.dumps(testing.plain(found), indent=1, ensure_ascii=False)
    else:
        text = (testing.to_markdown if args.format == "markdown" else testing.to_text)(found)
    if args.out:
        write_atomic(args.out, (text.rstrip("\n") + "\n").encode())
    else:
        print(text.rstrip("\n"))


def report(args: argparse.Namespace) -> None:
    """One page of all that was measured."""
    _write_report(args.out, _places(args), args, args.pictures)
    size_mb = args.out.stat().st_size / 1e6
    _say(f"report: {args.out}, {size_mb:.1f} MB")


def _places(args: argparse.Namespace) -> list[Place]:
    """Of the data sets asked for, or of all that have records."""
    from harness.metrics import rule_named
    from harness.records import SELECTIONS
    from harness.report import places

    rule_named(args.rule)
    lookup.one_of("--select", args.select, SELECTIONS)
    return places(args.profile, args.home, args.dataset or ())


def _write_report(
    path: Path, places: Sequence[Place], args: argparse.Namespace, pictures: int
) -> None:
    from harness import report as page

    page.write(path, page.make(places, args.rule, args.select, pictures))


def check(args: argparse.Namespace) -> None:
    """Records against golden numbers, tables against records; or golden numbers anew."""
    from harness import check as gate
    from harness import check_report
    from harness.params import PROFILES

    lookup.one_of("--profile", args.profile, PROFILES)
    datasets = [lookup.find("harness.datasets", name).NAME for name in args.dataset or ()]
    if args.update != (args.reason is not None):
        raise UsageError("--update and --reason TEXT go together: golden numbers keep their reason")
    if args.update:
        asked = (args.profile, args.home, args.reason, datasets, args.profile_json)
        changed = gate.update(*asked)
        _say("golden numbers written" if changed else "golden numbers are these already")
        return
    report = gate.check(args.profile, args.home, datasets, args.profile_json)
    print(check_report.render(report, args.format))
    if report.failures:
        raise DataError(f"check failed: {check_report.verdict(report)}")


def audit(args: argparse.Namespace) -> None:
    """The published tables against their own class counts."""
    from harness import audit_report, published

    papers = [published.read(file) for file in published.files()]
    print(audit_report.render(audit_report.sections(papers, args.all), args.format))


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
