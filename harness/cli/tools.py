"""The commands outside the stages: official data, prompts, reports, checks, plans, profiles."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli.arguments import check_rule_and_selection, choices, give, request_of, say
from harness.core import registry
from harness.core.errors import DataError, Regression, UsageError

if TYPE_CHECKING:
    from harness.pipeline.workspace import Workspace
    from harness.results.gate import Speed

SOURCES = 4  # whose spectra a check of the speed makes


def data(args: argparse.Namespace) -> None:
    """Check the official files of a data set, or fetch them.

    All that is wrong is printed, at most 20 lines of it; DataError with its number.
    """
    from harness.datasets.offences import Offences

    workspace = request_of(args).workspace
    if args.action == "fetch":
        if args.root is None:
            raise UsageError("fetch needs a folder to download to: --root DIR")
        workspace.module.fetch(args.root)
        say(f"{workspace.module.NAME} is below {args.root}; `harness data check` looks at it")
        return
    try:
        lines = workspace.module.check(workspace.data, workspace.recipe, args.decode)
    except Offences as error:
        print("\n".join(error.listed))
        raise DataError(f"{_number(error.count)} below {workspace.data}") from None
    except DataError as error:
        print(error)
        raise DataError(f"{_number(1)} below {workspace.data}") from None
    print("\n".join(lines))


def _number(count: int) -> str:
    return f"{count} {'offence' if count == 1 else 'offences'}"


def prompts(args: argparse.Namespace) -> None:
    """Scene descriptions for the classes of a data set."""
    from harness.datasets import prompts as grammar
    from harness.datasets.prompts import chat_client, endpoint
    from harness.pipeline import stages

    workspace = request_of(args).workspace
    classes, out = (
        stages.load(workspace, workspace.imbalances()[0]).classes,
        args.out or workspace.prompts,
    )
    if args.endpoint is None:
        scenes = grammar.grammar(workspace.module.NAME, classes)
        grammar.write(out, scenes)
        say(f"{out}: ten scenes for each of {len(scenes.of)} classes, by the grammar")
        return
    key = chat_client.key_from_environment(args.key)
    about = {"endpoint": args.endpoint, "model": args.model, "key": key}
    names = set(classes)  # two labels may have one
    failed = endpoint.fetch(classes, out, dataset=workspace.module.NAME, **about)
    for name, why in failed.items():
        print(f"{name}: {why}")
    if failed:
        raise DataError(f"{len(failed)} of {len(names)} classes have no scenes; the same command")
    say(f"{out}: scenes for {len(names)} classes, by {args.model}")


def findings(args: argparse.Namespace) -> None:
    """The paper's claims, tested on the records of a profile."""
    import json

    from harness.report import findings_of
    from harness.results import claims, findings_text

    check_rule_and_selection(args)
    workspaces = _workspaces(args)
    results = findings_of(workspaces, claims.read(), args.rule, args.select)
    if args.power:
        from harness.results import power

        text = power.to_text(results)
    elif args.format == "json":
        text = json.dumps(findings_text.plain(results), indent=1, ensure_ascii=False)
    else:
        forms = {"markdown": findings_text.to_markdown, "short": findings_text.to_short}
        text = forms.get(args.format, findings_text.to_text)(results)
    give(text, args.out)


def report(args: argparse.Namespace) -> None:
    """One page of all that was measured."""
    from harness import report as page

    check_rule_and_selection(args)
    html = page.make(_workspaces(args), args.rule, args.select, args.pictures)
    page.write(args.out, html)
    size_mb = args.out.stat().st_size / 1e6
    say(f"report: {args.out}, {size_mb:.1f} MB")


def _workspaces(args: argparse.Namespace) -> list[Workspace]:
    """Of the data sets asked for, or of all that have records, with the recipe's overrides."""
    from harness.pipeline.config import assignments
    from harness.report import workspaces

    return workspaces(args.profile, args.home, args.dataset or (), assignments(args.set or ()))


