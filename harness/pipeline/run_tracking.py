"""What is tracked of stages and runs, in the process that starts the workers.

A worker appends a line to a file of its run after every epoch, which is all that tracking costs it;
this process reads the lines and passes them on. So no worker loads a tracker's library, and a run
is the same with and without.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.machine import cpu_name, system_name
from harness.core.specs import key, plain
from harness.pipeline import stages
from harness.pipeline.jobs import Job, scored
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.results.records import slug
from harness.tracking.protocol import Several, open_all

log = logging.getLogger("harness")
SPECTRA = 4  # hard samples in the picture of the spectrum, a row each


@dataclass
class Run:
    """A run that is being tracked."""

    tracker: Several
    seen: set[tuple[Any, Any]] = field(default_factory=set)  # phases and epochs; some come twice
    levels: list[float] | None = None
    stage: int = 0  # of the curriculum: how often the levels changed


class RunTracking:
    """Passes the epochs of runs on to trackers; without any it does nothing.

    names: of trackers. device: what runs compute on. Only runs that this command trains are
    tracked, but then with the epochs that an interrupted command trained before.
    """

    def __init__(self, names: Sequence[str] = (), device: str = "cpu") -> None:
        self.names, self.device = tuple(names), device
        self.runs: dict[Path, Run] = {}
        self.own: set[Path] = set()  # runs that this command trains
        self.before: dict[Path, list[Mapping[str, Any]]] = {}  # epochs of those that it does not

    def begin(self, job: Job, own: bool, anew: bool) -> None:
        """Training begins. own: by this command. anew: from the start, not from a checkpoint."""
        if anew:
            self.before.pop(job.folder, None)
        if anew or not own:
            self.leave(job)
        if not own:
            return
        self.own.add(job.folder)
        for entry in self.before.pop(job.folder, []):
            self._pass_on(job, entry)

    def epoch(self, job: Job, entry: Mapping[str, Any]) -> None:
        """An epoch of a run has ended; entry: what the training loop says of it."""
        log.debug(
            "%s: %s epoch %s of %s, loss %.4f",
            job.name, entry["phase"], entry["epoch"] + 1, entry["epochs"], entry["loss"],
        )  # fmt: skip
        if job.folder in self.own:
            self._pass_on(job, entry)
        elif self.names:
            self.before.setdefault(job.folder, []).append(entry)

    def _pass_on(self, job: Job, entry: Mapping[str, Any]) -> None:
        if not self.names:
            return
        run = self.runs.get(job.folder) or self._open(job)
        name = entry["phase"], entry["epoch"]
        if name in run.seen:  # trained again after an interruption
            return
        run.seen.add(name)
        if entry["levels"] != run.levels:
            run.levels, run.stage = list(entry["levels"]), run.stage + 1
        run.tracker.numbers(len(run.seen), _numbers(entry, run.stage))

    def end(self, job: Job, numbers: Mapping[str, float | None]) -> None:
        """A run has come to its end with these headline numbers, fractions by column."""
        if not self.names or job.folder not in self.own:
            return
        run = self.runs.get(job.folder) or self._open(job)
        self.runs.pop(job.folder)
        final = {f"result/{n.lower()}": v for n, v in numbers.items() if v is not None}
        run.tracker.numbers(len(run.seen), final)
        run.tracker.end()

    def leave(self, job: Job) -> None:
        """A run has failed here, begins again, or another command trains it now."""
        self.own.discard(job.folder)
        run = self.runs.pop(job.folder, None)
        if run is not None:
            run.tracker.close()

    def close(self) -> None:
        """Close what is open: the runs were interrupted."""
        for run in self.runs.values():
            run.tracker.close()
        self.runs.clear()

    def _open(self, job: Job) -> Run:
        spec, workspace = job.spec, job.workspace
        ratio = "" if spec.imbalance is None else f"-ir{spec.imbalance}"
        short = f"{slug(spec.method)}{ratio}-seed{spec.seed}-{key(spec)[:8]}"
        run = Run(open_all(self.names, workspace.home, f"{_group(workspace)}/{short}"))
        about = {"method": spec.method, "imbalance": spec.imbalance, "seed": spec.seed}
        run.tracker.settings(about | _flat({"recipe": plain(spec.recipe)}) | machine(self.device))
        self.runs[job.folder] = run
        return run


def _numbers(entry: Mapping[str, Any], stage: int) -> dict[str, float]:
    """Of an epoch; what it does not have is left out."""
    levels = entry["levels"]
    values = {
        "train/loss": entry["loss"],
        "train/lr": entry["lr"],
        "train/images": entry["images"],
        "train/seconds": entry.get("train_s"),
        "test/accuracy": entry["accuracy"],
        "curriculum/stage": stage,
        "curriculum/lowest_guidance": min(levels, default=None),
        "curriculum/highest_guidance": max(levels, default=None),
    }
    return {name: float(value) for name, value in values.items() if value is not None}


@contextmanager
def stage_tracking(
    names: Sequence[str], workspace: Workspace, device: str
) -> Iterator[Several | None]:
    """Of the stages of a data set, as a run called "stages"; None without trackers.

    Every command has one of its own ("stages-2" is the second), also where a stage fails.
    """
    if not names:
        yield None
        return
    tracker = open_all(names, workspace.home, f"{_group(workspace)}/stages")
    try:
        tracker.settings(_flat({"recipe": plain(workspace.recipe)}) | machine(device))
        yield tracker
    finally:
        tracker.end()


def spectrum_picture(workspace: Workspace) -> np.ndarray | None:
    """A few spectra, uint8 (H, W, 3): a row per hard sample, guidance from left to right.

    The same samples as long as the pool is the same. None where no image is scored yet.
    """
    if not (workspace.work / "spectrum.parquet").is_file():
        return None
    index = stages.pool_index(workspace).drop("source", "guidance", "seed")
    rows = scored(workspace).unique("key").join(index, on="key", how="inner")
    if not len(rows):
        return None
    seed = rows["seed"].min()
    rows = rows.filter(rows["seed"] == seed)
    sources = sorted(rows["source"].unique().to_list())[:SPECTRA]
    shown = rows.filter(rows["source"].is_in(sources)).sort("source", "label", "guidance")
    shown = shown.unique(("source", "guidance"), keep="first", maintain_order=True)
    pictures = [cache.decode(data) for data in cache.read_bytes(workspace.pool, shown)]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    levels = sorted(shown["guidance"].unique().to_list())
    sheet = np.full((len(sources) * height, len(levels) * width, 3), 255, np.uint8)
    places = zip(shown["source"], shown["guidance"], pictures, strict=True)
    for source, level, picture in places:
        top, left = sources.index(source) * height, levels.index(level) * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def machine(device: str) -> dict[str, str]:
    """This machine, by dotted name."""
    about = {"cpu": cpu_name(), "system": system_name(), "device": device}
    return {f"machine.{name}": value for name, value in about.items()}


def _group(workspace: Workspace) -> str:
    return f"{workspace.profile}/{workspace.module.NAME}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables within tables by dotted names; without what is None."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat


def entries(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Epochs that a worker wrote after `offset` bytes of its file, and the offset behind them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            whole, newline, _ = file.read().rpartition(b"\n")
    except OSError:
        return [], offset
    lines = whole.split(b"\n") if newline else []
    known = [json.loads(line) for line in lines if line.startswith(b"{")]
    return known, offset + len(whole) + len(newline)
