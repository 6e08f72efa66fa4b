"""LP-FT: a linear probe, then fine-tuning of everything (Kumar et al. 2022, arXiv 2202.10054)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from harness.core.errors import DataError, UsageError
from harness.core.specs import Schedule
from harness.methods.arguments import Range
from harness.methods.terms import Batch, Finetune, Objective, Phase, TermParts, Tools

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import torch

    from harness.models.logistic_regression import Probe

NAME = "LP-FT"
ROWS = ("LP-FT", "LP-FT+WE")
FILE = "probe.pt"
BATCH = 256  # images whose features are taken at once


class LinearHead(Objective):
    """Cross-entropy of the linear head."""

    def loss(self, model: Any, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(model.head(z), batch.y)


@dataclass(frozen=True)
class Settings:
    """Of the probe; see `term`."""

    grid: int
    smallest: float
    largest: float
    max_iter: int
    tolerance: float
    held_out: float
    seed: int


class ProbeFirst(Finetune):
    """Starts as the zero-shot classifier, and goes on from a linear probe of the start's features.

    What counts as the start (WE merges with it) has the class vectors of the captions as its head,
    divided by the mean length of the training images' embeddings: the head reads embeddings that
    are not of unit length, so this gives the zero-shot predictions with logits of CLIP's size.
    """

    validates = True  # the validation split chooses C, where there is one

    def __init__(self, settings: Settings, clip_norm: float) -> None:
        self.settings, self.clip_norm = settings, clip_norm
        self.z: torch.Tensor | None = None

    def first_weights(self, model: Any, tools: Tools) -> None:
        import torch

        from harness.models.clip import zero_shot

        length = self._features(tools).norm(dim=1).mean()
        with torch.no_grad():
            model.head.weight.copy_(zero_shot(model, tools.data.captions) / length)
            model.head.bias.zero_()

    def start(self, model: Any, tools: Tools) -> None:
        """The probe is kept in the run's folder, so that a resumed run need not fit it again."""
        import torch

        judges = self._judges(tools)  # in every process, even where another one's probe is found
        name = self._name(model, tools.data.rows)
        probe = _read(tools, name)
        if probe is None:
            probe = self._fitted(tools, *judges)
            _write(tools, name, probe)
        self.z = None
        with torch.no_grad():
            model.head.weight.copy_(probe.weight)
            model.head.bias.copy_(probe.bias)

    def phases(self, schedule: Schedule) -> tuple[Phase, ...]:
        return (Phase("all", replace(schedule, clip_norm=self.clip_norm)),)

    def price(self, counts: Sequence[int], features: int) -> tuple[int, float]:
        """Images to encode, and at most so many TFLOP (float64) of fitting the probes.

        counts: training images by label; features: entries of z. A step of L-BFGS takes one
        product of features and weights, and one of features and residuals.
        """
        n = sum(counts)
        steps = self.settings.grid * self.settings.max_iter
        return n, steps * 2 * 2 * n * (features + 1) * len(counts) / 1e12

    def _features(self, tools: Tools) -> torch.Tensor:
        """(N, D) of the training rows, augmented once."""
        if self.z is None:
            rows, seed = tools.data.rows, self.settings.seed
            self.z = tools.features(rows, seed, batch=BATCH, batch_statistics=False)
        return self.z

    def _name(self, model: Any, rows: pl.DataFrame) -> str:
        """SHA-256 of what the probe follows from."""
        from harness.training.checkpoint import fingerprint

        parts = (astuple(self.settings), rows.select("image", "label"), model.encoder.state_dict())
        return fingerprint(parts)

    def _fitted(
        self, tools: Tools, judges: torch.Tensor, truth: np.ndarray, training: np.ndarray
    ) -> Probe:
        """The probe with the best validation accuracy, of equal ones that of the smallest C."""
        import numpy as np

        from harness.models.logistic_regression import Fit

        settings, z = self.settings, self._features(tools)
        labels = tools.data.rows["label"].to_numpy()
        fit = Fit(len(tools.data.counts), float(z.mean()), float(z.std(correction=0)), tools.device)
        strengths = np.geomspace(settings.smallest, settings.largest, settings.grid)
        ends = (settings.max_iter, settings.tolerance)
        best, theta = None, None
        for probe, optimum in fit.path(z[training], labels[training], strengths, *ends):
            guesses = (judges @ probe.weight.T + probe.bias).argmax(1).numpy()
            probe.accuracy = float((guesses == truth).mean())
            if best is None or probe.accuracy > best.accuracy:
                best, theta = probe, optimum
        assert best is not None
        if len(training) < len(labels):
            again = fit.path(z, labels, np.array([best.strength]), *ends, first=theta)
            best = replace(next(again)[0], accuracy=best.accuracy)
        return best

    def _judges(self, tools: Tools) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Features and labels that choose C, and the numbers of the training rows to fit on.

        They are the validation split's, as tested; without one those of a share of every class's
        training images, and the C chosen is then fitted to all.
        """
        import numpy as np

        data, labels = tools.data, tools.data.rows["label"].to_numpy()
        if data.val is not None:
            every = np.arange(len(labels))
            return tools.tested(data.val), data.splits[data.val].labels, every
        rng = np.random.default_rng(self.settings.seed)
        judge = stratified(labels, self.settings.held_out, rng)
        return self._features(tools)[judge], labels[judge], np.flatnonzero(~judge)


def stratified(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A mask (N,) of int(share * n) random members of every class with n.

    DataError when that is none at all.
    """
    import numpy as np

    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[rng.permutation(members)[: int(share * len(members))]] = True
    if not mask.any():
        raise DataError(
            f"LP-FT chooses its probe on {share:g} of every class's images, but no class has that "
            "many; the data set has no validation split either"
        )
    return mask


