"""What a term of a method fills, and what it may ask of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from harness.core.specs import Recipe, Schedule

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl
    import torch

    from harness.core.draws import Draws


@dataclass
class Batch:
    """What a loss may read beside the features."""

    y: torch.Tensor  # (B,) labels, int64
    prior: torch.Tensor  # (C,) class shares, sums to 1
    caption: torch.Tensor  # (B,) which of its class's captions goes with an image, int64
    epoch: int = 0  # of the phase, 0-based
    epochs: int = 1  # of the phase


class Objective:
    """Loss and read-out on features z (B, D)."""

    counts = "real"  # class counts the prior comes from: of the "real" images or of the "epoch"
    trains: tuple[str, ...] = ("encoder", "head")  # parts of the model that it gives gradients
    whole_batch = False  # whether the loss compares images of a batch, and is no mean over them

    def start(self, model: Any, data: Any) -> None:
        """Called once, before the first epoch."""

    def loss(self, model: Any, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean loss of the batch, a scalar."""
        raise NotImplementedError

    def ready(self, model: Any) -> None:
        """Called in inference mode before a pass of `logits` with weights that stay the same."""

    def logits(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        """(B, C)."""
        return cast("torch.Tensor", model.head(z))


class Tools(Protocol):
    """What the training loop does for the terms of a method. Rows are tables of train_data."""

    recipe: Recipe
    data: Any  # TrainData
    folder: (
        Path  # of the run: a term may keep files there, written by harness.core.files.write_atomic
    )
    device: str
    bars: bool  # whether to show progress bars
    # a dry run has dry = True: it counts passes, and its answers are always wrong

    @property
    def batch(self) -> int:
        """Images per optimiser step in this phase."""
        ...

    def features(
        self, rows: pl.DataFrame, seed: int, *, batch: int, batch_statistics: bool
    ) -> torch.Tensor:
        """z (N, D) float32 on the CPU of rows, in their order, augmented as in training.

        seed: from 0, of the augmentation.
        batch_statistics: batch norm in training mode (its running statistics stay as they were).
        """
        ...

    def tested(self, split: str) -> torch.Tensor:
        """z (N, D) float32 on the CPU of a split's images, eval mode."""
        ...

    def probe(
        self,
        rows: pl.DataFrame,
        change: Callable[[torch.Tensor, Draws], torch.Tensor] | None = None,
        seed: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicted class (N,) int32 and probability of the true class (N,) float32, eval mode.

        Images as in testing; with a seed augmented as in training; `change` then takes a batch of
        images uint8 (B, H, W, 3) and their random numbers, whose positions are those of the rows,
        and returns it changed.
        """
        ...

    def consult(self, rows: pl.DataFrame) -> np.ndarray:
        """Class probabilities (N, C) float32 by the reference run's weights, images as tested."""
        ...

    def train(self, rows: pl.DataFrame) -> None:
        """One pass over rows within the present epoch."""
        ...

    def pause(self, keep: Callable[[], None] | None = None) -> None:
        """Between two parts of long work: a run that is to end calls `keep` and ends here."""
        ...


@dataclass(frozen=True)
class Trial:
    """What an adaptive curriculum compares levels with, in one epoch."""

    validation: pl.DataFrame  # rows of every candidate level
    training: pl.DataFrame  # real rows, drawn for this epoch
    trim: bool = False  # leave outliers of a level's gains out (1.5 interquartile ranges)
    late: bool = False  # take the first look after two batches of training
    choice: tuple[int, ...] | None = None  # of a control: known, so that nothing is looked at


@dataclass
class Progress:
    """What a curriculum or an augmentation may know at the start of an epoch."""

    epoch: int  # 0-based
    epochs: int
    curriculum_epochs: int
    levels: tuple[int, ...]  # candidate guidance levels in hundredths, ascending, REAL last
    rng: np.random.Generator  # for this epoch
    recipe: Recipe
    at: Callable[[Sequence[int]], pl.DataFrame]  # hard rows at these levels (REAL: the real ones)
    tools: Tools | None = None
    trial: Callable[[], Trial] | None = None
    state: dict[str, Any] = field(default_factory=dict)  # kept from epoch to epoch, checkpointed


class Curriculum(Protocol):
    """Chooses guidance levels (hundredths) for the epoch; () means real images only."""

    def levels(self, progress: Progress) -> tuple[int, ...]: ...


class Augment:
    """Changes what an epoch sees. Each hook defaults to doing nothing."""

    control = False  # whether the sources stand in the places of the synthetic images that it reads

    def start(self, model: Any, tools: Tools) -> None:
        """Called once, before the first epoch, and again when a run is resumed."""

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """Table in, table out, once per epoch."""
        return rows

    def dress(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """The rows of every pass, those of an adaptive curriculum's too, after all `rows`."""
        return rows

    def pixels(self, images: torch.Tensor, y: torch.Tensor, draws: Draws) -> torch.Tensor:
        """uint8 (B, H, W, 3) and labels (B,), both on the CPU, after the recipe's augmentation.

        draws: the random numbers of these pictures for this hook. With no others, what a picture
        gets follows from the run's seed, the epoch and its place in it, whatever its batch.
        """
        return images

    def features(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Between encoder and head."""
        return z, y


@dataclass(frozen=True)
class Phase:
    """A part of a run; None takes the run's own value."""

    name: str
    schedule: Schedule | None = None  # its `epochs` are the phase's length
    trains: tuple[str, ...] | None = None  # parts of the model, instead of the objective's
    on_features: bool = False  # batches of Finetune.table, not of images


class Finetune:
    """How the weights of a run come about, where that is not one phase from its first weights."""

    def first_weights(self, model: Any, tools: Tools) -> None:
        """Set the weights that the run counts as its start (an ensemble merges with them)."""

    def start(self, model: Any, tools: Tools) -> None:
        """Before the first phase, and again when a run is resumed: fit what the phases need."""

    def phases(self, schedule: Schedule) -> tuple[Phase, ...]:
        """In order; () trains nothing. `schedule`: the run's."""
        return (Phase("all"),)

    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """z (N, D) float32, y (N,) int64: what phases with `on_features` train on."""
        raise NotImplementedError


class Ensemble(Protocol):
    """Weights merged after training."""

    alpha: float | None  # None: the validation split chooses from `grid`
    grid: tuple[float, ...]

    def merge(
        self, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], alpha: float
    ) -> dict[str, torch.Tensor]: ...


@dataclass
class TermParts:
    """What one term of an expression fills; two terms that fill the same part are an error."""

    objective: Objective | None = None
    augment: Augment | None = None
    curriculum: Curriculum | None = None
    finetune: Finetune | None = None
    ensemble: Ensemble | None = None
    onward: bool | None = None  # start from the run without this term, with the onward schedule
    reads: str | None = None  # synthetic images it needs: "spectrum", "edits"
    levels: tuple[int, ...] | None = None  # of the spectrum, in hundredths; None: the recipe's
    consults: bool | None = None  # needs the weights of the run without this term beside its own
    repeats: bool | None = None  # needs the guidance levels of the run without `control`
    needs_text: bool = False  # needs a model with a text tower


@dataclass
class Method:
    """An expression such as `BS+DisCL`, composed; fresh objects for every run."""

    expression: str  # canonical
    arguments: str  # the same with all arguments, defaults too
    objective: Objective
    augment: tuple[Augment, ...] = ()
    curriculum: Curriculum | None = None
    finetune: Finetune | None = None
    ensemble: Ensemble | None = None
    start: str | None = None  # expression of the run whose weights this one starts from
    reference: str | None = None  # expression of the run that it consults or repeats
    repeats: bool = False  # takes the guidance levels of the reference, not its weights
    merges: str | None = None  # expression of the run whose weights its ensemble merges
    reads: str | None = None  # which synthetic images
    levels: tuple[int, ...] | None = None  # of the spectrum, in hundredths; None: the recipe's
    needs_text: str | None = None  # the term that needs a text tower

    @property
    def control(self) -> bool:
        """Whether it trains on the sources of the synthetic images that it reads."""
        return any(hook.control for hook in self.augment)
