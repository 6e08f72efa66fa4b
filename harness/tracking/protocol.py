"""What a tracker is, and which there are: a name is a file of this package."""

from __future__ import annotations

import importlib
import itertools
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.core import registry
from harness.core.errors import DataError, UsageError, brief, one_line
from harness.core.locks import locked

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("harness")
# Of a tracker: a full disk, a service that died.
FAILURES = (OSError, RuntimeError, ValueError, DataError)
ROOT = "tracking"  # in the home folder: <tracker>/<profile>/<data set>/<run>
ENDED = ".ended"  # in the folder of a run that came to its end: it is never removed
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

    def __init__(
        self, trackers: Mapping[str, Tracker], folders: Mapping[str, Path], locks: ExitStack
    ) -> None:
        """folders: of these trackers, whose locks are held until they are closed."""
        self.trackers, self.folders, self.locks = dict(trackers), folders, locks

    def settings(self, values: Mapping[str, Any]) -> None:
        self._each(lambda tracker: tracker.settings(values))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda tracker: tracker.numbers(step, values))

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self._each(lambda tracker: tracker.picture(name, pixels))

    def close(self) -> None:
        """What was tracked was interrupted: the next attempt replaces it."""
        self._each(lambda tracker: tracker.close())
        self.locks.close()

    def end(self) -> None:
        """What was tracked has come to its end: nothing replaces it."""
        self._each(lambda tracker: tracker.close())
        for name in self.trackers:
            with suppress(OSError):
                (self.folders[name] / ENDED).touch()
        self.locks.close()

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except FAILURES as error:
                _warn(name, error)
                del self.trackers[name]


def open_all(names: Sequence[str], home: Path, run: str) -> Several:
    """These trackers of a run; run: "<profile>/<data set>/<name>", the same for all of them.

    What they wrote of an interrupted attempt at this run is removed: a resumed run is tracked from
    its beginning. One that came to its end, or that another command writes now, stays as it is, and
    these have "<name>-2", "<name>-3" and so on.
    """
    trackers, folders, locks = {}, {}, ExitStack()
    for name in names:
        try:
            folders[name] = folder = _free(home / ROOT / name / run, locks)
            module = importlib.import_module(f"harness.tracking.{MODULES[name]}")
            trackers[name] = module.open_run(folder, f"{run.rpartition('/')[0]}/{folder.name}")
        except FAILURES as error:
            _warn(name, error)
    return Several(trackers, folders, locks)


def _free(first: Path, locks: ExitStack) -> Path:
    """A new folder called `first`, or the same with a number, whose lock is held from now on."""
    for number in itertools.count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        if locks.enter_context(locked(folder, wait=False)) and not (folder / ENDED).exists():
            break
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _warn(name: str, error: Exception) -> None:
    log.warning("%s", one_line(f"track: {name} stopped, the runs go on: {brief(error)}"))
