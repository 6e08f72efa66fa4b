"""What continuous integration elsewhere runs is what the Makefile and the command have."""

import re
import shlex
from pathlib import Path

import yaml

from harness.cli.main import _parser

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/check.yml"


def commands() -> list[str]:
    """The lines of shell of the workflow's only job."""
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    assert job["defaults"]["run"]["shell"] == "bash"  # a pipe does not hide a failed check
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_the_workflow_runs_what_there_is() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    makes = [word for line in commands() for word in re.findall(r"make (\w+)", line)]
    assert makes == ["smoke"]
    assert set(makes) <= set(targets)
    words = [shlex.split(re.split(r" [|>]", line)[0]) for line in commands()]
    calls = [line[1:] for line in words if line[0].endswith("harness")]
    assert [call[0] for call in calls if call[0] != "--help"] == (
        "check check list audit plan table compare".split()
    )
    for call in calls:
        if call != ["--help"]:
            _parser().parse_args(call)


def test_a_regression_is_on_the_summary_and_fails() -> None:
    """The command itself is called, whose exit code is 3; `make` would exit with 2."""
    (line,) = [line for line in commands() if "GITHUB_STEP_SUMMARY" in line]
    assert line.startswith(".venv/bin/harness check --profile smoke")
    assert "||" not in line


def test_the_workflow_needs_no_secret() -> None:
    text = WORKFLOW.read_text()
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_smoke_covers_every_data_set() -> None:
    from harness.core.registry import names

    (line,) = re.findall(r"^SETS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()) == names("harness.datasets")
