"""The phases of a run and their epochs, from where it stands, with its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.core.guidance import fraction
from harness.core.specs import Schedule
from harness.methods.terms import Phase
from harness.training import behaviour, checkpoint
from harness.training.checkpoint import State
from harness.training.epoch_rows import epoch_rows, progress_of
from harness.training.evaluation import Evaluation
from harness.training.loop import Loop
from harness.training.position import Position, position_of

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Times:
    """Seconds from one checkpoint to the next: at ends of epochs, and within them."""

    save_s: float
    within_s: float


@dataclass
class Checkpoints:
    """The checkpoint of a run that is being trained."""

    loop: Loop
    state: State
    name: str
    times: Times
    saved: float = field(default_factory=time.monotonic)
    took: float = 0.0  # seconds of the last one

    @property
    def path(self) -> Path:
        return self.loop.folder / "checkpoint.pt"

    def end_epoch(self, done: bool) -> None:
        """After an epoch; done: that of a phase."""
        if done or time.monotonic() - self.saved >= self.times.save_s:
            self._save(None)
            _write_history(self.loop.folder, self.state)

    def due(self) -> bool:
        """Whether it is time for one within the epoch: writing takes 5 % of the time at most."""
        wait = max(self.times.within_s, 20 * self.took)
        return time.monotonic() - self.saved >= wait

    def keep(self, position: Position) -> None:
        self._save(position.content())

    def _save(self, within: dict[str, Any] | None) -> None:
        begun = time.monotonic()
        model, optimiser = self.loop.model, self.loop.optimiser
        checkpoint.save(self.path, self.state, model, optimiser, self.name, within)
        self.saved = time.monotonic()
        self.took = self.saved - begun


def train_phases(
    loop: Loop, schedule: Schedule, seed: int, name: str, watch: Watch | None, times: Times
) -> Evaluation:
    """Train what is left of the phases; what is known of the last weights comes back.

    schedule, seed: the run's; name: its fingerprint. watch: see `trainer.fit`.
    """
    state = checkpoint.read(loop.folder / "checkpoint.pt", name) or State()
    if state.model is not None:
        loop.model.load_state_dict(state.model)
        state.model = None
    main, finetune = loop.accelerator.is_main_process, loop.method.finetune
    phases = finetune.phases(schedule) if finetune else (Phase("all"),)
    if main:
        _write_history(loop.folder, state)  # also tells now whether the folder can be written
    files = Checkpoints(loop, state, name, times)
    loop.keeper = files if main else None
    evaluation = Evaluation(loop, state)
    for number in range(state.phase, len(phases)):
        phase = phases[number]
        length = phase.schedule or schedule
        loop.enter(phase, length)
        if number == state.phase and state.optimiser is not None:
            loop.optimiser.load_state_dict(state.optimiser)
        loop.steps, loop.warm = state.steps, state.warm
        evaluation = Evaluation(loop, state)
        while state.epoch < length.epochs:
            done = state.epoch + 1 == length.epochs
            last = done and number + 1 == len(phases)
            entry = _epoch(loop, state, phase, seed, evaluation, last)
            if main:
                files.end_epoch(done)
            if watch is not None:
                watch({**entry, "epochs": length.epochs})
        state.phase, state.epoch, state.optimiser = number + 1, 0, None
        state.steps, state.warm = 0, 0.0
    return evaluation


def _epoch(
    loop: Loop, state: State, phase: Phase, seed: int, evaluation: Evaluation, last: bool
) -> dict[str, Any]:
    """Train and test; last: of the run."""
    begun = time.monotonic()
    part = 1 + len(state.history)
    rng, _ = randomness(seed, part, int(loop.accelerator.process_index))
    loop.begin(state.epoch, rng, (seed, part))
    levels: list[int] = []
    try:
        rows = _rows(loop, state, rng, phase.on_features)
        if rows is None:
            loss, images = loop.features_pass(), 0
        else:
            loss, images, levels = loop.last_pass(rows), rows.height, state.memory["levels"]
    except DataError as error:
        checkpoint_path = loop.folder / "checkpoint.pt"
        good = f"; {checkpoint_path} holds the last good epoch" if checkpoint_path.exists() else ""
        raise DataError(f"{loop.method.expression}, phase {phase.name}: {error}{good}") from error
    train_s = time.monotonic() - begun
    looks = last or (state.epoch + 1) % loop.recipe.look_every == 0
    accuracy = evaluation.look(last) if looks else None
    behaviour.count_epoch(
        state.memory, phase.name, loop.batches, loop.before + images, loop.first_loss, rows,
        loop.recipe.threshold, len(loop.data.counts),
    )  # fmt: skip
    entry = {
        "phase": phase.name,
        "epoch": state.epoch,
        "levels": [fraction(level) for level in levels],
        "images": images,
        "lr": loop.lr,
        "loss": loss,
        "accuracy": accuracy,
    }
    state.history.append(entry)
    state.epoch += 1
    state.steps, state.warm = loop.steps, loop.warm
    return {**entry, "train_s": train_s}


def _rows(
    loop: Loop, state: State, rng: np.random.Generator, on_features: bool
) -> pl.DataFrame | None:
    """Rows of this epoch; None where it is one over features.

    The levels chosen are in `progress.state["levels"]` for the hooks. Where the epoch had begun
    before the run ended, its rows are those that it had then.
    """
    content, state.within = state.within, None
    here = None if content is None else position_of(content)
    if here is not None:
        loop.resume(here)
    if on_features:
        return None
    if here is not None:  # hooks are to see what they saw as the pass began
        here.memory_now = dict(state.memory)
        state.memory.clear()
        state.memory.update(here.memory)
    loop.progress = progress_of(loop, state.epoch, rng, state.memory)
    if here is not None:
        return here.rows
    rows = epoch_rows(loop.method, loop.data.rows, loop.progress)
    if rows.height < 2 * loop.ranks:
        raise DataError(f"the epoch has {rows.height} images; it takes two or more")
    return rows


def randomness(seed: int, part: int, rank: int = 0) -> tuple[np.random.Generator, torch.Generator]:
    """Generators of the start (part 0) or of epoch part - 1, and PyTorch's global one with them.

    Those returned are the same in all ranks.
    """
    first, second, third = np.random.SeedSequence((seed, part)).generate_state(3, np.uint64)
    if rank:
        third = np.random.SeedSequence((seed, part, rank)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(third) >> 1)
    return np.random.default_rng(first), torch.Generator().manual_seed(int(second) >> 1)


def _write_history(folder: Path, state: State) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in state.history)
    write_atomic(folder / "epochs.jsonl", lines.encode())
