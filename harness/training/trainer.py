"""The training loop: one for all methods, resumable, the same bits every time on a CPU."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.core import devices, parallel, registry
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.guidance import fraction
from harness.core.preemption import deferred
from harness.core.specs import Machine, Recipe, Schedule, key
from harness.methods.terms import Method, Objective, Phase
from harness.models import backbones
from harness.models.memory_format import memory_format
from harness.training import augmentation, behaviour, checkpoint
from harness.training.arithmetic import memory_advice, mixed, prepared, products
from harness.training.checkpoint import State
from harness.training.data import TrainData
from harness.training.device_views import DEVICE_VIEWS
from harness.training.epoch_rows import epoch_rows, progress_of
from harness.training.evaluation import Evaluation
from harness.training.inference import View
from harness.training.loop import Loop
from harness.training.position import Position, position_of

__all__ = ["first_weights", "fit", "weights_of"]

Weights = dict[str, Tensor]
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Setup:
    """What a run is set up from; see `fit`."""

    method: Method
    data: TrainData
    recipe: Recipe
    seed: int
    folder: Path
    machine: Machine
    start: Weights | None = None
    reference: tuple[Objective, Weights] | None = None

    @property
    def schedule(self) -> Schedule:
        onward = None if self.start is None else self.recipe.onward
        return onward or self.recipe.scratch

    def isolated(self) -> AbstractContextManager[None]:
        """PyTorch's global random state comes back after it."""
        if self.machine.device == "cpu":
            return torch.random.fork_rng(devices=[])
        own = torch.device(self.machine.device).index  # all of a machine's GPUs would be woken
        return torch.random.fork_rng(devices=[torch.cuda.current_device() if own is None else own])


def fit(
    method: Method,
    data: TrainData,
    recipe: Recipe,
    seed: int,
    folder: Path,
    machine: Machine,
    start: Weights | None = None,
    reference: tuple[Objective, Weights] | None = None,
    watch: Watch | None = None,
    save_s: float = 10.0,
    within_s: float = 180.0,
) -> Weights:
    """Train, and return the weights after the last epoch (CPU tensors).

    start: weights to go on from, then with the recipe's `onward` schedule; otherwise random or
    pretrained ones. reference: objective and weights of the run that the method consults.
    watch: called after every epoch with phase, epoch, epochs, levels, images, lr, loss, accuracy
    (None where the recipe looks at no split after it), train_s. folder gets checkpoint.pt (at ends
    of epochs, about every save_s seconds, within them every within_s, and at SIGTERM, which then
    ends the run; a second call goes on from it and ends with the same bits), epochs.jsonl,
    and predictions-last.parquet, -oracle and, with a validation split, -best_val (split, id, label,
    prediction, p_true; oracle and best_val: the epoch that is best by the data's metric on the test
    and on the validation split, the earlier of two, among those that the recipe looks at, and on
    the part that it looks at). Raises UsageError, and DataError for unusable tables, a loss that is
    not finite or diverges, a folder that cannot be written and a checkpoint of another run.
    """
    _check(method, recipe, seed, start)
    torch.set_num_threads(machine.threads)
    setup = _Setup(method, data, recipe, seed, folder, machine, start, reference)
    what = [method.arguments, key(recipe), seed, data.rows, data.pool, start]
    what += [split.ids for split in data.splits.values()]
    name, times = checkpoint.fingerprint(what), _Times(save_s, within_s)
    try:
        return _trained(setup, name, watch, times)
    except torch.OutOfMemoryError:
        pass
    raise memory_advice(recipe, setup.schedule.batch)  # here, so that it has no other context


def _trained(setup: _Setup, name: str, watch: Watch | None, times: _Times) -> Weights:
    """As `fit`; name: the run's fingerprint."""
    method, recipe, folder = setup.method, setup.recipe, setup.folder
    with deferred() as notice, setup.isolated(), products(recipe):
        loop = _begin(setup)
        loop.notice = notice
        if method.finetune is not None:
            method.finetune.start(loop.model, loop)
        for hook in method.augment:
            hook.start(loop.model, loop)
        evaluation = _phases(loop, setup, name, watch, times)
        evaluation.complete()
        if loop.accelerator.is_main_process:
            evaluation.write(folder)
            done = behaviour.fingerprint(
                evaluation.state.memory, setup.data, method.augment, recipe.threshold
            )
            write_atomic(folder / "behaviour.json", json.dumps(done, sort_keys=True).encode())
        loop.accelerator.wait_for_everyone()
    return weights_of(loop.model)


def weights_of(model: Any) -> Weights:
    return {k: v.detach().cpu().clone().contiguous() for k, v in model.state_dict().items()}


def first_weights(
    method: Method,
    data: TrainData,
    recipe: Recipe,
    seed: int,
    folder: Path,
    machine: Machine,
    start: Weights | None = None,
) -> tuple[Loop, Weights]:
    """A run before its first step, and its weights: what an ensemble merges the last ones with."""
    setup = _Setup(method, data, recipe, seed, folder, machine, start)
    with setup.isolated():
        loop = _begin(setup)
    return loop, weights_of(loop.model)


# ---------------------------------------------------------------- the beginning


