"""Every command of README, docs/ and the helps runs as it stands, or is marked why not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shown_commands
from shown_commands import REASONS, ROOT, Shown

COMMANDS = shown_commands.shown()
RUN = [command for command in COMMANDS if command.reason is None]
SETS = ("cifar100-lt", "iwildcam")  # whose runs the long commands continue


def ids(command: Shown) -> str:
    return f"{command.where}: {command.text}"


def run(command: Shown, folder: Path, tmp_path: Path) -> None:
    """By bash, with a `harness` that is this code; fails with what it said."""
    program = tmp_path / "bin" / "harness"
    program.parent.mkdir()
    program.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -m harness "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    shell = ["bash", "-euo", "pipefail", "-c", command.on_smoke]
    done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command.on_smoke}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_what_is_run_and_what_is_not() -> None:
    assert len(RUN) > 60
    for sign, _ in REASONS:  # every reason is needed
        assert any(c.reason == dict(REASONS)[sign] for c in COMMANDS), sign
    not_run = [c for c in COMMANDS if c.reason is not None and c.where.endswith("--help")]
    assert [c.text for c in not_run] == [
        f"harness data {action} --dataset imagenet-lt --profile paper --root /data/imagenet"
        for action in ("check", "digests")
    ]


@pytest.mark.parametrize("command", [c for c in RUN if c.fast], ids=ids)
def test_fast_commands(command: Shown, tmp_path: Path) -> None:
    """In an empty folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    run(command, folder, tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of some data sets at the profile smoke."""
    folder = tmp_path_factory.mktemp("home")
    words = ["compare", "--dataset", *SETS, "--profile", "smoke"]
    program = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(
        program, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", [c for c in RUN if not c.fast], ids=ids)
def test_long_commands(command: Shown, home: Path, tmp_path: Path) -> None:
    """One after the other in the folder of those before, like a user; other recipes in a copy."""
    if "--set " in command.text:
        home = shutil.copytree(home, tmp_path / "copy", symlinks=True)
    if "--to exported" in command.text:  # a folder that must not be there yet
        shutil.rmtree(home / "exported", ignore_errors=True)
    run(command, home, tmp_path)
