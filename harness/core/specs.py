"""Specs that are hashed, and their keys: generator, image, recipe, run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

REAL = 100  # guidance, in hundredths, of a real image


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
    size_px: int  # width of the image, and its height unless height_px says another
    steps: int = 50  # DDIM steps at guidance 0
    text_guidance: float = 10.0  # w of classifier-free guidance
    scheduler: str = "ddim"
    aesthetic: float = 6.0
    negative_aesthetic: float = 2.5
    negative_prompt: str = ""
    dtype: str = "float32"
    batch: int = 16  # constant, padded: part of the identity because kernels depend on shapes
    codec: str = "webp-lossless"
    height_px: int = 0  # 0: a square
    approximate: tuple[str, ...] = ()  # short cuts that change pixels; none: exact
    version: int = 2


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
    size_px: int  # width of the generator's images, and their height unless height_px says another
    view_px: int  # side of the images that the network sees
    run_seeds: tuple[int, ...] = (0, 1, 2)
    imbalances: tuple[int, ...] = ()
    augment: str = "crop-flip"  # of training images: a function of harness/training/augmentation.py
    test_view: str = "none"  # of test images: another one
    pretrained: str | None = None  # image-text model a CLIP backbone starts from: "mini", name:tag
    precision: str = "no"  # mixed precision of training: "no", "bf16", "fp16"
    probe_images: int = 0  # hard images whose spectra an adaptive curriculum is validated on
    probe_train: int = 0  # real images it trains on between its two looks
    count_profile: str = "floor"  # how class sizes decay where the data set's subset is drawn
    tail: str = "<20"  # class sizes whose images are hard, where that is the rule
    height_px: int = 0  # of the generator's images; 0: squares
    approximate: tuple[str, ...] = ()  # short cuts of the generator that change pixels
    version: int = 3


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
