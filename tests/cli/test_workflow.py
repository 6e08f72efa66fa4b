"""What continuous integration elsewhere runs is what the Makefile has."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/check.yml"


def test_the_workflow_makes_what_the_makefile_has() -> None:
    found = yaml.safe_load(WORKFLOW.read_text())
    (job,) = found["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [word for command in commands for word in re.findall(r"make (\w+)", command)]
    assert made == ["smoke", "check", "check"]
    assert set(made) <= set(targets)
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
