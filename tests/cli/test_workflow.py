"""What continuous integration elsewhere runs is what the Makefile has."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/check.yml"


def test_the_workflow_makes_what_the_makefile_has() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps_of_make = [word for command in commands for word in re.findall(r"make (\w+)", command)]
    assert steps_of_make == ["smoke", "check", "check"]
    assert set(steps_of_make) <= set(targets)
    assert job["defaults"]["run"]["shell"] == "bash"  # a pipe does not hide a failed check
    assert any("GITHUB_STEP_SUMMARY" in command for command in commands)


def test_the_workflow_needs_no_secret() -> None:
    text = WORKFLOW.read_text()
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_smoke_covers_every_data_set() -> None:
    from harness.core.registry import names

    (line,) = re.findall(r"^SETS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()) == names("harness.datasets")
