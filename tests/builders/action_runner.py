"""Runs the shell lines of workflows and of the action as a runner does, in folders of its own.

What would change the machine or reach the network is replaced by commands that write down how they
were called: pip, `make test`, and GitHub's `gh`, which keeps comments in a file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

HARNESS = """#!/usr/bin/env bash
PYTHONPATH={root} exec {python} -m harness "$@"
"""
PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
  "-m pip") echo "python $*" >> {log} ;;
  "-m venv") mkdir -p "$3/bin"; : > "$3/bin/activate" ;;
  *) exec {python} "$@" ;;
esac
"""
MAKE = """#!/usr/bin/env bash
echo "make $*" >> {log}
if [[ "$1" != test ]]; then
  touch {folder}/built
  exec {make} "$@" BIN={folder}/bin BUILT={folder}/built BENCHMARKS=bench_nothing.py
fi
"""
RECORDED = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> {log}
"""
GH = '''#!{python}
"""`gh api` on the comments of one pull request, which lie in a file."""
import json, pathlib, re, sys
file = pathlib.Path({comments!r})
comments = json.loads(file.read_text()) if file.exists() else []
words = sys.argv[1:]
assert words[0] == "api", words
where = next(w for w in words[1:] if w.startswith("repos/"))
body = next((pathlib.Path(w[6:]).read_text() for w in words if w.startswith("body=@")), None)
method = words[words.index("--method") + 1] if "--method" in words else "GET"
if method == "GET":
    query = words[words.index("--jq") + 1]
    mark = re.search(r'startswith\\("(.*?)"\\)', query)[1]
    assert 'select(.user.type == "Bot"' in query and query.endswith("| .id"), query
    print(*(c["id"] for c in comments if c["bot"] and c["body"].startswith(mark)), sep="\\n")
elif method == "POST":
    assert where == "repos/owner/repo/issues/7/comments", where
    comments.append({{"id": 100 + len(comments), "bot": True, "body": body, "updates": 0}})
else:
    assert method == "PATCH", method
    (comment,) = [c for c in comments if where == f"repos/owner/repo/issues/comments/{{c['id']}}"]
    comment["body"], comment["updates"] = body, comment["updates"] + 1
file.write_text(json.dumps(comments))
'''


def load(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


def steps(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a workflow, or of the action, with the name of their job."""
    content = load(file)
    if "runs" in content:
        return [("action", step) for step in content["runs"]["steps"]]
    jobs = content["jobs"].items()
    return [(job, step) for job, about in jobs for step in about["steps"]]


def script(file: Path, name: str) -> dict[str, Any]:
    """The step of that name."""
    (step,) = [step for _, step in steps(file) if step.get("name") == name]
    return step


def linked_checkout(folder: Path) -> Path:
    """The checkout as links, so that what commands write stays in a folder of its own."""
    hidden = {".git", ".venv", ".benchmarks", "site", "results"}
    for entry in ROOT.iterdir():
        if entry.name not in hidden:
            (folder / entry.name).symlink_to(entry)
    (folder / "results").mkdir()
    for entry in (ROOT / "results").iterdir():
        if entry.name in ("golden", "paper", "reference"):
            (folder / "results" / entry.name).symlink_to(entry)
    (folder / "results" / "submissions").mkdir()
    return folder


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    outputs: dict[str, str]
    summary: str


class Runner:
    """folder: of the runner's own files; work: where steps run; root: whose code harness runs."""

    def __init__(self, folder: Path, work: Path, root: Path = ROOT) -> None:
        self.folder, self.work = folder, work
        self.temp, self.log, self.comments = folder / "temp", folder / "log", folder / "comments"
        for path in (self.temp, folder / "bin", work):
            path.mkdir(parents=True, exist_ok=True)
        about = {
            "root": root,
            "python": sys.executable,
            "log": self.log,
            "folder": folder,
            "make": shutil.which("make"),
            "comments": str(self.comments),
        }
        texts = {"harness": HARNESS, "python": PYTHON, "make": MAKE, "gh": GH}
        texts |= dict.fromkeys(("pip", "actionlint", "zizmor", "hadolint"), RECORDED)
        for name, text in texts.items():
            command = folder / "bin" / name
            command.write_text(text.format(**about))
            command.chmod(0o755)
        for name in ("pytest", "pytest-benchmark", "mkdocs"):
            (folder / "bin" / name).symlink_to(Path(sys.executable).parent / name)

    @property
    def calls(self) -> list[str]:
        """Of the commands that are only written down."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def run(
        self, step: Mapping[str, Any], inputs: Mapping[str, str] | None = None, **more: str
    ) -> Done:
        """Run a step's lines with its environment, as the default shell of the runner does."""
        outputs, summary = self.folder / "outputs", self.folder / "summary"
        for file in (outputs, summary):
            file.write_text("")
        values = {f"inputs.{name}": value for name, value in (inputs or {}).items()}
        values |= {"github.action_path": str(ROOT), "github.token": "token"}
        values |= {"github.repository": "owner/repo", "github.event.pull_request.number": "7"}
        environment = {
            name: re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda match: values[match[1]], str(text))
            for name, text in step.get("env", {}).items()
        }
        about = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONPATH"))},
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            **environment,
            **more,
        }
        text = step["run"].replace(".venv/bin/", "")
        file = self.folder / "step.sh"
        file.write_text(text)
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(file)]
        done = subprocess.run(shell, cwd=self.work, env=about, capture_output=True, text=True)
        pairs = [line.partition("=") for line in outputs.read_text().splitlines()]
        named = {name: value for name, _, value in pairs}
        return Done(done.returncode, done.stdout, done.stderr, named, summary.read_text())

    def action(self, **inputs: str) -> Done:
        """All steps of the action with these inputs, until one fails; gives the last one's end."""
        defaults = {n: str(i.get("default", "")) for n, i in load(ACTION)["inputs"].items()}
        done = Done(0, "", "", {}, "")
        for _, step in steps(ACTION):
            done = self.run(step, defaults | inputs)
            if done.code:
                break
        return done

    def posted(self) -> list[dict[str, Any]]:
        comments: list[dict[str, Any]] = json.loads(self.comments.read_text())
        return comments