def _begin(setup: _Setup) -> Loop:
    """A run with its first weights."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a process may train one run in half precision, the next not
    method, data, recipe, machine = setup.method, setup.data, setup.recipe, setup.machine
    accelerator = Accelerator(cpu=machine.device == "cpu", mixed_precision=mixed(recipe))
    device = str(accelerator.device) if accelerator.num_processes > 1 else machine.device
    _, generator = _randomness(setup.seed, 0)
    model, view = _model(data, recipe, generator, setup.start, device, machine)
    consulted = None
    if setup.reference is not None:
        objective, weights = setup.reference
        consulted = (_model(data, recipe, generator, weights, device, machine)[0], objective)
        objective.start(consulted[0], data)
    method.objective.start(model, data)
    loop = Loop(
        method=method,
        data=data,
        recipe=recipe,
        folder=setup.folder,
        device=device,
        bars=machine.bars,
        view=view,
        model=model,
        accelerator=accelerator,
        reference=consulted,
        schedule=setup.schedule,
    )
    if method.finetune is not None:
        method.finetune.first_weights(model, loop)
    return loop


def _model(
    data: TrainData,
    recipe: Recipe,
    generator: torch.Generator,
    start: Weights | None,
    device: str,
    machine: Machine,
) -> tuple[Any, View]:
    """The recipe's network with its first weights on the device, and the view it has of images."""
    mean, std = data.mean, data.std
    model: Any
    if recipe.pretrained is None:
        build = registry.function(backbones, recipe.backbone)
        model = build(len(data.counts), width=recipe.width, generator=generator)
    else:
        from harness.models import clip

        name = data.pretrained or recipe.pretrained
        model = clip.load(name, len(data.counts), weights=start is None)
        mean, std = model.mean, model.std
    if start is not None:
        try:
            model.load_state_dict(start)
        except RuntimeError as error:
            why = " ".join(str(error).split())[:300]
            raise DataError(f"start weights do not fit {recipe.backbone}: {why}") from error
    layout = memory_format(model)
    model = prepared(model.to(device, memory_format=layout), recipe, parallel.ranks())
    view = View(
        train=registry.function(augmentation, recipe.augment),
        test=registry.function(augmentation, recipe.test_view),
        side=recipe.view_px,
        mean=torch.tensor(mean, device=device),
        std=torch.tensor(std, device=device),
        memory_format=layout,
        workers=devices.input_workers(machine),
        on_device=_views_on_device(recipe, machine),
    )
    return model, view


def _views_on_device(recipe: Recipe, machine: Machine) -> tuple[Any, Any]:
    """What the device makes instead of the CPU: None for views that it has no way for."""
    if not devices.device_views(machine):
        return None, None
    names = (recipe.augment.replace("-", "_"), recipe.test_view.replace("-", "_"))
    return DEVICE_VIEWS.get(names[0]), DEVICE_VIEWS.get(names[1])


# ---------------------------------------------------------------- epochs


@dataclass(frozen=True)
class _Times:
    """Seconds from one checkpoint to the next: at ends of epochs, and within them."""

    save_s: float
    within_s: float


@dataclass
class _Checkpoints:
    """The checkpoint of a run that is being trained."""

    loop: Loop
    state: State
    name: str
    times: _Times
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


def _phases(loop: Loop, setup: _Setup, name: str, watch: Watch | None, times: _Times) -> Evaluation:
    """Train what is left of the phases; what is known of the last weights comes back."""
    state = checkpoint.read(loop.folder / "checkpoint.pt", name) or State()
    if state.model is not None:
        loop.model.load_state_dict(state.model)
        state.model = None
    main, finetune = loop.accelerator.is_main_process, setup.method.finetune
    phases = finetune.phases(setup.schedule) if finetune else (Phase("all"),)
    if main:
        _write_history(loop.folder, state)  # also tells now whether the folder can be written
    files = _Checkpoints(loop, state, name, times)
    loop.keeper = files if main else None
    evaluation = Evaluation(loop, state)
    for number in range(state.phase, len(phases)):
        phase = phases[number]
        length = phase.schedule or setup.schedule
        loop.enter(phase, length)
        if number == state.phase and state.optimiser is not None:
            loop.optimiser.load_state_dict(state.optimiser)
        loop.steps, loop.warm = state.steps, state.warm
        evaluation = Evaluation(loop, state)
        while state.epoch < length.epochs:
            done = state.epoch + 1 == length.epochs
            last = done and number + 1 == len(phases)
            entry = _epoch(loop, state, phase, setup.seed, evaluation, last)
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
    rng, _ = _randomness(seed, part, int(loop.accelerator.process_index))
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


def _randomness(seed: int, part: int, rank: int = 0) -> tuple[np.random.Generator, torch.Generator]:
    """Generators of the start (part 0) or of epoch part - 1, and PyTorch's global one with them.

    Those returned are the same in all ranks.
    """
    first, second, third = np.random.SeedSequence((seed, part)).generate_state(3, np.uint64)
    if rank:
        third = np.random.SeedSequence((seed, part, rank)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(third) >> 1)
    return np.random.default_rng(first), torch.Generator().manual_seed(int(second) >> 1)


# ---------------------------------------------------------------- files and checks


def _write_history(folder: Path, state: State) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in state.history)
    write_atomic(folder / "epochs.jsonl", lines.encode())


def _check(method: Method, recipe: Recipe, seed: int, start: Weights | None) -> None:
    if seed < 0:
        raise UsageError(f"seed {seed}; expected 0 or more")
    if method.start is not None and start is None and recipe.onward is not None:
        raise UsageError(
            f"{method.expression} starts from the weights of {method.start}; give them"
        )
    if method.needs_text is not None and recipe.pretrained is None:
        raise UsageError(
            f"{method.needs_text} needs an image-text model, and {recipe.backbone} reads no text"
        )
    for schedule in (recipe.scratch, recipe.onward):
        if schedule is not None and schedule.batch < 2:
            raise UsageError(f"batches of {schedule.batch}; expected two images or more")
