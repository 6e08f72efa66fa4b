"""The training loop: one for all methods, resumable, the same bits every time on a CPU."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core import devices, parallel, registry
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.preemption import deferred
from harness.core.specs import Machine, Recipe, Schedule, key
from harness.methods.terms import Method, Objective
from harness.models import backbones
from harness.models.memory_format import memory_format
from harness.training import augmentation, behaviour, checkpoint
from harness.training.arithmetic import memory_advice, mixed, prepared, products
from harness.training.data import TrainData
from harness.training.device_views import DEVICE_VIEWS
from harness.training.inference import View
from harness.training.loop import Loop
from harness.training.phases import Times, Watch, randomness, train_phases

__all__ = ["first_weights", "fit", "weights_of"]

Weights = dict[str, Tensor]


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
    name, times = checkpoint.fingerprint(what), Times(save_s, within_s)
    try:
        return _trained(setup, name, watch, times)
    except torch.OutOfMemoryError:
        pass
    raise memory_advice(recipe, setup.schedule.batch)  # here, so that it has no other context


def _trained(setup: _Setup, name: str, watch: Watch | None, times: Times) -> Weights:
    """As `fit`; name: the run's fingerprint."""
    method, recipe, folder = setup.method, setup.recipe, setup.folder
    with deferred() as notice, setup.isolated(), products(recipe):
        loop = _begin(setup)
        loop.notice = notice
        if method.finetune is not None:
            method.finetune.start(loop.model, loop)
        for hook in method.augment:
            hook.start(loop.model, loop)
        evaluation = train_phases(loop, setup.schedule, setup.seed, name, watch, times)
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
    _, generator = randomness(setup.seed, 0)
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
