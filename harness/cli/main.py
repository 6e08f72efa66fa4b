"""The `harness` command: argument parsing and printing only."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.cli import commands, completion, examples, listing, messages, shared_leaderboard, tools
from harness.cli.folders import path_of, sweep
from harness.cli.guard import DONE, USAGE, guarded
from harness.cli.options import (
    add_action,
    add_command,
    add_datasets,
    add_home,
    add_plain_command,
    add_profile,
    add_rows,
    add_rule_and_selection,
    add_runs,
    add_set,
    add_track,
    add_view,
    positive,
    seed,
    whole_number,
)
from harness.core import registry
from harness.core.parallel import is_first
from harness.results.records import installed

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
            with contextlib.nullcontext() if is_first() else _unseen():
                args.run(args)
        return DONE

    return guarded(command, clean=lambda: sweep(args))


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Nothing on the standard output: another process of the launcher prints the same."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an unknown option is told first, and with the nearest one."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        for word in sys.argv[1:] if args is None else args:
            if self._subparsers is not None and not word.startswith("-"):
                break  # a command, whose own parser reads the rest
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


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the versions of the harness, Python and PyTorch, and end."""
        print(version_text())
        parser.exit()


def version_text() -> str:
    """Versions, as `harness --version` prints them."""
    known = installed(("discl-harness", "torch"))
    torch = f", torch {known['torch']}" if "torch" in known else ""
    number = known.get("discl-harness", "(not installed)")
    return f"harness {number} (Python {platform.python_version()}{torch})"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="harness",
        description="Compare DisCL with its baselines on scarce image data with synthetic images.",
        epilog=examples.of_all(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about_version = "print the versions of the harness, Python and PyTorch"
    parser.add_argument("--version", action=_Version, nargs=0, help=about_version)
    every = parser.add_subparsers(dest="command", metavar="command", title="commands")
    _running(every)
    _keeping(every)
    _preparing(every)
    _reporting(every)
    _about_the_command(every)
    for command in every.choices.values():
        messages.options(command)
    return parser


def _running(every: Any) -> None:
    """The stages, and all of them."""
    compare = add_command(
        every, "compare", commands.compare, "run what is missing, print the table"
    )
    add_runs(compare, "what to run; the first is then compared with each other one")
    compare.add_argument(
        "--rerun", action="store_true", help="also train runs again that other code trained"
    )
    add_track(compare)
    add_view(compare)
    about = "list the training images of every imbalance ratio"
    add_command(every, "index", commands.index, about, without="backbone workers device")
    add_command(every, "hard", commands.hard, "choose the images that get a spectrum")
    for name, stage, about in (
        ("generate", commands.generate, "make the synthetic images that are missing"),
        ("score", commands.score, "CLIPScores of the synthetic images"),
    ):
        add_rows(add_command(every, name, stage, about), "whose images")
    train = add_command(every, "train", commands.train, "train the runs that are missing")
    add_runs(train)
    train.add_argument("--method", action="append", help="an expression; may be repeated")
    add_track(train)
    about_table = "whose rows to run, with its backbone (default: the data set's main table)"
    train.add_argument("--table", nargs="+", metavar="NAME", default=[None], help=about_table)


def _keeping(every: Any) -> None:
    """What is kept: the table of it, and its state."""
    about = "print the leaderboard of what was run, beside the published one"
    without = "root workers device"
    table = add_command(every, "table", commands.table, about, needs_dataset=False, without=without)
    add_view(table)
    add_rows(table, "what to show; those that nobody published are marked ours")
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
    without = "backbone workers device"
    verify = add_command(every, "verify", commands.verify, about, without=without)
    about_repair = "remove what is damaged; `harness compare` then makes it again"
    verify.add_argument("--repair", action="store_true", help=about_repair)
    about = "clean or export the synthetic images, or give them the keys that hold now"
    cache = add_command(every, "cache", commands.cache, about, without=without, each=True)
    add_action(cache, tuple(commands.CACHE))
    cache.add_argument("--to", type=path_of, help="export: a folder that does not exist yet")
    about_format = "export: files (default), webdataset or hf (Parquet)"
    cache.add_argument("--format", choices=("files", "webdataset", "hf"), help=about_format)


def _about_the_command(every: Any) -> None:
    about = "names that can be chosen: data sets, methods, tables, ...; the arguments of a method"
    names = add_plain_command(every, "list", listing.listing, about)
    about_what = f"one of {', '.join(listing.WHAT)} (default: an overview)"
    names.add_argument("what", nargs="?", choices=listing.WHAT, metavar="WHAT", help=about_what)
    names.add_argument(
        "--method", action="append",
        help="print this term's arguments: type, default, allowed values, help; may be repeated; "
        "all: of every term",
    )  # fmt: skip
    about_format = "default: text"
    names.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help=about_format
    )
    about = "print the script by which a shell completes commands, options and names"
    script = add_plain_command(every, "completion", completion.command(_parser), about)
    script.add_argument("shell", choices=completion.SHELLS, metavar="SHELL", help="bash, zsh, tcsh")