def check(args: argparse.Namespace) -> None:
    """Results against golden numbers, tables against records; or golden numbers anew."""
    from harness.api import checks
    from harness.cli import gate_text
    from harness.pipeline.config import PROFILES, assignments

    registry.one_of("--profile", args.profile, PROFILES)
    datasets = [registry.find("harness.datasets", name).NAME for name in args.dataset or ()]
    settings = assignments(args.set or ())
    writes = args.update or args.calibrate
    if writes != (args.reason is not None) or (args.update and args.calibrate):
        why = "golden numbers keep their reason"
        raise UsageError(f"--update or --calibrate goes with --reason TEXT: {why}")
    speed = _speed(args) if args.speed else None
    if args.calibrate:
        seeds = args.seeds or (0, 1, 2)
        known = checks.calibrate(args.profile, args.home, args.reason, seeds, datasets)
        say(" ".join(gate_text.calibration(known)))
        return
    if args.update:
        changed = checks.update(
            args.profile, args.home, args.reason, datasets, settings=settings, speed=speed
        )
        say("golden numbers written" if changed else "golden numbers are these already")
        return
    report = checks.check(
        args.profile, args.home, datasets, mode=args.mode, settings=settings, speed=speed
    )
    print(gate_text.render(report, args.format))
    if report.failures:
        raise Regression(f"check failed: {gate_text.verdict(report)}")


def _speed(args: argparse.Namespace) -> Speed:
    """How fast the generator is beside the stock pipeline, measured now."""
    from harness.pipeline.request import Choices, resolve
    from harness.planning import profile as profiling
    from harness.planning.generation_run import work
    from harness.results.gate import Speed

    name = (args.dataset or ["cifar100-lt"])[0]
    workspace = resolve(Choices(name, profile=args.profile, home=args.home)).workspace
    workspace.check_built_in()
    measured = profiling.profile(work(workspace, SOURCES, "cpu"), ["stock"], [])
    where = f"measured now, {SOURCES} sources of {workspace.module.NAME}"
    return Speed(now=float(measured["ratio_to_stock"]), where=where)


def audit(args: argparse.Namespace) -> None:
    """The published tables against their own class counts."""
    from harness.cli import audit_text
    from harness.results import published

    papers = [published.read(file) for file in published.files()]
    if not papers:
        raise DataError(f"no published tables in {published.FOLDER}")
    print(audit_text.render(audit_text.sections(papers, args.all), args.format))


def plan(args: argparse.Namespace) -> None:
    """What would run, without any data."""
    from harness.api.plans import plan_of
    from harness.cli import plan_text
    from harness.planning.hardware import hardware

    request = request_of(args, methods=True)
    machines = hardware(
        request.workspace, args.gpus, args.cores, args.gpu_memory, args.memory, args.read_mb_s
    )
    result = plan_of(request, args.tflops, machines, args.measure)
    print(plan_text.render(result.plan))


def profile(args: argparse.Namespace) -> None:
    """Where the seconds go."""
    from dataclasses import replace

    from harness.cli import profile_text
    from harness.pipeline.request import resolve
    from harness.planning import profile as profiling
    from harness.planning import profile_data
    from harness.planning.generation_run import work

    named = choices(args)
    if args.levels:
        named = replace(named, overrides=(*named.overrides, ("levels", args.levels)))
    workspace = resolve(named).workspace
    for what in dict.fromkeys(args.what):
        if what == "generation":
            workspace.check_built_in()
            todo = work(workspace, args.sources, args.device)
            results = profiling.profile(todo, args.against, args.approximate, trace=args.trace)
        elif what == "reading":
            results = profile_data.reading(workspace)
        else:
            results = profile_data.training(workspace, args.device)
        print(profile_text.render(results), end="\n\n")
        say(f"profile: {profile_text.write(workspace, results)}")


def doctor(args: argparse.Namespace) -> None:
    """What is installed and found here, and what each profile still needs."""
    from harness.cli import doctor_text
    from harness.planning import doctor as looking

    if args.profile is not None:
        registry.one_of("--profile", args.profile, looking.PROFILES)
    print(doctor_text.render(looking.doctor(args.home)))
    if args.profile is not None:
        _load_models(args)


def _load_models(args: argparse.Namespace) -> None:
    """DataError where a model of the profile does not load."""
    from harness.core import parallel
    from harness.planning import model_loading
    from harness.planning.packages import OK

    parallel.check_device(args.device)
    print(f"Loading each model of profile {args.profile}")
    wrong = 0
    for model in model_loading.load_each(args.profile, args.home, args.device):
        about = f"{model.gib:.2f} GiB in {model.seconds:.1f} s" if model.status == OK else ""
        print(f"  {model.name}: {model.status} {about}".rstrip(), flush=True)
        wrong += model.status != OK
    if wrong:
        raise DataError(f"{wrong} of the models do not load")
