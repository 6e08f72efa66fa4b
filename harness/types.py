"""The words of the project as types: specs that are hashed, recipes, and the slots of a method."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import polars as pl
    import torch

REAL = 100  # guidance, in hundredths, of a real image


class UsageError(Exception):
    """The request itself is wrong (exit code 2)."""


class DataError(Exception):
    """A file or folder the request needs is missing, damaged or not writable (exit code 1)."""


def brief(error: BaseException, longest: int = 300) -> str:
    """What another library's error says, in one line of at most so many characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


# ---------------------------------------------------------------- specs and their keys


def key(spec: Any) -> str:
    """SHA-256 (64 hex digits) over the class name and all fields of a frozen dataclass.

    Canonical JSON: sorted names, no spaces, tuples as lists, nested specs as objects.
    Raises TypeError for what is no frozen dataclass, says `keyable = False` (machine settings), or
    holds a value that JSON cannot say exactly.
    """
    return key_of_plain(plain(spec))


def key_of_plain(said: Any) -> str:
    """The key of a spec from what `plain` made of it, as records keep it."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """A spec as JSON can say it: objects with their class name under "spec", lists, scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen = type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
        if not frozen or getattr(value, "keyable", True) is False:
            raise TypeError(f"{type(value).__name__} is not a spec and has no key")
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"spec": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} cannot be part of a key")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a key: {value!r}")


@dataclass(frozen=True)
class GeneratorSpec:
    """What turns (source, guidance, seed, prompt) into an image; every field changes its pixels."""

    model: str  # "mini", a hub name or a path
    weights: str  # SHA-256 of the weight files, or the hub revision
    size_px: int  # side of the square image
    steps: int = 50  # DDIM steps at guidance 0
    text_guidance: float = 10.0  # w of classifier-free guidance
    scheduler: str = "ddim"
    aesthetic: float = 6.0
    negative_aesthetic: float = 2.5
    negative_prompt: str = ""
    dtype: str = "float32"
    batch: int = 32  # constant, padded: part of the identity because kernels depend on shapes
    codec: str = "webp-lossless"
    version: int = 1


@dataclass(frozen=True)
class ImageSpec:
    """One synthetic image. `guidance` in hundredths, 0..99."""

    generator: str  # key of the GeneratorSpec
    source: str  # SHA-256 of the source's pixels
    guidance: int
    seed: int
    prompt: str
    version: int = 1


@dataclass(frozen=True)
class Schedule:
    """How weights are optimised in one run; lengths in epochs, warm-up and milestones too."""

    optimiser: str  # "sgd" | "adam" | "adamw"
    lr: float
    batch: int
    epochs: int
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    decay: str = "steps"  # "steps" | "cosine" (to 0, per batch)
    warmup: int = 0  # epochs with lr * (epoch + 1) / warmup
    warmup_steps: int = 0  # batches with lr * (batch + 1) / warmup_steps; the decay begins there
    milestones: tuple[int, ...] = ()  # 0-based epochs from which lr is multiplied by gamma
    gamma: float = 0.1
    clip_norm: float = 0.0  # largest norm of a batch's gradient; 0: any
    version: int = 2


@dataclass(frozen=True)
class Mixture:
    """How an epoch is drawn when hard samples have spectra (METHOD: section 4.1 of the paper)."""

    keep: float  # fraction of the non-tail images drawn each epoch
    tail_fraction: float | None  # tail share of the epoch; None: the share of tail classes
    version: int = 1


@dataclass(frozen=True)
class Recipe:
    """Everything that a profile fixes for a data set; each data set file holds one per profile."""

    profile: str
    backbone: str
    width: int  # channels of the first stage of the backbone
    scratch: Schedule  # for runs from random weights
    onward: Schedule | None  # for runs that start from another run's weights; None: none do
    curriculum_epochs: int  # of the `onward` epochs, the first ones with synthetic images
    mixture: Mixture | None  # None: an epoch is the union of its parts
    levels: tuple[float, ...]  # guidance levels below 1, ascending
    pool_seeds: tuple[int, ...]  # one spectrum per source and seed
    threshold: float  # CLIPScore below which a synthetic image is left out
    generator: str  # "mini" or a hub name or path
    clip: str  # scoring model: "mini" or an open_clip name
    steps: int
    text_guidance: float
    size_px: int  # side of the generator's images
    view_px: int  # side of the images that the network sees
    run_seeds: tuple[int, ...] = (0, 1, 2)
    imbalances: tuple[int, ...] = ()
    augment: str = "crop-flip"  # of training images: a function of harness/augment.py
    test_view: str = "none"  # of test images: another one
    pretrained: str | None = None  # image-text model a CLIP backbone starts from: "mini", name:tag
    precision: str = "no"  # mixed precision of training: "no", "bf16", "fp16"
    probe_images: int = 0  # hard images whose spectra an adaptive curriculum is validated on
    probe_train: int = 0  # real images it trains on between its two looks
    count_profile: str = "floor"  # how class sizes decay where the data set's subset is drawn
    tail: str = "<20"  # class sizes whose images are hard, where that is the rule
    version: int = 2


