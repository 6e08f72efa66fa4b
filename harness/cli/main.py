"""The `harness` command: argument parsing and printing only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.cli import commands, messages, tools
from harness.cli.folders import path_of, sweep
from harness.cli.guard import DONE, USAGE, guarded
from harness.core import registry

EXAMPLES = """examples:
  harness compare --dataset cifar100-lt             every stage, then the leaderboard
  harness compare --dataset cifar100-lt --rows CE "CE+DisCL" --imbalance 100 --seeds 0 1 2 3 4
  harness train --dataset cifar100-lt --method 'CE+DisCL(curriculum="fixed", levels=(0.5,))'
  harness train --dataset cifar100-lt --set scratch.lr=0.05 --set mixture.keep=0.5
  harness table --dataset cifar100-lt --rule B --format markdown
  harness table --table table4 --profile mini --select oracle
  harness data check --dataset imagenet-lt --profile paper --root /data/imagenet
  harness plan --dataset imagenet-lt --profile paper
  harness report --profile mini --out report.html   one page of all that was run
  harness check --profile smoke
  harness list                                      data sets, profiles, methods
  harness list --method DisCL                       its arguments: defaults, ranges, help

exit codes: 0 done, 1 data (a file is missing, damaged or cannot be written), 2 usage, 3 a check
failed (a regression), 130 interrupted, 143 terminated."""

ABOUT_SET = "a field of the recipe, such as scratch.lr=0.05; may be repeated"
FORMATS = ("text", "markdown", "latex", "csv", "json", "html")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = argparse.Namespace()

    def command() -> int:
        _parser().parse_args(argv, args)
        if args.command is None:
            _parser().print_help()
            return USAGE
        with messages.shown():
            messages.choose(args)
            sweep(args)
            args.run(args)
        return DONE

    return guarded(command, clean=lambda: sweep(args))


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an unknown option is told first, and with the nearest one."""
        if self._subparsers is None:
            options = [name for name in self._option_string_actions if name.startswith("--")]
            for word in args or ():
                name = word.partition("=")[0]
                if name.startswith("--") and not any(o.startswith(name) for o in options):
                    self.error(f"unknown option {name}{registry.nearest(name, options)}")
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """UsageError's words for a value that is not among the choices."""
        if action.choices is not None and value not in action.choices:
            hint = registry.nearest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"unknown name {value!r}{hint}")

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
    every = parser.add_subparsers(dest="command", metavar="command", title="commands")
    compare = _command(every, "compare", commands.compare, "run what is missing, print the table")
    _rows(compare, "what to run; the first is then compared with each other one")
    compare.add_argument(
        "--rerun", action="store_true", help="also train runs again that other code trained"
    )
    _track(compare)
    _view(compare)
    _command(every, "index", commands.index, "list the training images of every imbalance ratio")
    _command(every, "hard", commands.hard, "choose the images that get a spectrum")
    for name, stage, about in (
        ("generate", commands.generate, "make the synthetic images that are missing"),
        ("score", commands.score, "CLIPScores of the synthetic images"),
    ):
        _rows_alone(_command(every, name, stage, about), "whose images")
    train = _command(every, "train", commands.train, "train the runs that are missing")
    _rows(train)
    train.add_argument("--method", action="append", help="an expression; may be repeated")
    _track(train)
    about_table = "whose rows to run, with its backbone (default: the data set's main table)"
    train.add_argument("--table", nargs="+", metavar="NAME", default=[None], help=about_table)
    about = "print the leaderboard of what was run, beside the published one"
    table = _command(every, "table", commands.table, about, needs_dataset=False)
    _view(table)
    _rows_alone(table, "what to show; those that nobody published are marked ours")
    table.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    about_columns = "whose numbers: ours, paper (the published ones) or both (default)"
    table.add_argument("--columns", default="both", help=about_columns)
    table.add_argument("--out", type=path_of, help="write the table to this file instead")
    table.add_argument(
        "--reference", dest="origin", action="store_const", const="reference",
        help="the project's results (default: your own where there are any)",
    )  # fmt: skip
    table.add_argument("--metrics", type=path_of, help="write the headline to this file, for DVC")
    table.add_argument("--plots", type=path_of, help="write the data of DVC's plots to this folder")
    about = "read all that is kept to the last byte: data, tables, pool, scores, runs, records"
    verify = _command(every, "verify", commands.verify, about)
    about_repair = "remove what is damaged; `harness compare` then makes it again"
    verify.add_argument("--repair", action="store_true", help=about_repair)
    about = "clean or export the synthetic images, or give them the keys that hold now"
    cache = _command(every, "cache", commands.cache, about)
    cache.add_argument("action", choices=("gc", "rekey", "export"))
    cache.add_argument("--to", type=path_of, help="export: a folder that does not exist yet")
    cache.add_argument("--format", choices=("files", "webdataset", "hf"), default="files")
    _preparing(every)
    _reporting(every)
    about_list = "data sets, their profiles, and methods; the arguments of a method"
    listing = every.add_parser("list", help=about_list)
    listing.add_argument(
        "--method",
        action="append",
        help="print this term's arguments: type, default, allowed values, help; may be repeated; "
        "all: of every term",
    )
    listing.add_argument(
        "--format", choices=("text", "markdown"), default="text", help="default: text"
    )
    listing.set_defaults(run=commands.listing)
    for command in every.choices.values():
        messages.options(command)
    return parser


