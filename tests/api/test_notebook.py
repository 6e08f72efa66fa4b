"""What `import harness` offers, what it costs to import, and the notebook that uses it."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_workspace
import yaml

import harness
from harness import api
from harness.core import parallel
from harness.mini import weights

ROOT = Path(__file__).parents[2]


def test_names_are_documented_and_typed():
    assert harness.__all__ == sorted(harness.__all__)
    assert set(api.__all__) == set(harness.__all__) - {"__version__"}
    assert set(harness.__all__) <= set(dir(harness))
    assert re.fullmatch(r"\d+\.\d+\.\d+", harness.__version__)
    assert (ROOT / "harness" / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'compere'"):
        _ = harness.compere
    for name in api.__all__:
        function = getattr(api, name)
        assert function.__doc__
        assert "return" in function.__annotations__
        assert set(inspect.signature(function).parameters) < set(function.__annotations__)


@pytest.mark.parametrize("name", sorted({*api.__all__, "__version__"}))
def test_names_are_loaded_when_they_are_used(name):
    code = (
        "import sys, harness\n"
        "heavy = {'torch', 'polars', 'numpy', 'harness.api'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
        f"print(callable(harness.{name}) or harness.{name}, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    value = harness.__version__ if name == "__version__" else True
    assert run.stdout == f"[]\n{value} False\n"


def test_the_notebook_runs(models, tmp_path, monkeypatch):
    """Overall its cells in their order, with small models and the recipe of these tests."""
    monkeypatch.setattr(weights, "MODELS", models)
    monkeypatch.setattr(parallel, "run", small_workspace.here)
    home, data = tmp_path / "home", small_workspace.write_data(tmp_path / "data")
    home.mkdir()
    (home / "params.yaml").write_text(
        yaml.safe_dump({"smoke": {"cifar100-lt": small_workspace.SMALL}})
    )
    cells = re.split(r"^# %%", (ROOT / "docs" / "notebook.py").read_text(), flags=re.MULTILINE)
    tagged = [cell for cell in cells if cell.startswith(' tags=["parameters"]')]
    assert len(tagged) == 1
    names: dict[str, Any] = {}
    for cell in cells:
        code = cell.partition("\n")[2]
        exec(compile(code, "docs/notebook.py", "exec"), names)
        if cell in tagged:
            names["OPTIONS"] = {"profile": "smoke", "home": home, "root": data, "imbalance": [100]}
            names["HOME"] = home
            names["SEEDS"] = range(2)
    assert names["difference"].height
    assert 0 < len(names["good"]) < len(names["pool"])
    assert (home / "work" / "smoke" / "cifar100-lt" / "report.html").is_file()
