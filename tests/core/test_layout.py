"""Packages import one way, and the command starts quickly."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A package imports only from itself and from packages to its left. Terms are found by name, so no
# package imports a baseline.
ORDER = (
    "core mini datasets methods models pool generation training baselines results tracking "
    "pipeline planning report api cli pretrain"
).split()
FILES = sorted([*ROOT.glob("harness/*/**/*.py"), *ROOT.glob("baselines/*.py")])


def package(name: str) -> str:
    """The package of a dotted name: harness.pool.cache and harness.pool are `pool`."""
    first, _, rest = name.partition(".")
    return first if first == "baselines" else rest.partition(".")[0]


def imported(path: Path) -> set[str]:
    """Packages that a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            names |= {f"harness.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {package(n) for n in names if n and n.startswith(("harness.", "baselines"))}


def test_every_package_has_its_place():
    folders = {path.parent.name for path in ROOT.glob("harness/*/__init__.py")}
    assert folders == set(ORDER) - {"baselines"}


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_left(name):
    folder = "baselines" if name == "baselines" else f"harness/{name}"
    left = {*ORDER[: ORDER.index(name) + 1]} - ({"baselines"} if name != "baselines" else set())
    wrong = {
        str(path.relative_to(ROOT)): sorted(imported(path) - left)
        for path in FILES
        if path.is_relative_to(ROOT / folder) and imported(path) - left
    }
    assert wrong == {}


def test_the_top_of_the_package_is_small():
    assert len(list(ROOT.glob("harness/*.py"))) <= 3


def test_every_package_says_what_lives_there():
    for path in ROOT.glob("harness/*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    "module", ["harness.cli.main", "harness.core.registry", "harness.methods.terms"]
)
def test_starting_loads_nothing_heavy(module):
    heavy = {
        "torch",
        "polars",
        "numpy",
        "diffusers",
        "transformers",
        "pyarrow",
        "scipy",
        "pydantic",
    }
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[]\n", "")
