"""What a tracker is, and which there are: a name is a file of this package."""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.core import registry
from harness.core.errors import UsageError, brief, one_line

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("harness")
FAILURES = (OSError, RuntimeError, ValueError)  # of a tracker: a full disk, a service that died
ROOT = "tracking"  # in the home folder: <tracker>/<profile>/<data set>/<run>
LIBRARIES = {"json": None, "dvclive": "dvclive", "tensorboard": "tensorboard", "wandb": "wandb"}
MODULES = {"json": "json_lines", "dvclive": "live", "tensorboard": "events", "wandb": "offline"}


class Tracker(Protocol):
    """Takes the numbers of one run as they come; every call is cheap and none changes the run."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """What holds for the whole run, by dotted name: recipe, machine. Called once, first."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step; steps only grow. Names have a slash: "train/loss"."""

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """A picture, uint8 (H, W, 3)."""

    def close(self) -> None:
        """The run has ended; nothing is called after it."""


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The trackers of these names, each once.

    UsageError for an unknown one, and for one whose library is not installed.
    """
    for name in names:
        registry.one_of("track", name, tuple(LIBRARIES))
        library = LIBRARIES[name]
        if library is not None and find_spec(library) is None:
            extra = f"pip install 'discl-harness[track-{name}]'"
            raise UsageError(f"track: {name} is not installed; {extra} installs it")
    return tuple(dict.fromkeys(names))


class Several:
    """Trackers as one. A tracker that fails is told of and left out: the run goes on without it."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self.trackers = dict(trackers)

    def settings(self, values: Mapping[str, Any]) -> None:
        self._each(lambda tracker: tracker.settings(values))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda tracker: tracker.numbers(step, values))

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self._each(lambda tracker: tracker.picture(name, pixels))

    def close(self) -> None:
        self._each(lambda tracker: tracker.close())

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except FAILURES as error:
                _warn(name, error)
                del self.trackers[name]


def open_all(names: Sequence[str], home: Path, run: str) -> Several:
    """These trackers of a run; run: "<profile>/<data set>/<name>", the same for all of them.

    What they wrote of an earlier attempt at this run is removed: a resumed run is tracked from its
    beginning.
    """
    trackers = {}
    for name in names:
        folder = home / ROOT / name / run
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            module = importlib.import_module(f"harness.tracking.{MODULES[name]}")
            trackers[name] = module.open_run(folder, run)
        except FAILURES as error:
            _warn(name, error)
    return Several(trackers)


def _warn(name: str, error: Exception) -> None:
    log.warning("%s", one_line(f"track: {name} stopped, the runs go on: {brief(error)}"))