def _preparing(every: Any) -> None:
    """Commands that prepare, plan and check."""
    about, without = (
        "check or fetch a data set's official files, or list their digests",
        "backbone workers device",
    )
    data = add_command(every, "data", tools.data, about, without=without, each=True)
    add_action(data, ("check", "fetch", "digests"))
    data.add_argument("--decode", action="store_true", help="check: decode every picture, too")
    about = "write ten scene descriptions per class: an offline grammar, or a language model"
    prompts = add_command(every, "prompts", tools.prompts, about, without=without)
    prompts.add_argument(
        "--out", type=path_of, help="JSON file (default: the one that `harness generate` reads)"
    )
    prompts.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible one; else grammar")
    about_model = "at the endpoint (default: gpt-3.5-turbo-0125)"
    prompts.add_argument("--model", help=about_model)
    about_key = "environment variable of the endpoint's key (default: OPENAI_API_KEY)"
    prompts.add_argument("--key", metavar="VARIABLE", help=about_key)
    about = "what would run, and what it costs; needs no data"
    plan = add_command(every, "plan", tools.plan, about, without="workers device")
    add_runs(plan)
    plan.add_argument("--table", metavar="NAME", help="default: the data set's main table")
    _machines(plan)
    _profile(every)
    about = "what is installed and found here, and what each profile still needs"
    doctor = add_plain_command(every, "doctor", tools.doctor, about)
    add_home(doctor)
    doctor.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    about_load = "also load each model of this profile once: mini, smoke or paper"
    doctor.add_argument("--profile", help=about_load)
    doctor.add_argument("--device", help="to load them on (default: cpu)")
    _checking(every)
    about = "the published tables against their own class counts: what adds up, and what does not"
    audit = add_plain_command(every, "audit", tools.audit, about)
    audit.add_argument("--all", action="store_true", help="rows that add up, too")
    choices = ("text", "markdown", "json")
    audit.add_argument("--format", choices=choices, default="text", help="default: text")


def _machines(plan: argparse.ArgumentParser) -> None:
    """What a plan is for."""
    plan.add_argument("--tflops", type=float, help="rate of one GPU to plan for, TFLOP/s")
    about_gpus = "cards to plan for (default: 1 for profile paper, else 0: the cores do the work)"
    plan.add_argument("--gpus", type=whole_number, help=about_gpus)
    about_cores = "cores to plan for (default: 16 per card for profile paper, else this machine's)"
    plan.add_argument("--cores", type=positive, help=about_cores)
    about_card = "memory of a card in GiB (default: 74.5, which is sold as 80 GB)"
    plan.add_argument("--gpu-memory", type=float, metavar="GIB", help=about_card)
    about_memory = "of the machine, in GiB (default: 128 for profile paper, else this machine's)"
    plan.add_argument("--memory", type=float, metavar="GIB", help=about_memory)
    about_disk = "what the disk with the official files reads (default: 500)"
    plan.add_argument("--read-mb-s", type=float, metavar="MB/S", help=about_disk)
    about_measure = "measure the CPU work on this machine first, for about a minute"
    plan.add_argument("--measure", action="store_true", help=about_measure)


