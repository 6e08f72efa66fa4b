"""One pass over images or features, and what the terms of a method may ask of the loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from harness.core.draws import Draws
from harness.core.errors import DataError, UsageError
from harness.core.specs import Recipe, Schedule
from harness.methods.terms import Augment, Batch, Method, Objective, Phase, Progress
from harness.training import behaviour, inference
from harness.training.data import TrainData, batches
from harness.training.inference import View
from harness.training.optimisation import learning_rate, optimiser

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


@dataclass
class Loop:
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
        self.lr = self._learning_rate(epoch)

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
        begun = self.before / max(1, self.before + self.data.rows.height)
        return self._pass(rows, begun, 1.0)

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
        draws = Draws((*self.seed, self.passes))
        self.passes += 1

        def batch(part: slice) -> tuple[Tensor, Batch]:
            y = targets[part]
            x = self._pixels(images[part], y, draws.at(part))
            y, caption = y.to(self.device), captions[part].to(self.device)
            return x, Batch(y, prior, caption, self.epoch, self.schedule.epochs)

        return self._steps(rows.height, batch, first, last)

    def features_pass(self) -> float:
        """Over the method's table of features, in random order; mean loss."""
        assert self.rng is not None
        assert self.method.finetune is not None
        z, y = self.method.finetune.table()
        order = torch.from_numpy(self.rng.permutation(len(y)))
        z, y = z[order].to(self.device), y[order].to(self.device)
        prior = self._prior(y.cpu().numpy())
        none = torch.zeros_like(y)

        def batch(part: slice) -> tuple[Tensor, Batch]:
            of_epoch = self.epoch, self.schedule.epochs
            return z[part], Batch(y[part], prior, none[part], *of_epoch)

        return self._steps(len(y), batch, 0.0, 1.0)

    def _steps(
        self, n: int, batch: Callable[[slice], tuple[Tensor, Batch]], first: float, last: float
    ) -> float:
        self.step.train()
        slices = list(batches(n, self.schedule.batch, self.ranks))
        total, images = torch.zeros((), device=self.device), 0
        for index, part in enumerate(slices):
            position = self.epoch + first + (last - first) * index / len(slices)
            lr = self._learning_rate(position)
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            own = self._rank_part(part)
            x, targets = batch(own)
            with self.accelerator.autocast():
                loss = self.step(x, targets, self.on_features)
            self.optimiser.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            if self.schedule.clip_norm:
                self.accelerator.clip_grad_norm_(self.step.parameters(), self.schedule.clip_norm)
            self.optimiser.step()
            if index == 0:
                self.first_loss = float(loss.detach())
            self.batches += 1
            self.steps += 1
            size = own.stop - own.start
            total, images = total + loss.detach() * size, images + size
            if (index + 1) % LOOK_EVERY == 0 or index + 1 == len(slices):
                self._look(float(total) / images, index, lr)
        return float(total) / images

    def _look(self, mean: float, batch: int, lr: float) -> None:
        if not np.isfinite(mean) or mean > DIVERGED:
            where = f"epoch {self.epoch}, up to batch {batch}"
            raise DataError(f"the mean loss of {where} is {mean:g} at learning rate {lr:g}")

    def _rank_part(self, part: slice) -> slice:
        """This rank's share of a batch."""
        size = (part.stop - part.start) // self.ranks
        first = part.start + size * int(self.accelerator.process_index)
        return slice(first, first + size)

    def _pixels(self, ids: np.ndarray, y: Tensor, draws: Draws) -> Tensor:
        """The network's view of a batch."""
        assert self.progress is not None
        memory = self.progress.state
        images = self.view.images(self.data.images.take(ids), draws.of("view"))
        looks = draws.first < behaviour.BATCHES * self.schedule.batch
        if looks and self.epoch == 0:
            behaviour.count_pictures(memory, images, y.numpy(), len(self.data.counts))
        for number, hook in enumerate(self.method.augment):
            before, images = images, hook.pixels(images, y, draws.of(f"hook {number}"))
            if looks:
                behaviour.count_change(memory, hook, before, images)
        return self.view.normalised(images)

    def _prior(self, labels: np.ndarray) -> Tensor:
        """Class shares (C,): of the real images, or of the epoch."""
        counts: Sequence[int] | np.ndarray = self.data.counts
        if self.method.objective.counts == "epoch":
            counts = np.bincount(labels, minlength=len(counts))
        shares = torch.tensor(counts, dtype=torch.float32, device=self.device)
        return shares / shares.sum()

    # ------------------------------------------------------------ what terms may ask

    def features(
        self, rows: pl.DataFrame, seed: int, *, batch: int, batch_statistics: bool
    ) -> Tensor:
        """Tools."""
        ids, was_training = rows["image"].to_numpy(), self.model.training
        draws = Draws((seed,)).of("view")
        buffers = copy.deepcopy(dict(self.model.named_buffers())) if batch_statistics else {}
        self.model.train(batch_statistics)
        parts = []
        with torch.inference_mode():
            for part in batches(len(ids), batch, 1):
                images = self.view.images(self.data.images.take(ids[part]), draws.at(part))
                parts.append(self.model.encoder(self.view.normalised(images)).float().cpu())
            for name, buffer in buffers.items():
                self.model.get_buffer(name).copy_(buffer)
        self.model.train(was_training)
        return torch.as_tensor(self._same(torch.cat(parts).clone()))

    def tested(self, split: str) -> Tensor:
        """Tools."""
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            parts = [part.float().cpu() for part in self.split_features(split)]
        self.model.train(was_training)
        return torch.as_tensor(self._same(torch.cat(parts).clone()))

    def split_features(self, split: str, places: np.ndarray | None = None) -> Iterator[Tensor]:
        """z of a split's images in batches; call it in inference mode, with the model in eval.

        places: numbers of some of them; None: all.
        """
        images, ids = self.data.splits[split].images, np.arange(len(self.data.splits[split].ids))
        some = ids if places is None else places
        return inference.features(self.model, self.view, lambda p: images.take(some[p]), len(some))

    def probe(
        self,
        rows: pl.DataFrame,
        change: Callable[[Tensor, Draws], Tensor] | None = None,
        seed: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tools."""
        labels = rows["label"].to_numpy()
        draws = None if seed is None else Draws((seed,))
        some = self._some(self.model, rows, change, draws)
        return self._same(inference.true_class(self.model, self.method.objective, some, labels))

    def consult(self, rows: pl.DataFrame) -> np.ndarray:
        """Tools."""
        if self.reference is None:
            raise UsageError(f"{self.method.expression} consults a run: give its weights")
        model, objective = self.reference
        return inference.probabilities(model, objective, self._some(model, rows))

    def _some(
        self, model: Any, rows: pl.DataFrame, change: Any = None, draws: Draws | None = None
    ) -> Callable[[], Iterator[Tensor]]:
        ids, take = rows["image"].to_numpy(), self.data.images.take
        return lambda: inference.features(
            model, self.view, lambda part: take(ids[part]), len(ids), change, draws
        )

    def _same(self, value: Any) -> Any:
        """The first rank's result: what follows from it must not differ between ranks."""
        if self.ranks == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]
