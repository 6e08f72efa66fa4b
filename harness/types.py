"""The words of the project as types: specs that are hashed, recipes, and the slots of a method."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
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
    text = json.dumps(plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
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
    milestones: tuple[int, ...] = ()  # 0-based epochs from which lr is multiplied by gamma
    gamma: float = 0.1
    version: int = 1


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
    onward: Schedule  # for runs that start from another run's weights
    curriculum_epochs: int  # of the `onward` epochs, the first ones with synthetic images
    mixture: Mixture
    levels: tuple[float, ...]  # guidance levels below 1, ascending
    pool_seeds: tuple[int, ...]  # one spectrum per source and seed
    threshold: float  # CLIPScore below which a synthetic image is left out
    generator: str  # "mini" or a hub name or path
    clip: str  # scoring model: "mini" or an open_clip name
    steps: int
    text_guidance: float
    size_px: int
    run_seeds: tuple[int, ...] = (0, 1, 2)
    imbalances: tuple[int, ...] = ()
    augment: str = "crop-flip"
    count_profile: str = "floor"  # how class sizes decay where the data set's subset is drawn
    tail: str = "<20"  # class sizes whose images are hard, where that is the rule
    version: int = 1


@dataclass(frozen=True)
class RunSpec:
    """One training run without its ensemble; equal keys may share weights."""

    dataset: str
    imbalance: int | None
    method: str  # canonical expression
    seed: int
    recipe: Recipe
    index: str  # SHA-256 of the training index
    pool: str | None  # key of the pool rows the method may read
    start: str | None  # key of the run whose weights it starts from
    version: int = 1


@dataclass(frozen=True)
class Machine:
    """Where work runs. Never part of a key."""

    keyable = False
    device: str = "cpu"
    workers: int = 1
    threads: int = 1


# ---------------------------------------------------------------- methods


class Objective(Protocol):
    """Loss and read-out. z (B, D) features, y (B,) labels, prior (C,) sums to 1."""

    def loss(self, model: Any, z: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> Any: ...

    def logits(self, model: Any, z: torch.Tensor) -> torch.Tensor: ...


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
    probe: Callable[[pl.DataFrame], np.ndarray] | None = None  # p(true class) of rows, (N,)
    state: dict[str, Any] = field(default_factory=dict)  # kept from epoch to epoch, checkpointed


class Curriculum(Protocol):
    """Chooses guidance levels (hundredths) for the epoch; () means real images only."""

    def levels(self, progress: Progress) -> tuple[int, ...]: ...


class Augment:
    """Changes what an epoch sees. Each hook defaults to doing nothing."""

    def start(self, model: Any, data: Any) -> None:
        """Called once before the first epoch."""

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """Table in, table out, once per epoch."""
        return rows

    def features(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Between encoder and head."""
        return z, y


@dataclass
class Slots:
    """What one term of an expression fills; two terms that fill the same slot are an error."""

    objective: Objective | None = None
    augment: Augment | None = None
    curriculum: Curriculum | None = None
    finetune: Any = None
    ensemble: Any = None
    onward: bool | None = None  # start from the run without this term, with the onward schedule
    needs_pool: bool = False


@dataclass
class Method:
    """An expression such as `BS+DisCL`, composed; fresh objects for every run."""

    expression: str  # canonical
    objective: Objective
    augment: tuple[Augment, ...] = ()
    curriculum: Curriculum | None = None
    finetune: Any = None
    ensemble: Any = None
    start: str | None = None  # expression of the run whose weights this one starts from
    needs_pool: bool = False
