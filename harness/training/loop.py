"""One pass over images or features, and what the terms of a method may ask of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from harness.core.draws import Draws
from harness.core.errors import DataError
from harness.core.preemption import Halted, Notice
from harness.core.specs import Recipe, Schedule
from harness.methods.terms import Augment, Batch, Method, Objective, Phase, Progress
from harness.training import behaviour, position, prepared
from harness.training.data import TrainData, batches
from harness.training.gradients import by_parts
from harness.training.inference import View
from harness.training.optimisation import learning_rate, optimiser
from harness.training.position import Position
from harness.training.prepared import Prepared
from harness.training.run_tools import RunTools

DIVERGED = 1e4  # a mean loss above this is no training any more
LOOK_EVERY = 200  # batches between two looks at the loss


class Step(nn.Module):
    """From a batch to its loss: what data parallelism wraps, as its gradients pass through here."""

    def __init__(self, model: Any, objective: Objective, hooks: Sequence[Augment]) -> None:
        super().__init__()
        self.model = model
        self.objective, self.hooks = objective, hooks

    def forward(self, x: Tensor, batch: Batch, on_features: bool) -> Tensor:
        """x: images (B, 3, H, W), or z (B, D) itself."""
        z = x if on_features else self.model.encoder(x)
        for hook in self.hooks:
            z, batch.y = hook.features(z, batch.y)
        return self.objective.loss(self.model, z, batch)


class Keeper(Protocol):
    """Writes where a run stands within an epoch, now and then."""

    def due(self) -> bool: ...

    def keep(self, position: Position) -> None: ...


@dataclass
class Loop(RunTools):
    """The present phase of a run; `Tools` for the terms of its method."""

    method: Method
    data: TrainData
    recipe: Recipe
    folder: Path
    device: str
    bars: bool
    view: View
    model: Any
    accelerator: Any
    reference: tuple[Any, Objective] | None  # a model with the weights of the run it consults
    schedule: Schedule  # of the phase
    on_features: bool = False
    step: Any = None  # Step, as the accelerator prepared it
    optimiser: Any = None
    steps: int = 0  # of the optimiser in this phase
    warm: float = 0.0  # position in the phase, in epochs, where its warm-up steps ended
    # of the present epoch
    epoch: int = 0
    rng: np.random.Generator | None = None
    seed: tuple[int, ...] = ()  # of what its pictures get
    progress: Progress | None = None
    lr: float = 0.0  # of its first batch
    passes: int = 0  # begun
    before: int = 0  # images in passes of this epoch that `train` made
    batches: int = 0  # of this epoch, in all passes
    first_loss: float = 0.0  # of the first batch of the epoch's last pass
    position: Position | None = None  # in its last pass
    # of the run
    keeper: Keeper | None = None  # of the process that writes
    notice: Notice = field(default_factory=Notice)  # that it is to end

    def enter(self, phase: Phase, schedule: Schedule) -> None:
        """Begin a phase: its parts of the model get gradients, and a fresh optimiser."""
        self.schedule, self.on_features = schedule, phase.on_features
        self.steps, self.warm = 0, 0.0
        trains = phase.trains or self.method.objective.trains
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in trains)
        chosen = [p for p in self.model.parameters() if p.requires_grad]
        step = Step(self.model, self.method.objective, self.method.augment)
        self.step = self.accelerator.prepare_model(step, device_placement=False)
        self.optimiser = optimiser(chosen, schedule)
        if self.accelerator.scaler is not None:  # its wrapper looks for packages at each step
            self.optimiser = self.accelerator.prepare_optimizer(self.optimiser, False)

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is in this phase."""
        return not any(p.requires_grad for p in self.model.encoder.parameters())

    @property
    def batch(self) -> int:
        return self.schedule.batch

    @property
    def ranks(self) -> int:
        return int(self.accelerator.num_processes)

    # ------------------------------------------------------------ passes

    def begin(self, epoch: int, rng: np.random.Generator, seed: tuple[int, ...]) -> None:
        self.epoch, self.rng, self.seed = epoch, rng, seed
        self.passes, self.before, self.batches = 0, 0, 0
        self.lr, self.position = self._learning_rate(epoch), None

    def resume(self, position: Position) -> None:
        """Go on in the epoch that has begun; its rows are those of the position."""
        assert self.rng is not None
        self.rng.bit_generator.state = position.generator
        for name in ("passes", "before", "batches", "steps", "warm", "lr", "first_loss"):
            setattr(self, name, getattr(position, name))
        self.position = position

    def pause(self, keep: Callable[[], None] | None = None) -> None:
        """Where the run is to end: keep where it stands, and end it."""
        if not self.notice.given:
            return
        if keep is not None:
            keep()
        if self.position is not None and self.keeper is not None:
            self._keep(self.position)
        raise Halted

    def _keep(self, here: Position) -> None:
        for name in ("batches", "steps", "warm", "first_loss"):
            setattr(here, name, getattr(self, name))
        here.random = position.random_states(self.device)
        assert self.keeper is not None
        self.keeper.keep(here)

    def _learning_rate(self, position: float) -> float:
        """Of the next step, at this position in the phase, in epochs."""
        if self.steps == self.schedule.warmup_steps:
            self.warm = position
        return learning_rate(self.schedule, position, self.steps, self.warm)

    def train(self, rows: pl.DataFrame) -> None:
        """A pass before the epoch's own: Tools."""
        usual = self.data.rows.height
        share = rows.height / max(1, rows.height + usual)
        self._pass(rows, self.before / max(1, self.before + usual), share)
        self.before += rows.height

    def last_pass(self, rows: pl.DataFrame) -> float:
        """The epoch's own pass; its mean loss. DataError for one that is not finite or absurd."""
        assert self.progress is not None
        begun = self.before / max(1, self.before + self.data.rows.height)
        self._set_out(rows, self.progress.state)
        return self._pass(rows, begun, 1.0)

    def _set_out(self, rows: pl.DataFrame | None, memory: Mapping[str, Any]) -> None:
        """The epoch's last pass begins, unless it is gone on with."""
        assert self.rng is not None
        if self.position is None:
            counts = {"passes": self.passes, "before": self.before, "lr": self.lr}
            self.position = position.start(rows, memory, self.rng, **counts)

    def _pass(self, rows: pl.DataFrame, first: float, last: float) -> float:
        """Over rows in random order, at positions first to last of the epoch."""
        assert self.rng is not None
        assert self.progress is not None
        for hook in self.method.augment:
            rows = hook.dress(rows, self.progress)
        order = self.rng.permutation(rows.height)
        images, labels = rows["image"].to_numpy()[order], rows["label"].to_numpy()[order]
        captions = torch.from_numpy(rows["caption"].to_numpy()[order].astype(np.int64))
        prior, targets = self._prior(labels), torch.from_numpy(labels.astype(np.int64))
        draws, hooks = Draws((*self.seed, self.passes)), self.method.augment
        self.passes += 1

        def ready(part: slice) -> Prepared:
            return prepared.prepare(
                self.view, self.data.images, images[part], targets[part], draws.at(part), hooks,
                self._counted(part),
            )  # fmt: skip

        def batch(part: slice, pictures: Prepared) -> tuple[Tensor, Batch]:
            x, y = self._pixels(pictures, targets[part], part), targets[part].to(self.device)
            caption = captions[part].to(self.device)
            return x, Batch(y, prior, caption, self.epoch, self.schedule.epochs)

        return self._steps(rows.height, ready, batch, first, last)

    def features_pass(self) -> float:
        """Over the method's table of features, in random order; mean loss."""
        assert self.rng is not None
        assert self.method.finetune is not None
        self._set_out(None, {})
        z, y = self.method.finetune.table()
        order = torch.from_numpy(self.rng.permutation(len(y)))
        z, y = z[order].to(self.device), y[order].to(self.device)
        prior = self._prior(y.cpu().numpy())
        none = torch.zeros_like(y)

        def batch(part: slice, _: None) -> tuple[Tensor, Batch]:
            of_epoch = self.epoch, self.schedule.epochs
            return z[part], Batch(y[part], prior, none[part], *of_epoch)

        return self._steps(len(y), None, batch, 0.0, 1.0)

    def _steps(
        self,
        n: int,
        ready: Callable[[slice], Prepared] | None,
        batch: Callable[[slice, Any], tuple[Tensor, Batch]],
        first: float,
        last: float,
    ) -> float:
        """Steps over n rows; the mean loss. ready: what may be done ahead of a batch's step."""
        self.step.train()
        slices, here = list(batches(n, self.schedule.batch, self.ranks)), self.position
        own = [self._rank_part(part) for part in slices]
        total, images, begun = torch.zeros((), device=self.device), 0, 0
        if here is not None and here.random is not None:
            begun, images = here.done, here.images
            total += here.total
            self._go_on(here, here.random)
        left = own[begun:]
        coming: Iterator[Any] = iter([None] * len(left))
        if ready is not None:
            coming = self.view.ahead(ready, left)
        for index, (part, pictures) in enumerate(zip(left, coming, strict=True), begun):
            position = self.epoch + first + (last - first) * index / len(slices)
            lr = self._learning_rate(position)
            loss = self._step(*batch(part, pictures), lr)
            if index == 0:
                self.first_loss = float(loss)
            self.batches += 1
            self.steps += 1
            size = part.stop - part.start
            total, images = total + loss * size, images + size
            if (index + 1) % LOOK_EVERY == 0 or index + 1 == len(slices):
                self._look(float(total) / images, index, lr)
            if here is not None:
                here.done, here.total, here.images = index + 1, total, images
                if self.keeper is not None and self.keeper.due():
                    self._keep(here)
            self.pause()
        return float(total) / images

    def _go_on(self, here: Position, random: Mapping[str, Tensor]) -> None:
        """The pass has begun as it did before; from here on all is as it was at the position."""
        if here.rows is not None and self.progress is not None:
            self.progress.state.clear()
            self.progress.state.update(here.memory_now)
        if self.accelerator.is_main_process:
            position.set_random_states(random, self.device)

    def _step(self, x: Tensor, targets: Batch, lr: float) -> Tensor:
        """A step of the optimiser; the loss before it, detached."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        size = self.recipe.micro_batch
        if size and len(x) > size:
            bare = self.accelerator.unwrap_model(self.step)
            loss = by_parts(bare, self.accelerator, x, targets, self.on_features, size)
        else:
            with self.accelerator.autocast():
                loss = self.step(x, targets, self.on_features)
            self.accelerator.backward(loss)
        if self.schedule.clip_norm:
            self.accelerator.clip_grad_norm_(self.step.parameters(), self.schedule.clip_norm)
        self.optimiser.step()
        return loss.detach()

    def share_buffers(self) -> None:
        """The first rank's running statistics are everyone's: only by theirs is anything tested."""
        if self.ranks > 1:
            from accelerate.utils import broadcast

            for buffer in self.model.buffers():
                buffer.copy_(broadcast(buffer))

    def _look(self, mean: float, batch: int, lr: float) -> None:
        if not np.isfinite(mean) or mean > DIVERGED:
            where = f"epoch {self.epoch}, up to batch {batch}"
            raise DataError(f"the mean loss of {where} is {mean:g} at learning rate {lr:g}")

    def _rank_part(self, part: slice) -> slice:
        """This rank's share of a batch."""
        size = (part.stop - part.start) // self.ranks
        first = part.start + size * int(self.accelerator.process_index)
        return slice(first, first + size)

    def _counted(self, part: slice) -> tuple[bool, bool]:
        """Whether these pictures are counted in the record, and what hooks changed of them."""
        looks = part.start < behaviour.BATCHES * self.schedule.batch
        return looks and self.epoch == 0, looks

    def _pixels(self, pictures: Prepared, y: Tensor, part: slice) -> Tensor:
        """The network's view of a batch."""
        assert self.progress is not None
        images = self.view.finished(pictures.images)
        memory, hooks, classes = self.progress.state, self.method.augment, len(self.data.counts)
        prepared.count(memory, pictures, images, y, hooks, classes, self._counted(part), self.ranks)
        return self.view.normalised(images)

    def _prior(self, labels: np.ndarray) -> Tensor:
        """Class shares (C,): of the real images, or of the epoch."""
        counts: Sequence[int] | np.ndarray = self.data.counts
        if self.method.objective.counts == "epoch":
            counts = np.bincount(labels, minlength=len(counts))
        shares = torch.tensor(counts, dtype=torch.float32, device=self.device)
        return shares / shares.sum()