def _reporting(every: Any) -> None:
    """Commands that look at the records of several data sets."""
    about = "the paper's claims, each tested on what was run"
    findings = add_plain_command(every, "findings", tools.findings, about)
    choices = ("text", "markdown", "json", "short")
    findings.add_argument("--format", choices=choices, help="default: text")
    findings.add_argument("--out", type=path_of, help="write to this file instead")
    findings.add_argument(
        "--power",
        action="store_true",
        help="instead: the smallest difference that each comparison would show, and how many seeds "
        "and test images the published one would take",
    )
    about = "one HTML file: leaderboards, findings, charts and a gallery of the spectrum"
    report = add_plain_command(every, "report", tools.report, about)
    report.add_argument("--out", type=path_of, default=Path("report.html"), help="(report.html)")
    report.add_argument(
        "--pictures",
        type=positive,
        default=commands.PICTURES,
        help=f"synthetic images in it, about (default {commands.PICTURES})",
    )
    for parser in (findings, report):
        add_datasets(parser, "default: all with records")
        add_profile(parser)
        add_home(parser)
        add_set(parser)
        add_rule_and_selection(parser)
    about = "records of several people in one leaderboard, each proven by its own predictions"
    board = add_plain_command(every, "leaderboard", shared_leaderboard.leaderboard, about)
    about_folders = (
        "a reporter's records: DIR/<profile>/<data set>/*.json, or a folder that harness wrote; "
        "NAME=DIR names the reporter (default: DIR/reporter.toml, else the name of the folder)"
    )
    board.add_argument("folders", nargs="*", metavar="DIR", help=about_folders)
    board.add_argument("--reference", action="store_true", help="also the project's own results")
    add_datasets(board, "default: all with records")
    add_profile(board)
    add_rule_and_selection(board)
    board.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    board.add_argument("--out", type=path_of, help="write the tables to this file instead")
    board.add_argument("--page", type=path_of, metavar="FILE", help="also write one HTML page")


def _checking(every: Any) -> None:
    about = "the gate: results against golden numbers, by statistics; exit code 3 for a regression"
    check = add_plain_command(every, "check", tools.check, about)
    add_profile(check)
    add_datasets(check, "default: all")
    add_home(check)
    add_set(check)
    check.add_argument("--format", choices=("text", "markdown", "json"), help="default: text")
    about_golden = "golden numbers (default: results/golden/<profile>.json)"
    check.add_argument("--golden", type=path_of, metavar="FILE", help=about_golden)
    check.add_argument(
        "--mode",
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
        "--seeds", nargs="+", type=seed, help="calibrate: of the runs (default: 0 1 2)"
    )
    check.add_argument("--reason", metavar="TEXT", help="update, calibrate: why, kept in the file")


def _profile(every: Any) -> None:
    from_here = "where the seconds of generating, reading and training go; writes results/profile"
    profile = add_command(every, "profile", tools.profile, from_here, without="workers")
    profile.add_argument(
        "--what",
        nargs="+",
        choices=("generation", "reading", "training"),
        default=["generation"],
        help="default: generation",
    )
    profile.add_argument(
        "--sources", type=positive, help="hard images to make spectra of (default 8)"
    )
    profile.add_argument("--levels", nargs="+", type=float, help="default: the profile's")
    profile.add_argument(
        "--against", nargs="+", metavar="PIPELINE",
        help="stock: diffusers' pipeline in batches; loop: one image at a time, with CLIP",
    )  # fmt: skip
    profile.add_argument(
        "--approximate", nargs="+", metavar="NAME",
        help="beside the exact generator: guidance-interval=0.2-0.8, deep-cache=2, fp8-linears",
    )  # fmt: skip
    profile.add_argument(
        "--trace", type=path_of, metavar="FILE", help="of the generation, for Perfetto"
    )


if __name__ == "__main__":
    sys.exit(main())
