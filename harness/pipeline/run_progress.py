"""What is told of training runs while they last: epochs, the time left, a line for each run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.core.metrics import GROUPS
from harness.core.progress import EVERY_S, ProgressBar
from harness.methods.terms import Phase
from harness.pipeline.jobs import Job
from harness.pipeline.run_tracking import RunTracking, entries

# In a run's folder while it lasts: a line of JSON for each epoch, and one {"anew", "command"} where
# training begins, by another command than before where that is named.
COUNT = "epochs.count"
Numbers = Mapping[str, float | None]  # by column; fractions


def begin(folder: Path, command: str) -> None:
    """Tells that a command, by its name, trains a run from now on; under the lock of the run."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        anew = not (folder / "checkpoint.pt").exists()
        counter(folder)({"command": command, "anew": anew})


def counter(folder: Path) -> Callable[[dict[str, Any]], None]:
    """What the training loop calls after every epoch, in whatever process."""

    def count(entry: dict[str, Any]) -> None:
        with suppress(OSError), (folder / COUNT).open("ab") as file:  # a bar is not worth a run
            file.write(json.dumps(entry).encode() + b"\n")

    return count


def epochs(job: Job) -> int:
    """Epochs of a run in all its phases; 1 where nothing is trained."""
    method, recipe = job.method(), job.spec.recipe
    if method.merges is not None:
        return 1
    schedule = recipe.onward if job.start is not None and recipe.onward else recipe.scratch
    phases = method.finetune.phases(schedule) if method.finetune else (Phase("all"),)
    return max(1, sum((phase.schedule or schedule).epochs for phase in phases))


def headline(module: Any, scores: Mapping[str, Any]) -> Numbers:
    """The numbers of a run that its line shows, of its last epoch."""
    scored = getattr(module, "SCORED", None)
    if scored:
        shown = [name for name in scored if not name.endswith("_val")]
        return {name.upper(): scores[name]["macro_f1"] for name in shown}
    if "rules" in scores and "overall" in scores:
        groups = scores["rules"]["A"]
        return {g.capitalize(): groups[g] for g in GROUPS} | {"Overall": scores["overall"]}
    return {"result": float(module.headline(scores))}


class RunProgress:
    """A bar over the epochs of all runs that are to do, and a line for each run that ends.

    The bar looks for new epochs every second, so it moves even while no run ends; they are passed
    on to what tracks the runs. command: the name of this one, which `begin` is told of.
    """

    def __init__(
        self,
        todo: Sequence[Job],
        shown: bool,
        tracking: RunTracking | None = None,
        command: str = "",
    ) -> None:
        self.command = command
        self.left = {job.folder: epochs(job) for job in todo}
        self.jobs = {job.folder: job for job in todo}
        self.tracking = tracking or RunTracking()
        self.read = dict.fromkeys(self.left, 0)  # bytes of the runs' files
        self.done = dict.fromkeys(self.left, 0)  # epochs in them
        self.total, self.runs, self.ended = sum(self.left.values()), len(todo), 0
        self.numbers: dict[tuple[str, int | None], dict[int, Numbers]] = {}
        self.bar = ProgressBar(
            total=self.total, desc="train", unit="epoch", smoothing=0, disable=not (todo and shown)
        )
        self.lock, self.over = threading.Lock(), threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> RunProgress:
        self.watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self.watch.join()
        self.tracking.close()
        self.bar.close()

    def end(self, job: Job, numbers: Numbers) -> None:
        """A run has come to its end: its line, with the means over the seeds that ended so far."""
        self._leave(job, numbers)
        spec = job.spec
        seeds = self.numbers.setdefault((spec.method, spec.imbalance), {})
        seeds[spec.seed] = numbers
        self.bar.set_postfix_str(f"{self.ended} of {self.runs} runs")
        self.bar.say(line(spec.method, spec.imbalance, seeds))
        self._move()

    def fail(self, job: Job, reason: str) -> None:
        """A run will not come to its end in this call."""
        self._leave(job)
        self.bar.say(f"{job.name} failed: {reason}")
        self._move()

    def _leave(self, job: Job, numbers: Numbers | None = None) -> None:
        with self.lock:
            self._look(job.folder)
            if numbers is None:
                self.tracking.leave(job)
            else:
                self.tracking.end(job, numbers)
                if job.folder in self.tracking.own:
                    (job.folder / COUNT).unlink(missing_ok=True)
            self.left.pop(job.folder, None)
            self.ended += 1

    def _watch(self) -> None:
        while not self.over.wait(EVERY_S):
            self._move()

    def _move(self) -> None:
        with self.lock:
            for folder in self.left:
                self._look(folder)
            to_do = sum(n - min(n, self.done[folder]) for folder, n in self.left.items())
            self.bar.update(max(0, self.total - to_do - self.bar.n))

    def _look(self, folder: Path) -> None:
        """Take what a run told of since the last look."""
        lines, self.read[folder] = entries(folder / COUNT, self.read[folder])
        for entry in lines:
            if "anew" in entry:
                self._begin(folder, entry)
                continue
            self.done[folder] += 1
            self.tracking.epoch(self.jobs[folder], entry)

    def _begin(self, folder: Path, entry: Mapping[str, Any]) -> None:
        if entry["anew"]:
            self.done[folder] = 0
        own = folder in self.tracking.own
        if "command" in entry:
            own = entry["command"] == self.command
        self.tracking.begin(self.jobs[folder], own, entry["anew"])


def line(method: str, imbalance: int | None, seeds: Mapping[int, Numbers]) -> str:
    """A row of the leaderboard as far as it is known, in percent."""
    ratio = "" if imbalance is None else f" IR{imbalance}"
    of = f"seed {min(seeds)}" if len(seeds) == 1 else f"mean of seeds {_listed(seeds)}"
    columns = next(iter(seeds.values()))
    return f"{method}{ratio}: {', '.join(_cell(c, seeds) for c in columns)} ({of})"


def _cell(column: str, seeds: Mapping[int, Numbers]) -> str:
    values = [v for numbers in seeds.values() if (v := numbers[column]) is not None]
    return f"{column} {100 * sum(values) / len(values):.1f}" if values else f"{column} –"


def _listed(seeds: Mapping[int, Numbers]) -> str:
    return ", ".join(map(str, sorted(seeds)))