# ---------------------------------------------------------------- the probe's file


def _read(tools: Tools, name: str) -> Probe | None:
    """The probe of that name, None when there is none, or a damaged one."""
    from harness.models import torch_files
    from harness.models.logistic_regression import Probe

    saved = torch_files.read_or_none(tools.folder / FILE, ("name",), "the probe is fitted again")
    if saved is None or saved[0] != (name,):
        return None
    about = saved[1]
    return Probe(about["weight"], about["bias"], about["C"], about["accuracy"])


def _write(tools: Tools, name: str, probe: Probe) -> None:
    from harness.models import torch_files

    about = {"name": name, "C": float(probe.strength), "accuracy": float(probe.accuracy)}
    torch_files.write(tools.folder / FILE, about | {"weight": probe.weight, "bias": probe.bias})


# ---------------------------------------------------------------- the term


def defaults(dataset: str, profile: str) -> dict[str, Any]:
    """On the built-in world one C per power of ten."""
    return {} if profile == "paper" else {"grid": 10, "max_iter": 50}


NotNegative = Annotated[float, Range(0, 1e30)]
Positive = Annotated[float, Range(0, 1e30, open_ends=True)]
Fraction = Annotated[float, Range(0, 1, open_ends=True)]


def term(
    *,
    grid: Annotated[int, Range(1, 1000), "values of C to try, equal ratios apart"] = 50,
    smallest: Annotated[Positive, "smallest of these values"] = 1e-7,
    largest: Annotated[Positive, "largest of these values"] = 1e2,
    max_iter: Annotated[int, Range(1, 100_000), "steps of L-BFGS for each value"] = 200,
    tolerance: Annotated[Fraction, "of the gradient's largest entry: then L-BFGS stops"] = 1e-4,
    held_out: Annotated[
        Fraction, "share of training images that choose C without a validation split (ours)"
    ] = 0.2,
    seed: Annotated[
        int, Range(0, 2**63 - 1), "of the probe's augmentation and that choice, in all runs (ours)"
    ] = 0,
    clip_norm: Annotated[NotNegative, "largest norm of a batch's gradient; 0: any"] = 1.0,
) -> TermParts:
    """C is the probe's inverse penalty.

    Grid, range and max_iter are the authors' code's; the tolerance is that of scikit-learn, which
    it calls. clip_norm is that of WiSE-FT's fine-tuning; it holds instead of the recipe's.
    """
    if smallest > largest:
        raise UsageError(f"LP-FT(smallest={smallest!r}, largest={largest!r}): none lies between")
    settings = Settings(grid, smallest, largest, max_iter, tolerance, held_out, seed)
    probe_first = ProbeFirst(settings, clip_norm)
    return TermParts(objective=LinearHead(), finetune=probe_first, needs_text=True)
