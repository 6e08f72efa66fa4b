"""The direction of imports, and a quick start of the command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A module (or package, as one) imports only what stands to its left; none but a baseline imports a
# baseline, because terms are found by name.
ORDER = (
    "__init__ types files lookup params parallel statistics metrics codec pictures prompts "
    "prompts_endpoint mini datasets approximate places hard "
    "attention shallow fp8 slots generate score measure peers shards store cache failures "
    "pool_export reading stages mixture curriculum spectra operations operations_fast latent "
    "logistic clip checkpoint "
    "baselines compose augment backbones optim train_data predict loop evaluate train merge "
    "guesses records published jobs census runs audit audit_report bootstrap comparison notes "
    "leaderboard table_data tables golden check check_report claims findings report flops facts "
    "rehearsal doctor doctor_text plan plan_text profile profile_text profile_data engine pretrain "
    "asked beside commands cli __main__"
).split(" ")
FILES = sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("baselines/*.py")])


def room(*names: str) -> str:
    """The room of a module, given as the parts of its dotted name."""
    if names[:3] == ("harness", "mini", "pretrain"):  # scripts that use everything
        return "pretrain"
    return names[1] if names[0] == "harness" else names[0]


def imported(path: Path) -> set[str]:
    """Rooms that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {room(*n.split(".")) for n in found if n.startswith(("harness.", "baselines."))}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path):
    here = room(*path.relative_to(ROOT).with_suffix("").parts)
    assert here in ORDER, f"give {here} its place in ORDER"
    left = set(ORDER[: ORDER.index(here)]) - {"baselines"}
    assert imported(path) <= left | {here}


@pytest.mark.parametrize("module", ["harness.cli", "harness.lookup", "harness.types"])
def test_starting_loads_nothing_heavy(module):
    heavy = {"torch", "polars", "numpy", "diffusers", "transformers", "pyarrow", "scipy"}
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[]\n", "")
