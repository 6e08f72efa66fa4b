"""Specs that are hashed, and their keys: generator, image, recipe, run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Interval, MinLen, Predicate

from harness.core.guidance import is_exact

ADDED_LATER = {"added": "later"}  # metadata of a field that came after its spec had keys
SMALL_UP_TO_PX = 64  # pictures of at most this side are stored lossless and read as raw pixels

T = TypeVar("T")


def _each_once(values: tuple[Any, ...]) -> bool:
    return len(set(values)) == len(values)


Text = Annotated[str, MinLen(1), "a text that is not empty"]


Count = Annotated[int, Interval(ge=0, le=10**9), "a whole number from 0"]


Epochs = Annotated[int, Interval(ge=0, le=100_000), "a number of epochs from 0 to 100000"]


Every = Annotated[int, Interval(ge=1, le=100_000), "a number of epochs from 1 to 100000"]


AboveNothing = Annotated[float, Interval(gt=0, le=1), "a fraction in (0, 1]"]


Slots = Annotated[int, Interval(ge=1, le=1024), "1 to 1024 images"]


Number = Annotated[float, Predicate(math.isfinite), "a finite number"]


Share = Annotated[float, Interval(ge=0, le=1), "a fraction in [0, 1]"]


BelowOne = Annotated[float, Interval(ge=0, lt=1), "a number in [0, 1)"]


NotNegative = Annotated[float, Interval(ge=0, lt=math.inf), "a finite number from 0"]


Side = Annotated[int, Interval(ge=1, le=4096), "a side of 1 to 4096 px"]


Height = Annotated[int, Interval(ge=0, le=4096), "a side of 1 to 4096 px, or 0 for a square"]


Seed = Annotated[int, Interval(ge=0, le=2**31 - 1), "a seed is a whole number from 0 to 2147483647"]


Seeds = Annotated[
    tuple[Seed, ...], Predicate(_each_once), MinLen(1), "a list of one seed or more, none twice"
]


Guidance = Annotated[
    float,
    Interval(ge=0, le=0.99),
    Predicate(is_exact),
    "guidance of synthetic images is in [0, 1), with at most two decimals",
]


Distinct = Annotated[tuple[T, ...], Predicate(_each_once), "a list that names no value twice"]


Ratio = Annotated[int, Interval(ge=1, le=10**6), "an imbalance ratio is a whole number from 1"]


def key(spec: Any) -> str:
    """SHA-256 (64 hex digits) over the class name and all fields of a frozen dataclass.

    Canonical JSON: sorted names, no spaces, tuples as lists, nested specs as objects.
    Raises TypeError for what is no frozen dataclass, says `keyable = False` (machine settings), or
    holds a value that JSON cannot say exactly.
    """
    return key_of_plain(plain(spec))


def key_of_plain(value: Any) -> str:
    """The key of a spec from what `plain` made of it, as records keep it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """A spec as JSON can say it: objects with their class name under "spec", lists, scalars.

    A field that was added later (metadata ADDED_LATER) is left out while it has its default, so
    that it changes no key that there is.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen = type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
        if not frozen or getattr(value, "keyable", True) is False:
            raise TypeError(f"{type(value).__name__} is not a spec and has no key")
        fields = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
        kept = {f.name: plain(v) for f, v in fields.items() if not _as_before(f, v)}
        return {"spec": type(value).__name__, **kept}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} cannot be part of a key")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a key: {value!r}")


def _as_before(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field was added later and has its default."""
    default = unread(field)
    return ADDED_LATER.items() <= field.metadata.items() and (
        (type(value), value) == (type(default), default)
    )


def unread(field: dataclasses.Field[Any]) -> Any:
    """What stands for a field that nobody reads: None, or the default of one that came later."""
    if not ADDED_LATER.items() <= field.metadata.items():
        return None
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


@dataclass(frozen=True)
class GeneratorSpec:
    """What turns (source, guidance, seed, prompt) into an image; every field changes its pixels."""

    model: str  # "mini", "folder" for one in a folder, or a hub name
    weights: str  # SHA-256 of the model's files, or its commit on the hub
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
    approximate: tuple[str, ...] = ()  # approximations that change pixels; none: exact
    version: int = 2


@dataclass(frozen=True)
class ImageSpec:
    """One synthetic image. `guidance` in hundredths, 0..99."""

    generator: str  # key of the GeneratorSpec
    source: str  # SHA-256 of the source picture's bytes
    guidance: int
    seed: int
    prompt: str
    version: int = 1


@dataclass(frozen=True)
class Schedule:
    """How weights are optimised in one run; lengths in epochs, warm-up and milestones too."""

    optimiser: Literal["sgd", "adam", "adamw"]
    lr: Annotated[float, Interval(gt=0, lt=math.inf), "a finite number above 0"]
    batch: Annotated[int, Interval(ge=1, le=2**20), "1 to 1048576 images"]
    epochs: Annotated[int, Interval(ge=1, le=100_000), "1 to 100000 epochs"]
    weight_decay: NotNegative = 0.0
    momentum: BelowOne = 0.0
    nesterov: bool = False
    decay: Literal["steps", "cosine"] = "steps"  # cosine: to 0, per batch
    warmup: Epochs = 0  # epochs with lr * (epoch + 1) / warmup
    # optimiser steps with lr * (step + 1) / warmup_steps; the decay begins there
    warmup_steps: Count = 0
    milestones: Distinct[Epochs] = ()  # 0-based epochs from which lr is multiplied by gamma
    gamma: Share = 0.1
    clip_norm: NotNegative = 0.0  # largest norm of a batch's gradient; 0: any
    version: int = 2


