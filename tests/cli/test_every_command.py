"""Every command of README, docs/ and the helps runs as it stands, or is marked why not."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shown_commands
from shown_commands import REASONS, ROOT, Shown

COMMANDS = shown_commands.shown()
# One of those that do the same at the profile smoke.
RUN = list({c.on_smoke: c for c in reversed(COMMANDS) if c.reason is None}.values())[::-1]
# Data sets whose runs the long commands continue.
HOME = ["cifar100-lt", "iwildcam"]


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
    """A folder with the runs of some data sets at the profile smoke.

    Made once; a worker of pytest-xdist has its own copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "every command.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / "every command"
        if not made.exists():
            make_home(tmp_path_factory.mktemp("home")).rename(made)
    return shutil.copytree(made, tmp_path_factory.mktemp("copy") / "home", symlinks=True)


def make_home(folder: Path) -> Path:
    program = [sys.executable, "-m", "harness", "compare", "--profile", "smoke", "--dataset", *HOME]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.long
@pytest.mark.timeout(1800)  # `home` takes some minutes
@pytest.mark.parametrize("command", [c for c in RUN if not c.fast], ids=ids)
def test_long_commands(command: Shown, home: Path, tmp_path: Path) -> None:
    """In the folder of those before, like a user, in any order; other recipes in a copy."""
    if "--set " in command.text:
        home = shutil.copytree(home, tmp_path / "copy", symlinks=True)
    if "--to exported" in command.text:  # a folder that must not be there yet
        shutil.rmtree(home / "exported", ignore_errors=True)
    run(command, home, tmp_path)
