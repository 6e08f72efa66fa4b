"""A checkout with the pipeline of one small data set, whose `make repro` can be killed.

Its dvc.yaml is the project's, cut down to CIFAR-100-LT, four classes in the official format, and
two rows of the table. The stages take seconds each.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import children
import small_workspace
import yaml

ROOT = Path(__file__).parents[2]
SET, TABLE = children.SET, "table2"
STAGES = (*(f"{name}@{SET}" for name in children.STAGES), f"table@{TABLE}")
LINKS = ("harness", "baselines", "results/paper", ".dvc/plots", ".dvc/page.html", ".dvc/alone.py")
LINKS += ("requirements.lock", "pyproject.toml")  # which the Makefile looks at
MADE = ("work", "pool", "runs", "results/records", "results/tables", "results/metrics")
SMALL: dict[str, Any] = {"imbalances": [100], "levels": [0.3], "pool_seeds": [10]}
SMALL |= {"steps": 2, "run_seeds": [0], "curriculum_epochs": 1}
SMALL |= {"scratch": {"epochs": 2, "warmup": 0, "milestones": [1]}, "onward": {"epochs": 2}}
SCRIPT = '#!/bin/sh\nPYTHONPATH={path} exec {python} {words} "$@"\n'


@dataclass(frozen=True)
class Kill:
    """When `make repro` gets a signal: at a file event of DVC, or seconds after its start.

    event: number of the event before which, and after_s: seconds after it or after the start.
    group: all processes get the signal, otherwise `make` alone; at an event it is always SIGKILL
    of all.
    """

    signal: signal.Signals = signal.SIGKILL
    group: bool = True
    event: int = 0
    after_s: float = 0.0


@dataclass
class Checkout:
    """A checkout in a folder of its own, and what it was after each stage, undisturbed.

    events, seconds: of each stage. contents: what `made` was after it.
    """

    folder: Path
    events: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def undisturbed(self) -> None:
        """Do every stage, and keep a copy of what there is before each."""
        for stage in STAGES:
            self._copy(self.folder, self._before(stage))
            began = time.monotonic()
            code, text = self.repro(stage)
            assert code == 0, text
            self.seconds[stage] = time.monotonic() - began
            self.events[stage] = int(self.folder.with_suffix(".events").read_text())
            self.contents[stage] = self.made()

    def reset_before(self, stage: str) -> None:
        shutil.rmtree(self.folder)
        self._copy(self._before(stage), self.folder)

    def _before(self, stage: str) -> Path:
        return self.folder.with_suffix(f".{stage}")

    def _copy(self, source: Path, target: Path) -> None:
        """With hard links, which DVC makes of what is in its cache."""
        subprocess.run(["cp", "-a", source, target], check=True)

    def repro(
        self, stage: str, kill: Kill | None = None, timeout_s: float = 300
    ) -> tuple[int, str]:
        """Exit code of `make repro` up to a stage, and all that it said."""
        log = self.folder.with_suffix(".log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["make", "repro", f"ARGS={stage}", "BIN=bin", "BUILT=built"], cwd=self.folder,
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self._environment(kill),
            )  # fmt: skip
        try:
            if kill is not None and not kill.event:
                _send(process, kill)
            return process.wait(timeout_s), log.read_text(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"it hung: {log.read_text(errors='replace')}") from None

    def dvc(self, *words: str) -> str:
        """What a DVC command answers."""
        command = [self.folder / "bin/dvc", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment(None), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def made(self) -> dict[str, Any]:
        """What the pipeline made, without times and machines, and the stages of dvc.lock."""
        content: dict[str, Any] = {
            f"{name}/{path}": data
            for name in MADE
            for path, data in children.contents(self.folder / name).items()
        }
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return content | {"dvc.lock": [(name, of["cmd"]) for name, of in stages.items()]}

    def _environment(self, kill: Kill | None) -> dict[str, str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DVC_TEST": "true"}
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        environment["DVC_SITE_CACHE_DIR"] = str(self.folder.with_suffix(".site"))
        environment["DVC_EVENTS"] = str(self.folder.with_suffix(".events"))
        if kill is not None and kill.event:
            environment["DVC_KILL"] = f"{kill.event} {kill.after_s}"
        return environment


def _send(process: subprocess.Popen[bytes], kill: Kill) -> None:
    time.sleep(kill.after_s)
    if kill.group:
        os.killpg(process.pid, kill.signal)
    else:
        process.send_signal(kill.signal)


def checkout(folder: Path) -> Checkout:
    """A new one where nothing was made; it shares the code with this one."""
    (folder / "results").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    (folder / "bin").mkdir()
    for name in LINKS:
        (folder / name).symlink_to(ROOT / name)
    for name in ("Makefile", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "built").touch()
    small_workspace.write_data(folder / "small")
    recipe = yaml.safe_load((ROOT / "params.yaml").read_text())["mini"][SET] | SMALL
    (folder / "params.yaml").write_text(yaml.safe_dump({"mini": {SET: recipe}}))
    (folder / "dvc.yaml").write_text(yaml.safe_dump(_pipeline(), sort_keys=False))
    builders = Path(__file__).parent
    (folder / "bin/sitecustomize.py").write_text("import dvc_events\n")
    hooked = f"{folder / 'bin'}:{builders}"
    for name, words, path in (
        ("harness", "-P -m harness", ROOT), ("dvc", "-P -m dvc", hooked), ("python", "", "")
    ):  # fmt: skip
        script = folder / "bin" / name
        script.write_text(SCRIPT.format(path=path, python=sys.executable, words=words))
        script.chmod(0o755)
    subprocess.run(["git", "init", "-q", folder], check=True)
    return Checkout(folder)


def _pipeline() -> dict[str, Any]:
    """dvc.yaml for one data set, whose files are there."""
    text = (ROOT / "dvc.yaml").read_text()
    text = text.replace("data/mini/${item}", "small").replace(
        "--table ${item}", "--rows CE CE+DisCL"
    )
    text = re.sub(r"harness (index|hard|generate|score|train)", r"\g<0> --root small", text)
    content: dict[str, Any] = yaml.safe_load(text)
    stages = content["stages"]
    for name in ("index", "hard", "generate", "score"):
        stages[name]["foreach"] = [SET]
    stages["train"]["foreach"], stages["table"]["foreach"] = {SET: TABLE}, {TABLE: SET}
    index = stages["index"]["do"]
    index["outs"].remove("small")
    index["deps"].append("small")
    return content
