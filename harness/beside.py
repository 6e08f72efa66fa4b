"""The commands beside the road: official data, prompts, reports, checks, plans, profiles."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness import lookup
from harness.asked import check_rule_and_selection, give, place_of, say, table_rows
from harness.types import DataError, UsageError

if TYPE_CHECKING:
    from harness.places import Place


def data(args: argparse.Namespace) -> None:
    """Check the official files of a data set, or fetch them."""
    place = place_of(args)
    if args.action == "fetch":
        if args.root is None:
            raise UsageError("fetch needs a folder to download to: --root DIR")
        place.module.fetch(args.root)
        say(f"{place.module.NAME} is below {args.root}; `harness data check` looks at it")
        return
    for line in place.module.check(place.data, place.profile, args.decode):
        print(line)


def prompts(args: argparse.Namespace) -> None:
    """Scene descriptions for the classes of a data set."""
    from harness import prompts as grammar
    from harness import prompts_endpoint as endpoint
    from harness import stages

    place = place_of(args)
    classes, out = stages.load(place, place.imbalances()[0]).classes, args.out or place.prompts
    if args.endpoint is None:
        grammar.write(out, grammar.grammar(place.module.NAME, classes))
        say(f"{out}: ten scenes for each of {len(classes)} classes, by the grammar")
        return
    key = endpoint.key_from_environment(args.key)
    about = {"endpoint": args.endpoint, "model": args.model, "key": key}
    failed = endpoint.fetch(classes, out, dataset=place.module.NAME, **about)
    for name, why in failed.items():
        print(f"{name}: {why}")
    if failed:
        raise DataError(f"{len(failed)} of {len(classes)} classes have no scenes; the same command")
    say(f"{out}: scenes for {len(classes)} classes, by {args.model}")


def findings(args: argparse.Namespace) -> None:
    """The paper's claims, tested on the records of a profile."""
    import json

    from harness import claims
    from harness import findings as testing
    from harness.report import findings_of

    places = _places(args)
    found = findings_of(places, claims.read(), args.rule, args.select)
    if args.format == "json":
        text = json.dumps(testing.plain(found), indent=1, ensure_ascii=False)
    else:
        text = (testing.to_markdown if args.format == "markdown" else testing.to_text)(found)
    give(text, args.out)


def report(args: argparse.Namespace) -> None:
    """One page of all that was measured."""
    from harness import report as page

    made = page.make(_places(args), args.rule, args.select, args.pictures)
    page.write(args.out, made)
    size_mb = args.out.stat().st_size / 1e6
    say(f"report: {args.out}, {size_mb:.1f} MB")


def _places(args: argparse.Namespace) -> list[Place]:
    """Of the data sets asked for, or of all that have records."""
    from harness.report import places

    check_rule_and_selection(args)
    return places(args.profile, args.home, args.dataset or ())


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
        say("golden numbers written" if changed else "golden numbers are these already")
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
    from harness import plan_text

    place = place_of(args)
    rows = args.rows or table_rows(args, place)
    told = planning.plan(place, rows, place.imbalances(args.imbalance), args.seeds, args.tflops)
    print(plan_text.render(told))


def profile(args: argparse.Namespace) -> None:
    """Where the seconds go."""
    from dataclasses import replace

    from harness import profile as profiling
    from harness import profile_data, profile_text

    place = place_of(args)
    if args.levels:
        place = replace(place, overrides=(*place.overrides, ("levels", args.levels)))
    for what in dict.fromkeys(args.what):
        if what == "generation":
            place.check_built_in()
            todo = profiling.work(place, args.sources, args.device)
            found = profiling.profile(todo, args.against, args.approximate, trace=args.trace)
        elif what == "reading":
            found = profile_data.reading(place)
        else:
            found = profile_data.training(place, args.device)
        print(profile_text.render(found), end="\n\n")
        say(f"profile: {profile_text.write(place, found)}")


def doctor(args: argparse.Namespace) -> None:
    """What is installed and found here, and what each profile still needs."""
    from harness import doctor as looking
    from harness import doctor_text

    print(doctor_text.render(looking.doctor(args.home)))
