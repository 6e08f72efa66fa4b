"""How wide DVC's views of the project are: the pipeline as it stands, its outputs drawn."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDTH = 160
HEADLINES = "results/metrics/mini"
RUNS = ("runs", "results/records")
SHOW = next(
    line.partition("#")[0].strip()
    for line in (ROOT / "docs/tracking.md").read_text().splitlines()
    if line.startswith("dvc exp show")
)


def shell(folder: Path, command: str) -> str:
    """The output of a line of bash; `dvc` is the one beside this Python."""
    line = command.replace("dvc ", f"{Path(sys.executable).with_name('dvc')} ", 1)
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def width(text: str) -> int:
    return max(map(len, text.splitlines()))


def draw_files(folder: Path) -> None:
    """Every input and output of the pipeline, one line each, but for the headline numbers."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        nodes = [*repo.index.deps, *repo.index.outs]
        paths = {Path(n.fs_path) for n in nodes if not isinstance(n, ParamsDependency)}
    parents = {parent for path in paths for parent in path.parents}
    for path in paths:
        file = path if path.suffix else path / "file.txt"
        if not file.exists() and path not in parents:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"a,b\n{path},1\n")


def run_experiment(folder: Path, name: str) -> None:
    """What `dvc exp run -S ...threshold=0.4 table@table2` leaves, without the training.

    Files are written anew, since those there are links into DVC's cache.
    """
    params = folder / "params.yaml"
    params.write_text(re.sub(r"threshold: [0-9.]+", "threshold: 0.4", params.read_text(), count=1))
    headlines = folder / HEADLINES / "table2.json"
    numbers = json.loads(headlines.read_text())["table2"]
    changed = {block: round(number - 0.8, 2) for block, number in numbers.items()}
    outputs = {folder / f"{path}/mini/cifar100-lt/file.txt": name for path in RUNS}
    for path, text in (outputs | {headlines: json.dumps({"table2": changed})}).items():
        path.unlink()
        path.write_text(text)
    shell(folder, f"dvc exp save --name {name}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the project's pipeline, its reference numbers and an experiment."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "benchmarks/dvc.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    shutil.copytree(ROOT / "results/reference/metrics/mini", folder / HEADLINES)
    shell(folder, "git init -q -b main . && git config user.name a && git config user.email a@b.c")
    draw_files(folder)
    shell(folder, "dvc commit -q -f && git add . && git commit -q -m Results")
    run_experiment(folder, "proud-lynx")
    return folder


def test_experiments(project: Path) -> None:
    """The documented command shows what was set and what came out, and no folders."""
    table = shell(project, SHOW)
    assert width(table) <= WIDTH
    changed = ["table2.ir100", "table2.ir50", "mini.cifar100-lt.threshold"]
    assert table.splitlines()[1].split() == ["Experiment", "Created", *changed]
    assert "[proud-lynx]" in table


@pytest.mark.parametrize("command", ["dvc metrics show", "dvc metrics diff", "dvc params diff"])
def test_numbers(project: Path, command: str) -> None:
    table = shell(project, command)
    assert 0 < width(table) <= WIDTH
    assert len(table.splitlines()) <= 8