def _preparing(every: Any) -> None:
    """Commands that prepare, plan and check."""
    data = _command(every, "data", tools.data, "check a data set's official files, or fetch them")
    data.add_argument("action", choices=("check", "fetch"))
    data.add_argument("--decode", action="store_true", help="check: decode every picture, too")
    about = "write ten scene descriptions per class: an offline grammar, or a language model"
    prompts = _command(every, "prompts", tools.prompts, about)
    prompts.add_argument(
        "--out", type=path_of, help="JSON file (default: the one that `harness generate` reads)"
    )
    prompts.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible one; else grammar")
    prompts.add_argument("--model", default="gpt-3.5-turbo-0125", help="at the endpoint")
    prompts.add_argument(
        "--key",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable of the key",
    )
    plan = _command(every, "plan", tools.plan, "what would run, and what it costs; needs no data")
    _rows(plan)
    plan.add_argument("--table", metavar="NAME", help="default: the data set's main table")
    plan.add_argument("--tflops", type=float, help="rate of the machine to plan for, TFLOP/s")
    _profile(every)
    about = "what is installed and found here, and what each profile still needs"
    doctor = every.add_parser("doctor", help=about, description=about)
    doctor.add_argument("--home", type=path_of, default=Path(), help="for results (default: here)")
    doctor.set_defaults(run=tools.doctor)
    _checking(every)
    about = "the published tables against their own class counts: what adds up, and what does not"
    audit = every.add_parser("audit", help=about, description=about)
    audit.add_argument("--all", action="store_true", help="rows that add up, too")
    audit.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    audit.set_defaults(run=tools.audit)


def _reporting(every: Any) -> None:
    """Commands that look at the records of several data sets."""
    about = "the paper's claims, each tested on what was run"
    findings = every.add_parser("findings", help=about, description=about)
    findings.add_argument("--format", choices=("text", "markdown", "json", "short"), default="text")
    findings.add_argument("--out", type=path_of, help="write to this file instead")
    findings.add_argument(
        "--power",
        action="store_true",
        help="instead: the smallest difference that each comparison would show, and how many seeds "
        "and test images the published one would take",
    )
    findings.set_defaults(run=tools.findings)
    about = "one HTML file: leaderboards, findings, charts and a gallery of the spectrum"
    report = every.add_parser("report", help=about, description=about)
    report.add_argument("--out", type=path_of, default=Path("report.html"), help="(report.html)")
    report.add_argument(
        "--pictures",
        type=_positive,
        default=commands.PICTURES,
        help=f"synthetic images in it, about (default {commands.PICTURES})",
    )
    report.set_defaults(run=tools.report)
    for parser in (findings, report):
        parser.add_argument(
            "--dataset", action="append", help="may be repeated (default: all with records)"
        )
        parser.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
        about_home = "of results (default: here)"
        parser.add_argument("--home", type=path_of, default=Path(), help=about_home)
        _set(parser)
        _rule_and_selection(parser)


