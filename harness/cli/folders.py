"""Files and folders as commands name them, and what killed commands left there."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from harness.core import files

BELOW_HOME = ("work", "pool", "runs", "results/records", "results/metrics")  # each by profile
WRITTEN = ("out", "metrics", "page", "to", "trace")  # options that name a file or folder to write
OTHERS = ("results/tables", "results/profile", "prompts")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


def path_of(text: str) -> Path:
    """A file or folder that an option names, with ~ and $VARIABLES as a shell has them.

    A shell leaves them alone within quotes and after `--home=`.
    """
    if not text:
        raise argparse.ArgumentTypeError("'' is no file or folder")
    if Path(text).exists():
        return Path(text)
    expanded = os.path.expanduser(os.path.expandvars(text))
    missing = _VARIABLE.search(expanded)
    if missing is not None:
        raise argparse.ArgumentTypeError(f"{text!r}: {missing[0]} is not set")
    if expanded.startswith("~"):
        raise argparse.ArgumentTypeError(f"{text!r}: there is no home folder of that user")
    return Path(expanded)


def sweep(args: argparse.Namespace) -> None:
    """Remove what killed commands left where this one writes; what others write now stays."""
    for path in (getattr(args, name, None) for name in WRITTEN):
        if path is not None:
            files.sweep(path.parent, below=False)
    home, profile = getattr(args, "home", None), getattr(args, "profile", None)
    if home is None:
        return
    files.sweep(home, below=False)
    for name in OTHERS:
        files.sweep(home / name)
    for name in BELOW_HOME if profile else ():
        files.sweep(home / name / profile)