@dataclass(frozen=True)
class Mixture:
    """How an epoch is drawn when hard samples have spectra (METHOD: section 4.1 of the paper)."""

    keep: Share  # fraction of the non-tail images drawn each epoch
    tail_fraction: BelowOne | None  # tail share of the epoch; None: the share of tail classes
    version: int = 1


@dataclass(frozen=True)
class Recipe:
    """Everything that a profile fixes for a data set; each data set file holds one per profile."""

    profile: str
    backbone: Text
    # channels of the first stage of the backbone
    width: Annotated[int, Interval(ge=1, le=1024), "1 to 1024 channels"]
    scratch: Schedule  # for runs from random weights
    onward: Schedule | None  # for runs that start from another run's weights; None: none do
    curriculum_epochs: Epochs  # of the `onward` epochs, the first ones with synthetic images
    mixture: Mixture | None  # None: an epoch is the union of its parts
    levels: Distinct[Guidance]  # guidance levels below 1, ascending
    pool_seeds: Distinct[Seed]  # one spectrum per source and seed
    # CLIPScore below which a synthetic image is left out
    threshold: Annotated[float, Interval(ge=-1, le=1), "a CLIPScore is in [-1, 1]"]
    generator: Text  # "mini", a folder, or a hub name: "owner/name" or "owner/name@revision"
    clip: Text  # scoring model: "mini", "local-dir:folder", "hf-hub:name" or an open_clip name
    steps: Annotated[int, Interval(ge=1, le=1000), "the noise schedule has 1 to 1000 steps"]
    text_guidance: Number
    size_px: Side  # width of the generator's images, and their height unless height_px says another
    view_px: Side  # side of the images that the network sees
    run_seeds: Seeds = (0, 1, 2)
    imbalances: Distinct[Ratio] = ()
    augment: Text = (
        "crop-flip"  # of training images: a function of harness/training/augmentation.py
    )
    test_view: Text = "none"  # of test images: another one
    pretrained: Text | None = None  # image-text model a CLIP backbone starts from: "mini", name:tag
    # of training: float32; the same with matrix products of ten-bit mantissas on a GPU; mixed
    precision: Literal["no", "tf32", "bf16", "fp16"] = "no"
    probe_images: Count = 0  # hard images whose spectra an adaptive curriculum is validated on
    probe_train: Count = 0  # real images it trains on between its two looks
    # how class sizes decay where the data set's subset is drawn
    count_profile: Literal["floor", "multiplicative"] = "floor"
    # class sizes whose images are hard, where that is the rule
    tail: Literal["<20", "<=20"] = "<20"
    height_px: Height = 0  # of the generator's images; 0: squares
    approximate: Distinct[Text] = ()  # approximations of the generator that change pixels
    # the method whose p(true class) says which images are hard; None: the data set's HARD_BY
    hard_by: Text | None = field(default=None, metadata=ADDED_LATER)
    # how many of the least probable images are hard; 0: as many as the data set says
    hard_images: Count = field(default=0, metadata=ADDED_LATER)
    # epochs from one look at the test and validation splits to the next; the last one always is
    look_every: Every = field(default=1, metadata=ADDED_LATER)
    # of each class's images of a split, the first by id: what looks before the last epoch see
    look_share: AboveNothing = field(default=1.0, metadata=ADDED_LATER)
    # images whose activations are in memory at once; the step is still of the whole batch. 0: all
    micro_batch: Count = field(default=0, metadata=ADDED_LATER)
    # activations of an image-text model's blocks are computed again instead of being kept
    recompute: bool = field(default=False, metadata=ADDED_LATER)
    # batch norm over the batches of all processes of a data-parallel run
    sync_batch_norm: bool = field(default=False, metadata=ADDED_LATER)
    # of the generator: images denoised together; its arithmetic, None: float32 for the built-in
    # one and bfloat16 for others; its sampler
    generator_batch: Slots = field(default=16, metadata=ADDED_LATER)
    generator_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        default=None, metadata=ADDED_LATER
    )
    scheduler: Literal["ddim", "euler"] = field(default="ddim", metadata=ADDED_LATER)
    version: int = 3


@dataclass(frozen=True)
class RunSpec:
    """One training run without its ensemble; equal keys may share weights."""

    dataset: str
    imbalance: int | None
    method: str  # canonical expression
    arguments: str  # the same with every argument, defaults too
    seed: int
    recipe: Recipe  # without what the run does not read; models in folders by their digest
    index: str  # SHA-256 of the training index
    pool: str | None  # key of the pool rows the method may read
    start: str | None  # key of the run whose weights it starts from
    reference: str | None  # key of the run that the method consults
    pretrained: str | None  # SHA-256 of the pretrained model's files, or its commit on the hub
    version: int = 2


@dataclass(frozen=True)
class Machine:
    """Where work runs. Never part of a key."""

    keyable = False
    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    bars: bool = False  # progress bars inside a run
    # processes that prepare a run's pictures; 0: its own does; None: by device
    input_workers: int | None = None
    # whether a GPU makes the views of pictures, from the numbers that a CPU would draw: the same
    # ones but for rounding; None: by device
    device_views: bool | None = None
