"""LDMLR: a linear head trained on generated features too (Han et al. 2024, arXiv 2404.04517).

Latent-based Diffusion Model for Long-tailed Recognition: (1) encode the training images with a
trained network, (2) train a class-conditional diffusion model on the features and generate more of
them, (3) train the network's linear head on both. Details are the released code's where the paper
leaves them open, and in sampling, by DDPM in all steps, where the paper speaks of DDIM.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError
from harness.core.metrics import GROUPS, RULES
from harness.core.registry import one_of
from harness.core.specs import Schedule
from harness.methods.terms import Finetune, Phase, TermParts, Tools

if TYPE_CHECKING:
    import polars as pl
    import torch

    from harness.models.feature_diffusion import Network

NAME = "LDMLR"
ROWS = ("CE+LDMLR",)
NETWORK, GENERATED = "latent-network.pt", "latent-features.pt"  # files in the run's folder
SAVE_EVERY = 50  # epochs of the diffusion model, as released
ENCODE, START, LEARN, SAMPLE = range(4)  # what randomness is for
OPTIMISERS = {"sgd": "SGD", "adam": "Adam"}  # of torch.optim


@dataclass(frozen=True)
class Settings:
    """See `term`."""

    dim: int
    multipliers: tuple[int, ...]
    heads: int
    head_width: int
    positions: bool
    timesteps: int
    epochs: int
    optimiser: str
    lr: float
    batch: int
    encode_batch: int
    share: float
    minimum: int
    groups: tuple[str, ...]
    sample_batch: int
    head_epochs: int
    head_lr: float
    head_weight_decay: float
    head_batch: int
    seed: int


class LatentDiffusion(Finetune):
    """Trains the head alone, on encoded and generated features.

    The diffusion model and what it generated are kept in the run's folder, so that a resumed run
    does not begin them again; randomness is a function of the seed and the epoch or batch.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.made_and_real: tuple[torch.Tensor, torch.Tensor] | None = None

    def start(self, model: Any, tools: Tools) -> None:
        import torch

        name = self._name(model, tools.data.rows)
        z, y = self._encoded(tools)  # in every process, even where another one's files are found
        labels = self._labels(tools.data.counts)
        kept = _read(tools, GENERATED, name)
        made: list[torch.Tensor] = [] if kept is None else kept["z"]
        if sum(map(len, made)) < len(labels):
            network = self._network(tools, name, z, y)
            made = self._generated(tools, name, network, labels, made)
        self.made_and_real = torch.cat([*made, z]), torch.cat([labels, y])

    def phases(self, schedule: Schedule) -> tuple[Phase, ...]:
        s = self.settings
        head = Schedule(
            optimiser="adam",
            lr=s.head_lr,
            weight_decay=s.head_weight_decay,
            batch=s.head_batch,
            epochs=s.head_epochs,
        )
        return (Phase("head", schedule=head, trains=("head",), on_features=True),)

    def price(self, counts: Sequence[int], features: int) -> tuple[int, float]:
        """Images to encode, and TFLOP of training and sampling the diffusion model.

        counts: training images by label; features: entries of z. Counted on meta tensors.
        """
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from harness.models.feature_diffusion import Network

        s, n = self.settings, sum(counts)
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            heads = (s.heads, s.head_width)
            network = Network(features, len(counts), s.dim, s.multipliers, heads, s.positions)
            t = y = torch.zeros(1, dtype=torch.int64)
            network(torch.zeros(1, features), t, y)
        made = sum(numbers(counts, s.share, s.minimum, s.groups))
        passes = 3 * n * s.epochs + made * s.timesteps  # backward takes two
        return n, passes * counter.get_total_flops() / 1e12

    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The generated features, class by class, then the encoded ones, in the order drawn."""
        assert self.made_and_real is not None
        return self.made_and_real

    # ------------------------------------------------------------ stages 1 and 2

    def _encoded(self, tools: Tools) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, D) of all training images and their classes, in an order drawn once."""
        import torch

        generator = self._generator(ENCODE)
        rows = tools.data.rows
        rows = rows[torch.randperm(rows.height, generator=generator).tolist()]
        size = self.settings.encode_batch
        z = tools.features(rows, generator, batch=size, batch_statistics=True)
        return z, torch.tensor(rows["label"].to_list())

    def _labels(self, counts: Sequence[int]) -> torch.Tensor:
        """Classes of the features to generate, ascending."""
        import torch

        s = self.settings
        many = numbers(counts, s.share, s.minimum, s.groups)
        return torch.arange(len(counts)).repeat_interleave(torch.tensor(many))

    def _network(self, tools: Tools, name: str, z: torch.Tensor, y: torch.Tensor) -> Network:
        """The diffusion model after its last epoch, on the device."""
        import torch
        from tqdm import tqdm

        from harness.models.feature_diffusion import Network, Process, learn

        s, classes, generator = self.settings, len(tools.data.counts), self._generator(START)
        shape = (s.dim, s.multipliers, (s.heads, s.head_width), s.positions)
        network = Network(z.shape[1], classes, *shape, generator).to(tools.device)
        kind = getattr(torch.optim, OPTIMISERS[s.optimiser])
        optimiser = kind(network.parameters(), lr=s.lr, fused=True)
        first, kept = 0, _read(tools, NETWORK, name)
        if kept is not None:
            first = kept["epoch"]
            network.load_state_dict(kept["network"])
            optimiser.load_state_dict(kept["optimiser"])
        process, z, y = Process(s.timesteps), z.to(tools.device), y.to(tools.device)
        batches = list(zip(z.split(s.batch), y.split(s.batch), strict=True))
        told: dict[str, Any] = {"initial": first, "desc": "diffusion", "unit": "epoch"}
        with tqdm(total=s.epochs, disable=not tools.bars, **told) as bar:
            for epoch in range(first, s.epochs):
                loss = learn(network, process, optimiser, batches, self._generator(LEARN, epoch))
                bar.set_postfix(loss=f"{loss:.4g}")
                bar.update()
                if (epoch + 1) % SAVE_EVERY == 0 or epoch + 1 == s.epochs:
                    content = {"epoch": epoch + 1, "network": network.state_dict()}
                    content["optimiser"] = optimiser.state_dict()
                    _write(tools, NETWORK, name, content)
        return network

    def _generated(
        self,
        tools: Tools,
        name: str,
        network: Network,
        labels: torch.Tensor,
        made: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Features of these classes, in batches, of which `made` are the first."""
        from tqdm import tqdm

        from harness.models.feature_diffusion import Process

        process = Process(self.settings.timesteps)
        batches = labels.split(self.settings.sample_batch)
        total, done = (part * process.timesteps for part in (len(batches), len(made)))
        told: dict[str, Any] = {"initial": done, "desc": "features", "unit": "step"}
        with tqdm(total=total, disable=not tools.bars, **told) as bar:
            for number in range(len(made), len(batches)):
                y, generator = batches[number].to(tools.device), self._generator(SAMPLE, number)
                z = process.sample(network, y, network.length, generator, bar.update)
                made = [*made, z.cpu()]
                _write(tools, GENERATED, name, {"z": made})
        return made

    # ------------------------------------------------------------ identity

    def _generator(self, *what: int) -> torch.Generator:
        import numpy as np
        import torch

        drawn = np.random.SeedSequence((self.settings.seed, *what)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(drawn[0]) >> 1)

    def _name(self, model: Any, rows: pl.DataFrame) -> str:
        """SHA-256 of what the features follow from."""
        from harness.training.checkpoint import fingerprint

        parts = (astuple(self.settings), rows.select("image", "label"), model.encoder.state_dict())
        return fingerprint(parts)


def numbers(
    counts: Sequence[int], share: float, minimum: int, groups: Sequence[str]
) -> tuple[int, ...]:
    """How many features to generate per class, by its training images.

    max(round(share * n), minimum), halves rounded to even; none for a class without images or of
    another group (many: 100 images or more, few: fewer than 20).
    """
    rule = RULES["B"]
    return tuple(
        max(round(share * n), minimum) if n and GROUPS[rule.group(n)] in groups else 0
        for n in counts
    )


# ---------------------------------------------------------------- files


def _read(tools: Tools, file: str, name: str) -> dict[str, Any] | None:
    """What a file of that name holds, None when there is none. DataError for a damaged file."""
    import torch

    path = tools.folder / file
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return content if content.pop("name") == name else None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
    ) as e:
        raise DataError(f"{path} is damaged; remove it to make its features again") from e


def _write(tools: Tools, file: str, name: str, content: dict[str, Any]) -> None:
    import torch

    from harness.core.files import write_atomic

    buffer = io.BytesIO()  # torch hides a full disk behind RuntimeError
    torch.save({"name": name, **content}, buffer)
    write_atomic(tools.folder / file, buffer.getbuffer())


# ---------------------------------------------------------------- the term


def defaults(dataset: str, profile: str) -> dict[str, Any]:
    """ImageNet's network for all large pictures; small ones, ours, on the built-in world.

    There, 2,600 features of 128 entries and 630 generated ones take 12 to 17 CPU-seconds with the
    profile mini and 4 with smoke.
    """
    if profile == "paper":
        large = {"dim": 512, "multipliers": (1, 2, 4), "encode_batch": 128}  # released, ImageNet
        return {} if dataset == "cifar100-lt" else large
    small = {
        "dim": 8,
        "multipliers": (1, 2),
        "heads": 2,
        "head_width": 8,
        "timesteps": 16,
        "epochs": 3,
        "optimiser": "adam",  # mini ends at a loss of 0.38; with published SGD, at 6.4
        "lr": 0.01,
        "batch": 64,
        "head_epochs": 40,
        "head_batch": 256,
    }
    if profile == "smoke":
        small |= {"timesteps": 4, "epochs": 1, "batch": 256, "head_epochs": 5}
    return small


def term(
    *,
    dim: int = 64,
    multipliers: tuple[int, ...] = (1, 2, 4, 8),
    heads: int = 4,
    head_width: int = 32,
    positions: bool = False,
    timesteps: int = 1000,
    epochs: int = 201,
    optimiser: str = "sgd",
    lr: float = 1e-4,
    batch: int = 256,
    encode_batch: int = 64,
    share: float = 0.2,
    minimum: int = 5,
    groups: tuple[str, ...] = GROUPS,
    sample_batch: int = 1024,
    head_epochs: int = 400,
    head_lr: float = 1e-3,
    head_weight_decay: float = 1e-5,
    head_batch: int = 1024,
    seed: int = 123,
) -> TermParts:
    """Defaults are the released code's for CIFAR-100-LT; it starts from the run without this term.

    Diffusion model: channels `dim` times `multipliers`, attention of `heads` by `head_width`,
    `timesteps`; trained for `epochs` without momentum or decay on batches of `batch` features.
    encode_batch: images whose statistics the encoder's batch norm uses together.
    share, minimum, groups: see `numbers`; sample_batch: features generated together.
    head_*: Adam's, on the head. seed: of all randomness before the head, the same in all runs.
    positions: tells the diffusion model which entry of a feature is which; ours: without it,
    generated features hardly differ between classes (see
    `harness.models.feature_diffusion.Network`).
    """
    settings = Settings(**locals())
    _check(settings)
    return TermParts(finetune=LatentDiffusion(settings), onward=True)


def _check(settings: Settings) -> None:
    for argument, low, high in (
        ("dim", 8, 8192),
        ("heads", 1, 1024),
        ("head_width", 1, 1024),
        ("timesteps", 1, 100_000),
        ("epochs", 1, 1_000_000),
        ("batch", 1, 2**31),
        ("encode_batch", 2, 2**31),
        ("minimum", 0, 1_000_000),
        ("sample_batch", 1, 2**31),
        ("head_epochs", 1, 1_000_000),
        ("head_batch", 1, 2**31),
        ("seed", 0, 2**63 - 1),
    ):
        value = getattr(settings, argument)
        _allowed(argument, value, _whole(value, low, high), f"a whole number in [{low}, {high}]")
    for argument, most in (
        ("lr", 1e3),
        ("share", 1e3),
        ("head_lr", 1e3),
        ("head_weight_decay", 1e3),
    ):
        value = getattr(settings, argument)
        fits = type(value) in (int, float) and math.isfinite(value) and 0 <= value <= most
        _allowed(argument, value, fits, f"a number in [0, {most:g}]")
    _allowed("dim", settings.dim, settings.dim % 8 == 0, "a multiple of 8")
    one_of("LDMLR(positions=...)", settings.positions, (False, True))
    one_of("LDMLR(optimiser=...)", settings.optimiser, tuple(OPTIMISERS))
    several = settings.multipliers
    fits = type(several) is tuple and several and all(_whole(m, 1, 64) for m in several)
    _allowed("multipliers", several, fits, "a tuple of whole numbers in [1, 64]")
    chosen = settings.groups
    fits = type(chosen) is tuple and chosen and len(set(chosen)) == len(chosen)
    _allowed("groups", chosen, fits, f"a tuple of some of {', '.join(GROUPS)}")
    for group in chosen:
        one_of("LDMLR(groups=...)", group, GROUPS)


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _allowed(argument: str, value: Any, fits: Any, what: str) -> None:
    if not fits:
        raise UsageError(f"LDMLR({argument}=...): {value!r} is not allowed; {what}")
