"""Files that come with the project: published tables, reference results, golden numbers, params.

A checkout has them in `results/` and `params.yaml`; an installed package has copies of these inside
itself. They are read, and never written by a command.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "shipped"  # what setup.py copies into a wheel


def root() -> Path:
    """The folder that holds `results` and `params.yaml`: the checkout's, or the package's own."""
    checkout = PACKAGE.parent
    return INSTALLED if INSTALLED.is_dir() else checkout


PAPER = root() / "results" / "paper"  # published tables
REFERENCE = root() / "results" / "reference"  # records, tables and metrics of the project
GOLDEN = root() / "results" / "golden"
PARAMS = root() / "params.yaml"
