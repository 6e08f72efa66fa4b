"""docs/extending.md, followed to the letter in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from harness.datasets import imagenet_lt
from harness.mini.imagenet import write_imagenet_lt
from harness.results.records import read_all as records_of

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^`([^`]+)`(, at the end)?:\n\n```\w+\n(.*?)```", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)```", re.MULTILINE | re.DOTALL)
SECTIONS = ("A method", "A curriculum", "A table", "A data set")


def sections():
    text = (ROOT / "docs" / "extending.md").read_text()
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy that the examples may write to; the weights are linked."""
    copy = tmp_path_factory.mktemp("extending")
    models = str(ROOT / "harness/mini/models")

    def skip(folder, names):
        return {n for n in names if n == "__pycache__" or os.path.join(folder, n) == models}

    for folder in ("harness", "baselines", "results/paper"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skip)
    (copy / "harness/mini/models").symlink_to(ROOT / "harness/mini/models")
    for file in ("pyproject.toml", "discl_harness.py"):
        shutil.copy(ROOT / file, copy)
    return copy


def follow(project, name):
    """Write the files of a section and run its commands; what they print, together."""
    text = sections()[name]
    for path, at_the_end, content in FILE.findall(text):
        file = project / path
        assert file.exists() == bool(at_the_end)
        before = file.read_text() + "\n\n" if at_the_end else ""
        file.write_text(before + content)
    lines = "".join(COMMANDS.findall(text)).splitlines()
    return "\n".join(run(project, *shlex.split(line)[1:]).stdout for line in lines)


def run(project, *arguments, code=0):
    environment = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{arguments}: {done.stderr[-2000:]}"
    return done


def test_every_section_is_followed_here():
    assert tuple(sections()) == SECTIONS


def test_the_code_is_as_the_project_writes_it(tmp_path):
    for path, _, content in (match for text in sections().values() for match in FILE.findall(text)):
        if path.endswith(".py"):
            file = tmp_path / path.replace("/", "-")
            file.write_text(content)
    settings = ("--config", str(ROOT / "pyproject.toml"))
    ruff = [sys.executable, "-m", "ruff"]
    result = subprocess.run(
        [*ruff, "format", "--diff", *settings, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_a_method(project):
    output = follow(project, "A method")
    assert "a number from 0" in output
    for row in ("Focal [ours]", "Focal(gamma=0.5) [ours]"):
        assert row in output
    refused = run(
        project, "train", "--dataset", "cifar100-lt", "--method", "Focal(gamma=-1)", code=2
    )
    assert "gamma=...): -1 is not allowed" in refused.stderr


def test_a_curriculum(project):
    output = follow(project, "A curriculum")
    assert 'CE+DisCL(curriculum="there-and-back") [ours]' in output


def test_a_table(project):
    output = follow(project, "A table")
    assert "LDAM, Table 2" in output
    assert "38.32" in output
    assert "38.41" in output
    assert "·" not in output.split("LDAM, Table 2")[1].split("\n\n")[0]


def test_a_data_set(project):
    source = project / "twin"
    write_imagenet_lt(source, share=0.5)
    _in_folders(source, project / "pictures")
    hidden = project / "pictures/train/.ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(next((project / "pictures/train").glob("[!.]*/*.png")), hidden)
    output = follow(project, "A data set")
    assert len(FILE.findall(sections()["A data set"])) == 1
    assert "folders [ours: profile smoke]" in output  # a leaderboard of the rows asked for
    for row in ("CE [ours]", "CE(control=True) [ours]", "CE+DisCL [ours]"):
        assert row in output
    assert "6 classes of 8 to 30 training images" in output
    records = records_of("smoke", "folders", project / "results/records")
    assert {r["method"] for r in records} == {"CE", "CE(control=True)", "CE+DisCL"}
    lost = run(project, "index", "--dataset", "folders", "--profile", "smoke", code=2)
    assert "--root" in lost.stderr


def _in_folders(root, out):
    """Six classes of the built-in world: four of 30 pictures, two of 8; ten for the test."""
    lines = {s: (root / f"ImageNet_LT_{s}.txt").read_text().split("\n") for s in ("train", "test")}
    of = {s: {} for s in lines}
    for split, entries in lines.items():
        for path, label in (line.split() for line in entries if line):
            of[split].setdefault(int(label), []).append(path)
    names = imagenet_lt.load(root, None, imagenet_lt.SMOKE).classes
    largest = sorted(of["train"], key=lambda label: -len(of["train"][label]))
    for nth, label in enumerate(largest[:6]):
        for split, n in (("train", 30 if nth < 4 else 8), ("test", 10)):
            folder = out / split / names[label].replace(" ", "_")
            folder.mkdir(parents=True)
            for i, path in enumerate(of[split][label][:n]):
                Image.open(root / path).save(folder / f"{i:02}.png")
