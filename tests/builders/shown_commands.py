"""The commands that the README, docs/ and the helps show, and why some of them are not run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from harness.cli.examples import EXAMPLES
from harness.cli.main import _parser

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ADDED = ("Focal", "there-and-back", "folders", "ldam")  # names that docs/extending.md adds
OPERATORS = (">", "|", "&&", ";")
# Why a command is not run, by what it looks like; the first that fits holds.
REASONS = (
    (r"Focal|there-and-back|folders|ldam", "tests/methods/test_extending.py runs it"),
    (r"^dataset -> |^index +which|^table +rows|^this stage", "a picture of the stages"),
    (r"^make ", "builds an environment; tests/cli/test_workflow.py has the workflow's"),
    (r"^(dvc|git) ", "works on the repository itself; tests/pool/test_shared_pool.py pulls"),
    (r"^docker ", "needs a container engine; the file is linted in tests/cli/test_workflow.py"),
    (r"^(pip|apt-get|\.venv/bin/|\. \.venv)", "changes the environment; tests/test_wheel.py"),
    (r"^BROWSER=", "tests of the report in a browser: `make browser` says whether one is there"),
    (r"^(hf|rm|mkdir) ", "sends, removes or copies what other commands made"),
    (r"^python -m harness\.pretrain", "trains the shipped models for hours; tests/pretrain"),
    (r"^python -m harness\.core\.package_files", "writes the package's own listing"),
    (r"--device cuda", "needs a GPU"),
    (r"--root |--endpoint |data fetch", "needs official files, or an endpoint"),
    (r"^harness (?!plan|table|list|doctor).*--profile paper", "needs official files"),
    (r"--calibrate", "repeats every run fifteen times; tests/api/test_checks.py"),
)
FAST = "list plan doctor table findings audit check completion".split()


@dataclass(frozen=True)
class Shown:
    """A command and the page, or the help, that shows it."""

    where: str
    text: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None for one that is."""
        return next((why for sign, why in REASONS if re.search(sign, self.text)), None)

    @property
    def words(self) -> list[str]:
        """Those before a redirection."""
        words = shlex.split(self.text, comments=True)
        return words[: next((i for i, w in enumerate(words) if w in OPERATORS), len(words))]

    @property
    def fast(self) -> bool:
        """Whether it needs no runs of before and takes seconds."""
        slow = "--speed" in self.words
        return self.words[:1] == ["harness"] and self.words[1] in FAST and not slow

    @property
    def on_smoke(self) -> str:
        """The same at the profile smoke, where it names no profile and could."""
        words = self.words
        if words[:1] != ["harness"] or "--profile" in words:
            return self.text
        (action,) = (a for a in _parser()._actions if a.dest == "command")
        options = action.choices[words[1]]._option_string_actions  # type: ignore[union-attr]
        if "--profile" not in options or words[1] in ("list", "completion"):
            return self.text
        head, sign, tail = self.text.partition(" > ")
        return f"{head} --profile smoke{sign}{tail}"


def lines(page: Path) -> list[str]:
    """Of blocks of commands: fenced, of sh or of no language; continued lines as one."""
    fence, text = None, ""
    for line in page.read_text().splitlines():
        mark = line.strip()
        if mark.startswith("```"):
            fence = mark if fence is None else None
        elif fence in ("```", "```sh"):
            text += line.strip() + "\n"
    joined = re.sub(r"\\\n", " ", text)
    return [line for line in joined.splitlines() if shlex.split(line, comments=True)]


def shown() -> list[Shown]:
    """Every command once, those of the helps first."""
    helps = [Shown(f"{name} --help", text) for name, some in EXAMPLES.items() for text, _ in some]
    pages = [
        Shown(page.name, re.split(r"\s+# ", line)[0].strip())
        for page in PAGES
        for line in lines(page)
    ]
    first: dict[str, Shown] = {}
    for command in helps + pages:
        first.setdefault(command.text, command)
    return list(first.values())
