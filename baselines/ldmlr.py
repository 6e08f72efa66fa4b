"""LDMLR: a linear head trained on generated features too (Han et al. 2024, arXiv 2404.04517).

Latent-based Diffusion Model for Long-tailed Recognition: (1) encode the training images with a
trained network, (2) train a class-conditional diffusion model on the features and generate more of
them, (3) train the network's linear head on both. Details are the released code's where the paper
leaves them open, and in sampling, by DDPM in all steps, where the paper speaks of DDIM.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from harness.core.errors import UsageError
from harness.core.metrics import GROUPS, RULES
from harness.core.specs import Schedule
from harness.methods.arguments import OneOf, Range
from harness.methods.terms import Finetune, Phase, TermParts, Tools

if TYPE_CHECKING:
    import polars as pl
    import torch

    from harness.models.feature_diffusion import Network

NAME = "LDMLR"
ROWS = ("CE+LDMLR",)
NETWORK, GENERATED = "latent-network.pt", "latent-features.pt"  # files in the run's folder
SAVE_S = 120.0  # between two checkpoints of the diffusion model, at ends of its epochs
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

    @property
    def network(self) -> tuple[object, ...]:
        """What the diffusion model's size depends on, besides its features and classes."""
        return self.dim, self.multipliers, self.heads, self.head_width, self.positions


