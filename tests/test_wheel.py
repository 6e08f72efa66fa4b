"""The package as others install it: a wheel in an environment of its own, an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
SOURCES = (
    "harness baselines discl_harness.py setup.py pyproject.toml MANIFEST.in README.md LICENSE "
    "params.yaml results/paper results/reference results/golden"
).split()
SET = ("--dataset", "cifar100-lt")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with the wheel; what it requires is that of this process."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:  # a copy: building writes beside the sources
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, "wheel", str(folder / "source"), *options], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    pip += ["--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "required.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv/bin/harness"


def run(command: Path, folder: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command in a folder."""
    known = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HARNESS_DATA")}
    done = subprocess.run(
        [command, *words], cwd=folder, env=known | environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--help",), "harness compare --dataset cifar100-lt"),
        (("list",), "DisCL"),
        (("table", *SET), "These are the project's reference results"),
        (("audit",), "47 rows: 24 are"),
        (("plan", *SET), "GPU-hours"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_commands_in_an_empty_folder(command, tmp_path, words, shown):
    code, out, err = run(command, tmp_path, *words)
    assert (code, err) == (0, "")
    assert shown in " ".join(out.split())


def test_the_package_is_that_of_the_wheel(command, tmp_path):
    code = "import harness, baselines; print(harness.__file__, baselines.__path__[0])"
    python = command.with_name("python")
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    site = command.parents[1] / "lib"
    assert [Path(path).is_relative_to(site) for path in done.stdout.split()] == [True, True]


@pytest.mark.parametrize("name", ["harness", "baselines"])
def test_a_foreign_package_in_the_way(command, tmp_path, name):
    (tmp_path / "foreign" / name).mkdir(parents=True)
    (tmp_path / "foreign" / name / "__init__.py").touch()
    code, out, err = run(command, tmp_path, "list", PYTHONPATH=str(tmp_path / "foreign"))
    assert (code, out) == (2, "")
    assert f"{name!r} is imported from {tmp_path}/foreign/{name}, not from" in err
    assert err.count("\n") == 1


def test_no_tables_to_audit(command, tmp_path):
    (site,) = command.parents[1].glob("lib/python*/site-packages")
    paper = site / "harness/shipped/results/paper"
    paper.rename(paper.with_name("elsewhere"))
    try:
        code, out, err = run(command, tmp_path, "audit")
    finally:
        paper.with_name("elsewhere").rename(paper)
    assert (code, out) == (1, "")
    assert err == f"harness: no published tables in {paper}\n"


def test_the_locked_packages_run_on_the_oldest_python_that_is_allowed() -> None:
    """Debian 12 has 3.11.2: one package that wants 3.11.5 ends the installation."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    asked = {}
    for requirement in locked:
        try:
            asked[requirement.name] = metadata(requirement.name)["Requires-Python"]
        except PackageNotFoundError:  # of another system
            continue
    assert len(asked) > 100
    assert [n for n, text in asked.items() if text and "3.11.0" not in SpecifierSet(text)] == []
