"""The command `harness`, for which a foreign package of that name on the path is no riddle."""

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> int:
    """Run the command; exit code 2 where another package `harness` is in the way."""
    here = Path(__file__).resolve().parent
    spec = find_spec("harness")
    folders = (spec.submodule_search_locations if spec else None) or ["nowhere"]
    if not any(Path(folder).resolve().parent == here for folder in folders):
        print(
            f"harness: the package 'harness' is imported from {folders[0]}, not from "
            f"{here / 'harness'}: another package or a folder of that name comes first on Python's "
            "path",
            file=sys.stderr,
        )
        return 2
    try:
        from harness.cli.main import main as command
    except KeyboardInterrupt:  # before the command can say so itself
        return 130
    return command()
