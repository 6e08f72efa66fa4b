"""FLYP, "finetune like you pretrain": CLIP's own loss (Goyal et al. 2023, arXiv 2212.00638)."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from baselines.zero_shot import CaptionHead
from harness.core.errors import DataError
from harness.methods.terms import Augment, Batch, Progress, TermParts, Tools

if TYPE_CHECKING:
    import polars as pl
    import torch

NAME = "FLYP"
ROWS = ("FLYP", "FLYP+WE")


class Contrastive(CaptionHead):
    """Each image of a batch is to find its caption among the batch's, each caption its image.

    Captions of other images are negatives even where the class is the same, as in pretraining.
    Read-out by the text tower as it is then.
    """

    trains = ("encoder", "text", "logit_scale")
    whole_batch = True

    def start(self, model: Any, data: Any) -> None:
        import torch

        super().start(model, data)
        device = model.logit_scale.device
        self.ids = model.tokenise([c for some in self.captions for c in some]).to(device)
        first = list(accumulate([len(some) for some in self.captions], initial=0))
        self.first = torch.tensor(first[:-1], device=device)  # (C,) row of a class's caption 0

    def loss(self, model: Any, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        """batch.caption: numbers below the count of its class's captions.

        Texts that occur more than once are embedded once.
        """
        used, place = (self.first[batch.y] + batch.caption).unique(return_inverse=True)
        return contrastive(z, model.text(self.ids[used])[place], model.logit_scale)


def contrastive(z: torch.Tensor, v: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """1/2 (CE(S, own) + CE(S^T, own)), means; S = exp(logit_scale) u v^T of unit rows (B, D).

    In a data-parallel run the batch is that of all processes, so each returns the same number, and
    gradients averaged over processes are those of the whole batch, however unequal its parts.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    from harness.models.clip import of_all_ranks

    with torch.autocast(z.device.type, enabled=False):  # half of a large S has few digits left
        exact = torch.promote_types(z.dtype, torch.float32)
        u, v = normalize(z.to(exact), dim=1), normalize(v.to(exact), dim=1)
        u, v = of_all_ranks(torch.cat([u, v], dim=1)).chunk(2, dim=1)
        s = logit_scale.exp() * u @ v.T
        own = torch.arange(len(s), device=s.device)
        return (cross_entropy(s, own) + cross_entropy(s.T, own)) / 2


class InTurn(Augment):
    """Gives each row of an epoch one of its class's k captions; k epochs make a round.

    A row that stays has every caption once in a round, the first one drawn anew for each round;
    copies of one image in an epoch take different ones. So N images with two captions are 2N
    pairs, half of them in each epoch, whatever rows come and go beside them.
    """

    def start(self, model: Any, tools: Tools) -> None:
        import numpy as np

        self.per_class = np.array([len(some) for some in tools.data.captions])
        if self.per_class.max() > 127:
            raise DataError(f"{self.per_class.max()} captions of a class; up to 127 are possible")

    def dress(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        seed = progress.state.setdefault("captions", int(progress.rng.integers(2**63)))
        image, k = rows["image"].to_numpy(), self.per_class[rows["label"].to_numpy()]
        copy = rows.select(copy=pl.int_range(pl.len()).over("image"))["copy"].to_numpy()
        first = np.zeros(len(k), np.int64)
        for n in np.unique(k):
            draws = np.random.default_rng([seed, progress.epoch // n]).random(image.max() + 1)
            first[k == n] = (n * draws[image[k == n]]).astype(np.int64)
        caption = (first + progress.epoch + copy) % k
        return rows.with_columns(pl.Series("caption", caption, dtype=pl.Int8))


def term() -> TermParts:
    return TermParts(objective=Contrastive(), augment=InTurn(), needs_text=True)