def _checking(every: Any) -> None:
    about = "the gate: results against golden numbers, by statistics; exit code 3 for a regression"
    example = 'example: harness check --profile smoke; harness check --update --reason "new CLIP"'
    check = every.add_parser("check", help=about, description=about, epilog=example)
    check.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
    check.add_argument("--dataset", nargs="+", metavar="NAME", help="default: all")
    check.add_argument("--home", type=path_of, default=Path(), help="for results (default: here)")
    _set(check)
    check.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    check.add_argument(
        "--mode",
        default="statistical",
        help="statistical (default): on any machine; exact: keys and numbers equal, on one machine",
    )
    check.add_argument(
        "--speed",
        action="store_true",
        help="measure now how fast the generator is beside the stock pipeline (about a minute)",
    )
    check.add_argument("--update", action="store_true", help="make these the golden numbers")
    check.add_argument(
        "--calibrate",
        action="store_true",
        help="repeat the runs under several kinds of arithmetic, which says how far unchanged code "
        "lies apart, and make these the golden numbers; an interrupted call resumes",
    )
    check.add_argument(
        "--seeds", nargs="+", type=_seed, help="calibrate: of the runs (default: 0 1 2)"
    )
    check.add_argument("--reason", metavar="TEXT", help="update, calibrate: why, kept in the file")
    check.set_defaults(run=tools.check)


def _profile(every: Any) -> None:
    from_here = "where the seconds of generating, reading and training go; writes results/profile"
    profile = _command(every, "profile", tools.profile, from_here)
    profile.add_argument(
        "--what",
        nargs="+",
        choices=("generation", "reading", "training"),
        default=["generation"],
        help="default: generation",
    )
    profile.add_argument(
        "--sources", type=_positive, default=8, help="hard images to make spectra of (default 8)"
    )
    profile.add_argument("--levels", nargs="+", type=float, help="default: the profile's")
    profile.add_argument(
        "--against", nargs="+", default=[], metavar="PIPELINE",
        help="stock: diffusers' pipeline in batches; loop: one image at a time, with CLIP",
    )  # fmt: skip
    profile.add_argument(
        "--approximate", nargs="+", default=[], metavar="NAME",
        help="beside the exact generator: guidance-interval=0.2-0.8, deep-cache=2, fp8-linears",
    )  # fmt: skip
    profile.add_argument(
        "--trace", type=path_of, metavar="FILE", help="of the generation, for Perfetto"
    )


def _view(parser: argparse.ArgumentParser) -> None:
    about = "also show the optimiser steps, images seen and images generated of each row"
    parser.add_argument("--budget", action="store_true", help=about)
    parser.add_argument("--table", metavar="NAME", help="default: the data set's main table")
    _rule_and_selection(parser)


def _rule_and_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rule", default="A", help="class grouping: A, B, C, D (default A)")
    parser.add_argument(
        "--select", default="last", help="epoch: last (default), best_val or oracle"
    )


def _set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=ABOUT_SET)


def _rows_alone(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--rows", nargs="+", metavar="METHOD", help=f"{what} (default: the table's rows)"
    )


def _command(
    every: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    about: str,
    needs_dataset: bool = True,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = every.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"example: harness {name} --dataset cifar100-lt",
    )
    parser.add_argument("--dataset", required=needs_dataset, help="see `harness list`")
    parser.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
    parser.add_argument("--backbone", help="another one than the profile's: resnet34, ...")
    parser.add_argument("--root", type=path_of, help="folder of the data set's official files")
    parser.add_argument("--home", type=path_of, default=Path(), help="for results (default: here)")
    parser.add_argument("--params", type=path_of, help="default: params.yaml in --home, if there")
    _set(parser)
    parser.add_argument("--workers", type=_positive, help="processes (default: one per core)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:0, ...")
    parser.set_defaults(run=run)
    return parser


def _rows(parser: argparse.ArgumentParser, what: str = "what to run") -> None:
    _rows_alone(parser, what)
    parser.add_argument("--imbalance", nargs="+", type=_positive, help="default: the profile's")
    parser.add_argument("--seeds", nargs="+", type=_seed, help="default: the profile's")


def _track(parser: argparse.ArgumentParser) -> None:
    about = "write the epochs to tracking/NAME: json, dvclive, tensorboard, wandb (offline)"
    parser.add_argument("--track", nargs="+", metavar="NAME", help=about)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
