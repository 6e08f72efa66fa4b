"""The commands outside the stages: official data, prompts, reports, checks, plans, profiles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.arguments import (
    check_goes_with,
    check_rule_and_selection,
    choices,
    give,
    one_dataset,
    request_of,
    requests_of,
    say,
)
from harness.core import registry
from harness.core.errors import DataError, Regression, UsageError

if TYPE_CHECKING:
    from harness.pipeline.workspace import Workspace
    from harness.planning.model_loading import Loaded
    from harness.results.gate import Speed

PROFILED = 8  # hard images whose spectra a profile makes


def data(args: argparse.Namespace) -> None:
    """Check the official files of a data set, fetch them, or list their digests.

    All that is wrong is printed, at most 20 lines of it; DataError with its number.
    """
    check_goes_with(args, "decode", args.action == "check", "`data check`")
    if args.action == "fetch" and args.root is None:
        raise UsageError("fetch needs a folder to download to: --root DIR")
    if args.root is not None:
        one_dataset(args, "--root")
    for request in requests_of(args):
        _data_of(request.workspace, args)


def _data_of(workspace: Workspace, args: argparse.Namespace) -> None:
    from harness.datasets.offences import Offences

    if args.action == "fetch":
        workspace.module.fetch(args.root)
        say(f"{workspace.module.NAME} is below {args.root}; `harness data check` looks at it")
        return
    work = _digests if args.action == "digests" else _checked
    try:
        lines = work(workspace, args)
    except Offences as error:
        print("\n".join(error.listed))
        raise DataError(f"{_number(error.count)} below {workspace.data}") from None
    except DataError as error:
        print(error)
        raise DataError(f"{_number(1)} below {workspace.data}") from None
    print("\n".join(lines))


def _checked(workspace: Workspace, args: argparse.Namespace) -> list[str]:
    return workspace.module.check(workspace.data, workspace.recipe, args.decode)


def _digests(workspace: Workspace, args: argparse.Namespace) -> list[str]:
    from harness.datasets import file_digests

    data = workspace.module.load(workspace.data, None, workspace.recipe)
    path, count = file_digests.write(workspace.data, data)
    return [f"{path}: {count} files, each checked against it whenever it is read"]


def _number(count: int) -> str:
    return f"{count} {'offence' if count == 1 else 'offences'}"


def prompts(args: argparse.Namespace) -> None:
    """Scene descriptions for the classes of a data set."""
    check_goes_with(args, "model key", args.endpoint is not None, "--endpoint")
    one_dataset(args, "a prompts file")
    from harness.datasets import prompts as grammar
    from harness.datasets.prompts import chat_client, endpoint
    from harness.pipeline import stages

    key = None
    if args.endpoint is not None:
        chat_client.checked_endpoint(args.endpoint)
        key = chat_client.key_from_environment(args.key or chat_client.KEY_VARIABLE)
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
    model = args.model or endpoint.MODEL
    about = {"endpoint": args.endpoint, "model": model, "key": key}
    names = set(classes)  # two labels may have one
    failed = endpoint.fetch(classes, out, dataset=workspace.module.NAME, **about)
    for name, why in failed.items():
        print(f"{name}: {why}")
    if failed:
        raise DataError(f"{len(failed)} of {len(names)} classes have no scenes; the same command")
    say(f"{out}: scenes for {len(names)} classes, by {model}")


def findings(args: argparse.Namespace) -> None:
    """The paper's claims, tested on the records of a profile."""
    import json

    from harness.report import findings_of
    from harness.results import claims, findings_text

    check_rule_and_selection(args)
    if args.power and args.format:
        raise UsageError("--power is printed as text only; leave --format out")
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
    from harness.results import gate

    registry.one_of("--profile", args.profile, PROFILES)
    datasets = [registry.find("harness.datasets", name).NAME for name in args.dataset or ()]
    settings = assignments(args.set or ())
    check_goes_with(args, "seeds", args.calibrate, "--calibrate")
    check_goes_with(args, "mode format golden", not (args.update or args.calibrate), "a check")
    check_goes_with(args, "speed", not args.calibrate, "a check or --update")
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
        args.profile,
        args.home,
        datasets,
        mode=args.mode or gate.MODES[0],
        settings=settings,
        speed=speed,
        file=args.golden,
    )
    print(gate_text.render(report, args.format or "text"))
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
    sources = workspace.recipe.generator_batch  # fewer leave slots of the batch empty
    measured = profiling.profile(work(workspace, sources, "cpu"), ["stock"], [])
    where = f"measured now, {sources} sources of {workspace.module.NAME}"
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

    given = (args.gpus, args.cores, args.gpu_memory, args.memory, args.read_mb_s)
    texts = []
    for request in requests_of(args, methods=True):
        machines = hardware(request.workspace, *given)
        texts.append(plan_text.render(plan_of(request, args.tflops, machines, args.measure).plan))
    print("\n".join(texts))


def profile(args: argparse.Namespace) -> None:
    """Where the seconds go."""
    from dataclasses import replace

    from harness.cli import profile_text
    from harness.generation import approximations
    from harness.pipeline.request import resolve
    from harness.planning import profile as profiling
    from harness.planning import profile_data
    from harness.planning.generation_run import work

    makes = "generation" in args.what
    check_goes_with(args, "sources levels against approximate trace", makes, "--what generation")
    one_dataset(args, "a profile")
    for name in args.against or ():
        registry.one_of("--against", name, profiling.PIPELINES)
    for text in args.approximate or ():
        approximations.parse([text])
    named = choices(args)
    if args.levels:
        named = replace(named, overrides=(*named.overrides, ("levels", args.levels)))
    workspace = resolve(named).workspace
    for what in dict.fromkeys(args.what):
        if what == "generation":
            workspace.check_built_in()
            todo = work(workspace, args.sources or PROFILED, args.device)
            against, approximate = args.against or (), args.approximate or ()
            results = profiling.profile(todo, against, approximate, trace=args.trace)
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
    from harness.planning import packages

    if args.profile is None and args.device is not None:
        raise UsageError("--device is for the models that --profile loads")
    if args.profile is not None:
        registry.one_of("--profile", args.profile, looking.PROFILES)
    report = looking.doctor(args.home)
    models: list[Loaded] = []
    if args.format == "text":
        print(doctor_text.render(report))
    if args.profile is not None:
        models = _load_models(args.profile, args.home, args.device or "cpu", args.format == "text")
    if args.format == "json":
        print(doctor_text.as_json(report, models if args.profile is not None else None))
    wrong = sum(model.status != packages.OK for model in models)
    if wrong:
        raise DataError(f"{wrong} of the models do not load")


def _load_models(profile: str, home: Path, device: str, shown: bool) -> list[Loaded]:
    """Each model of a profile, loaded once; shown: a line for each as it is."""
    from harness.cli import doctor_text
    from harness.core import parallel
    from harness.planning import model_loading

    parallel.check_device(device)
    if shown:
        print(f"Loading each model of profile {profile}")
    models = []
    for model in model_loading.load_each(profile, home, device):
        models.append(model)
        if shown:
            print(doctor_text.of_model(model), flush=True)
    return models
