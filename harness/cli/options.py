"""The options that several commands share, and the commands as argparse has them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.cli import examples
from harness.cli.folders import path_of

ABOUT_SET = "a field of the recipe, such as scratch.lr=0.05; may be repeated"
ENGINE_COMMANDS = ("compare", "hard", "generate", "score", "train")
# Options that most commands share; a command without use for one lacks it.
SHARED = "backbone root params set workers device"


def add_view(parser: argparse.ArgumentParser) -> None:
    about = "also show the optimiser steps, images seen and images generated of each row"
    parser.add_argument("--budget", action="store_true", help=about)
    parser.add_argument("--table", metavar="NAME", help="default: the data set's main table")
    add_rule_and_selection(parser)


def add_rule_and_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rule", default="A", help="class grouping: A, B, C, D (default A)")
    parser.add_argument(
        "--select", default="last", help="epoch: last (default), best_val or oracle"
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=ABOUT_SET)


def add_rows(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--rows", nargs="+", metavar="METHOD", help=f"{what} (default: the table's rows)"
    )


def add_command(
    every: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    about: str,
    needs_dataset: bool = True,
    without: str = "",
    each: bool = False,
) -> argparse.ArgumentParser:
    """A command about data sets; without: those of SHARED that it does not have.

    each: a data set takes an option of its own, because a word that is no option follows.
    """
    parser = add_plain_command(every, name, run, about)
    add_datasets(parser, "see `harness list`", needs_dataset, each)
    add_profile(parser)
    add_home(parser)
    options: dict[str, Callable[[], Any]] = {
        "backbone": lambda: parser.add_argument(
            "--backbone", help="another one than the profile's: see `harness list backbones`"
        ),
        "root": lambda: parser.add_argument(
            "--root", type=path_of, help="folder of the data set's official files"
        ),
        "params": lambda: parser.add_argument(
            "--params", type=path_of, help="default: params.yaml in --home, if there"
        ),
        "set": lambda: add_set(parser),
        "workers": lambda: parser.add_argument(
            "--workers", type=positive, help="processes (default: one per core, or GPU)"
        ),
        "device": lambda: parser.add_argument(
            "--device", default="cpu", help="cpu (default), cuda, cuda:0, ..."
        ),
    }
    for option in SHARED.split():
        if option not in without.split():
            options[option]()
    if name in ENGINE_COMMANDS:
        _add_engine(parser)
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    about = "what does the work: local (default), processes of this machine; ray, a Ray cluster"
    parser.add_argument("--engine", default="local", metavar="NAME", help=about)
    about = "of the Ray cluster: auto, host:6379 or ray://host:10001 (default: $RAY_ADDRESS, the "
    about += "one that runs here, or a new one)"
    parser.add_argument("--address", help=about)
    about = "ray: share of a GPU that a worker takes (default: 1 with --device cuda, else 0)"
    parser.add_argument("--gpus-per-worker", type=float, metavar="N", help=about)
    about = "ray: host memory that is set aside for a worker (default: none)"
    parser.add_argument("--memory-per-worker", type=float, metavar="GIB", help=about)


def add_plain_command(
    every: Any, name: str, run: Callable[[argparse.Namespace], None], about: str
) -> argparse.ArgumentParser:
    """A command with its examples and no options."""
    parser: argparse.ArgumentParser = every.add_parser(
        name,
        help=about,
        description=about,
        epilog=examples.of_command(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_action(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    parser.add_argument("action", choices=names, metavar=f"{{{','.join(names)}}}")


def add_datasets(
    parser: argparse.ArgumentParser, default: str, required: bool = False, each: bool = False
) -> None:
    number = 1 if each else "+"
    about = f"one or several{', each with this option' * each} ({default})"
    parser.add_argument(
        "--dataset", nargs=number, action="extend", metavar="NAME", required=required, help=about
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="mini", help="mini (default), smoke or paper")


def add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=path_of, default=Path(), help="for results (default: here)")


def add_runs(parser: argparse.ArgumentParser, what: str = "what to run") -> None:
    add_rows(parser, what)
    parser.add_argument("--imbalance", nargs="+", type=positive, help="default: the profile's")
    parser.add_argument("--seeds", nargs="+", type=seed, help="default: the profile's")


def add_track(parser: argparse.ArgumentParser) -> None:
    about = "write the epochs to tracking/NAME: json, dvclive, tensorboard, wandb (offline)"
    parser.add_argument("--track", nargs="+", metavar="NAME", help=about)


def positive(text: str) -> int:
    return _whole(text, 1)


def seed(text: str) -> int:
    return _whole(text, 0)


def whole_number(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest}")
    return int(text)