class LatentDiffusion(Finetune):
    """Trains the head alone, on encoded and generated features.

    The diffusion model and what it generated are kept in the run's folder, so that a resumed run
    does not begin them again; randomness is a function of the seed and the epoch or batch.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.features: tuple[torch.Tensor, torch.Tensor] | None = None

    def start(self, model: Any, tools: Tools) -> None:
        import torch

        name = self._name(model, tools.data.rows)
        z, y = self._encoded(tools)  # in every process, even where another one's files are found
        labels = self._labels(tools.data.counts)
        saved = _read(tools, GENERATED, name)
        generated: list[torch.Tensor] = [] if saved is None else saved["z"]
        if sum(map(len, generated)) < len(labels):
            network = self._network(tools, name, z, y)
            generated = self._generated(tools, name, network, labels, generated)
        self.features = torch.cat([*generated, z]), torch.cat([labels, y])

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

        counts: training images by label; features: entries of z.
        """
        from harness.models.diffusion_counts import pass_flop

        s, n = self.settings, sum(counts)
        flop = pass_flop(features, len(counts), s.network)
        images = sum(numbers(counts, s.share, s.minimum, s.groups))
        passes = 3 * n * s.epochs + images * s.timesteps  # backward takes two
        return n, passes * flop / 1e12

    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The generated features, class by class, then the encoded ones, in the order drawn."""
        assert self.features is not None
        return self.features

    # ------------------------------------------------------------ stages 1 and 2

    def _encoded(self, tools: Tools) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, D) of all training images and their classes, in an order drawn once."""
        import torch

        generator = self._generator(ENCODE)
        rows = tools.data.rows
        rows = rows[torch.randperm(rows.height, generator=generator).tolist()]
        size = self.settings.encode_batch
        z = tools.features(rows, self.settings.seed, batch=size, batch_statistics=True)
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

        from harness.core.progress import ProgressBar
        from harness.models.feature_diffusion import Network, Process, learn

        s, classes, generator = self.settings, len(tools.data.counts), self._generator(START)
        shape = (s.dim, s.multipliers, (s.heads, s.head_width), s.positions)
        network = Network(z.shape[1], classes, *shape, generator).to(tools.device)
        kind = getattr(torch.optim, OPTIMISERS[s.optimiser])
        optimiser = kind(network.parameters(), lr=s.lr, fused=True)
        first, saved, saved_at = 0, _read(tools, NETWORK, name), time.monotonic()
        if saved is not None:
            first = saved["epoch"]
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
        process, z, y = Process(s.timesteps), z.to(tools.device), y.to(tools.device)
        batches = list(zip(z.split(s.batch), y.split(s.batch), strict=True))

        def keep(epochs: int) -> None:
            content = {"epoch": epochs, "network": network.state_dict()}
            _write(tools, NETWORK, name, content | {"optimiser": optimiser.state_dict()})

        progress: dict[str, Any] = {"initial": first, "desc": "diffusion", "unit": "epoch"}
        with ProgressBar(total=s.epochs, disable=not tools.bars, **progress) as bar:
            for epoch in range(first, s.epochs):
                loss = learn(network, process, optimiser, batches, self._generator(LEARN, epoch))
                bar.set_postfix(loss=f"{loss:.4g}")
                bar.update()
                if epoch + 1 == s.epochs or time.monotonic() - saved_at >= SAVE_S:
                    keep(epoch + 1)
                    saved_at = time.monotonic()
                tools.pause(partial(keep, epoch + 1))
        return network

    def _generated(
        self,
        tools: Tools,
        name: str,
        network: Network,
        labels: torch.Tensor,
        batches_done: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Features of these classes, in batches, of which `batches_done` are the first."""
        from harness.core.progress import ProgressBar
        from harness.models.feature_diffusion import Process

        process = Process(self.settings.timesteps)
        batches = labels.split(self.settings.sample_batch)
        total, done = (part * process.timesteps for part in (len(batches), len(batches_done)))
        progress: dict[str, Any] = {"initial": done, "desc": "features", "unit": "step"}
        with ProgressBar(total=total, disable=not tools.bars, **progress) as bar:

            def step() -> None:
                bar.update()
                tools.pause()

            for number in range(len(batches_done), len(batches)):
                y, generator = batches[number].to(tools.device), self._generator(SAMPLE, number)
                z = process.sample(network, y, network.length, generator, step)
                batches_done = [*batches_done, z.cpu()]
                _write(tools, GENERATED, name, {"z": batches_done})
        return batches_done

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
    """What a file of that name holds, None when there is none, or a damaged one."""
    from harness.models import torch_files

    again = "its features are made again"
    saved = torch_files.read_or_none(tools.folder / file, ("name",), again)
    if saved is None:
        return None
    identity, content = saved
    return content if identity == (name,) else None


def _write(tools: Tools, file: str, name: str, content: dict[str, Any]) -> None:
    from harness.models import torch_files

    torch_files.write(tools.folder / file, {"name": name, **content})


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


Rate = Annotated[float, Range(0, 1e3)]
Epochs = Annotated[int, Range(1, 1_000_000)]
Batch = Annotated[int, Range(1, 2**31)]
Count = Annotated[int, Range(1, 1024)]
Multiplier = Annotated[int, Range(1, 64)]
Group = Annotated[str, OneOf(*GROUPS)]


def term(
    *,
    dim: Annotated[
        int, Range(8, 8192, multiple=8), "channels of the diffusion model, times multipliers"
    ] = 64,
    multipliers: Annotated[tuple[Multiplier, ...], "one for each of its stages"] = (1, 2, 4, 8),
    heads: Annotated[Count, "of its attention"] = 4,
    head_width: Annotated[Count, "channels of each"] = 32,
    positions: Annotated[
        bool, "tells it which entry of a feature is which (ours); without, classes hardly differ"
    ] = False,
    timesteps: Annotated[int, Range(1, 100_000), "of the diffusion"] = 1000,
    epochs: Annotated[Epochs, "of the diffusion model"] = 201,
    optimiser: Annotated[
        str, OneOf(*OPTIMISERS), "of the diffusion model, without momentum or decay"
    ] = "sgd",
    lr: Annotated[Rate, "of the diffusion model"] = 1e-4,
    batch: Annotated[Batch, "features per step of the diffusion model"] = 256,
    encode_batch: Annotated[
        int, Range(2, 2**31), "images whose statistics batch norm uses together when encoding"
    ] = 64,
    share: Annotated[Rate, "features to generate for a class, as a share of its images"] = 0.2,
    minimum: Annotated[int, Range(0, 1_000_000), "features to generate for a class, at least"] = 5,
    groups: Annotated[tuple[Group, ...], "groups of classes that get them"] = GROUPS,
    sample_batch: Annotated[Batch, "features generated together"] = 1024,
    head_epochs: Annotated[Epochs, "of the head, with Adam"] = 400,
    head_lr: Annotated[Rate, "of the head"] = 1e-3,
    head_weight_decay: Annotated[Rate, "of the head"] = 1e-5,
    head_batch: Annotated[Batch, "features per step of the head"] = 1024,
    seed: Annotated[
        int, Range(0, 2**63 - 1), "of all randomness before the head, the same in all runs"
    ] = 123,
) -> TermParts:
    """Defaults are the released code's for CIFAR-100-LT; it starts from the run without this term.

    share, minimum, groups: see `numbers`. positions: see
    `harness.models.feature_diffusion.Network`.
    """
    settings = Settings(**locals())
    if len(set(groups)) < len(groups):
        raise UsageError(f"LDMLR(groups=...): {groups!r} is not allowed; it names a group twice")
    return TermParts(finetune=LatentDiffusion(settings), onward=True)
