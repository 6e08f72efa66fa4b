"""The options of tests/builders/bounds.py, and how `make test-long` and .ci/run use them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = """
import pytest

@pytest.fixture(scope="module", autouse=True)
def costly():
    print("set up", __name__)

@pytest.mark.parametrize("n", range(6))
def test_one(n):
    print("ran", __name__, n)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of six tests each, which print that they ran."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p bounds\n")
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(FILE)
    return tmp_path


def run(folder: Path, *options: str) -> str:
    builders = str(ROOT / "tests" / "builders")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rsP", *options], cwd=folder,
        env=environment | {"PYTHONPATH": builders}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def order(text: str) -> list[str]:
    return re.findall(r"^ran (.*)$", text, re.MULTILINE)


def test_no_limit_and_no_order_by_default(folder: Path) -> None:
    assert order(run(folder)) == [f"test_{name} {n}" for name in "ab" for n in range(6)]


@pytest.mark.parametrize("workers", [[], ["-n", "2", "--dist", "worksteal"]])
def test_tests_that_would_start_late_are_skipped(folder: Path, workers: list[str]) -> None:
    """With a reason, and without their fixtures; also by workers."""
    text = run(folder, "--minutes", "1e-9", *workers)
    assert "12 skipped" in text
    assert "set up" not in text
    reason = "not started within 1e-09 minutes; `make test-long` runs all tests"
    assert len(re.findall(rf"^SKIPPED \[6\] test_[ab]\.py.*: {reason}$", text, re.MULTILINE)) == 2
    assert "12 passed" in run(folder, "--minutes", "60", "--order", "random", *workers)


def test_the_order_is_that_of_a_seed(folder: Path) -> None:
    """A drawn seed is printed, and repeats the order; the tests of a file stay together."""
    texts = [run(folder, "--order", seed) for seed in ("random", "1", "2")]
    (seed,) = re.findall(r"^order of the tests: seed (\d+)$", texts[0], re.MULTILINE)
    assert order(run(folder, "--order", seed)) == order(texts[0])
    assert order(texts[1]) != order(texts[2])
    for text in texts:
        assert text.count("set up") == 2
        assert sorted(order(text)) == [f"test_{name} {n}" for name in "ab" for n in range(6)]


def recipe(tmp_path: Path, *words: str) -> str:
    """What make would run in an environment that is built; -n alone does not hold make back."""
    built = tmp_path / "built"  # newer than all that it is made from
    built.touch()
    options = ["-n", "--no-print-directory", "BIN=bin", f"BUILT={built}"]
    command = ["make", *options, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.replace("\\\n", "").split())


def test_make_test_long_has_no_limit_by_default(tmp_path: Path) -> None:
    text = recipe(tmp_path, "test-long")
    assert "ATTACK_TRIALS=10 " in text
    assert text.endswith('-m "long or attack" --minutes 0 --order random')
    text = recipe(tmp_path, "test-long", "LONG_MINUTES=3", "LONG_SEED=7")
    assert text.endswith("--minutes 3 --order 7")


@pytest.mark.parametrize(("spent_s", "left"), [(0, 50), (1200, 30), (3600, 1), (9000, 1)])
def test_ci_gives_slow_tests_the_time_that_is_left(tmp_path: Path, spent_s: int, left: int) -> None:
    """Never 0, which would be no limit."""
    (tmp_path / ".ci").mkdir()
    script = (ROOT / ".ci" / "run").read_text()
    (tmp_path / ".ci" / "run").write_text(script.replace("make test\n", f"SECONDS={spent_s}\n"))
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$@"\n')
    make.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BROWSER": "optional"}
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    expected = ["docs", f"test-long ATTACK_TRIALS=2 LONG_MINUTES={left}"]
    assert done.stdout.splitlines() == expected