@dataclass(frozen=True)
class RunSpec:
    """One training run without its ensemble; equal keys may share weights."""

    dataset: str
    imbalance: int | None
    method: str  # canonical expression
    arguments: str  # the same with every argument, defaults too
    seed: int
    recipe: Recipe
    index: str  # SHA-256 of the training index
    pool: str | None  # key of the pool rows the method may read
    start: str | None  # key of the run whose weights it starts from
    reference: str | None  # key of the run that the method consults
    pretrained: str | None  # SHA-256 of the pretrained weights, or their hub tag
    version: int = 2


@dataclass(frozen=True)
class Machine:
    """Where work runs. Never part of a key."""

    keyable = False
    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    bars: bool = False  # progress bars inside a run


# ---------------------------------------------------------------- methods


@dataclass
class Batch:
    """What a loss may read beside the features."""

    y: torch.Tensor  # (B,) labels, int64
    prior: torch.Tensor  # (C,) class shares, sums to 1
    caption: torch.Tensor  # (B,) which of its class's captions goes with an image, int64


class Objective:
    """Loss and read-out on features z (B, D)."""

    counts = "real"  # class counts the prior comes from: of the "real" images or of the "epoch"
    trains: tuple[str, ...] = ("encoder", "head")  # parts of the model that it gives gradients

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
    folder: Path  # of the run: a term may keep files there, written by harness.files.write_atomic
    device: str
    bars: bool  # whether to show progress bars

    @property
    def batch(self) -> int:
        """Images per optimiser step in this phase."""
        ...

    def features(
        self, rows: pl.DataFrame, generator: torch.Generator, *, batch: int, batch_statistics: bool
    ) -> torch.Tensor:
        """z (N, D) float32 on the CPU of rows, in their order, augmented as in training.

        batch_statistics: batch norm in training mode (its running statistics stay as they were).
        """
        ...

    def tested(self, split: str) -> torch.Tensor:
        """z (N, D) float32 on the CPU of a split's images, eval mode."""
        ...

    def probe(
        self,
        rows: pl.DataFrame,
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicted class (N,) int32 and probability of the true class (N,) float32, eval mode.

        Images as in testing; with a generator augmented as in training; `change` then takes the
        batch of images uint8 (B, H, W, 3) and returns it changed.
        """
        ...

    def consult(self, rows: pl.DataFrame) -> np.ndarray:
        """Class probabilities (N, C) float32 by the reference run's weights, images as tested."""
        ...

    def train(self, rows: pl.DataFrame) -> None:
        """One pass over rows within the present epoch."""
        ...


@dataclass(frozen=True)
class Trial:
    """What an adaptive curriculum compares levels with, in one epoch."""

    validation: pl.DataFrame  # rows of every candidate level
    training: pl.DataFrame  # real rows, drawn for this epoch
    trim: bool = False  # leave outliers of a level's gains out (1.5 interquartile ranges)
    late: bool = False  # take the first look after two batches of training


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

    def start(self, model: Any, tools: Tools) -> None:
        """Called once, before the first epoch, and again when a run is resumed."""

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """Table in, table out, once per epoch."""
        return rows

    def dress(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """The rows of every pass, those of an adaptive curriculum's too, after all `rows`."""
        return rows

    def pixels(
        self, images: torch.Tensor, y: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """uint8 (B, H, W, 3) and labels (B,), both on the CPU, after the recipe's augmentation."""
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

    def price(self, counts: Sequence[int], features: int) -> tuple[int, float]:
        """What `start` costs: images to encode, and TFLOP beside those.

        counts: training images by label; features: entries of z.
        """
        return 0, 0.0

    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """z (N, D) float32, y (N,) int64: what phases with `on_features` train on."""
        raise NotImplementedError


class Ensemble(Protocol):
    """Weights merged after training."""

    alpha: float  # the headline's
    grid: tuple[float, ...]  # from which the validation split chooses another

    def merge(
        self, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], alpha: float
    ) -> dict[str, torch.Tensor]: ...


@dataclass
class Slots:
    """What one term of an expression fills; two terms that fill the same slot are an error."""

    objective: Objective | None = None
    augment: Augment | None = None
    curriculum: Curriculum | None = None
    finetune: Finetune | None = None
    ensemble: Ensemble | None = None
    onward: bool | None = None  # start from the run without this term, with the onward schedule
    reads: str | None = None  # synthetic images it needs: "spectrum", "edits"
    consults: bool | None = None  # needs the weights of the run without this term beside its own
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
    reference: str | None = None  # expression of the run that it consults
    merges: str | None = None  # expression of the run whose weights its ensemble merges
    reads: str | None = None  # which synthetic images
    needs_text: str | None = None  # the term that needs a text tower
