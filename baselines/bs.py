"""BS: balanced softmax, Ren et al. 2020 (arXiv 2007.10740), equation 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.lookup import one_of
from harness.mixture import Control
from harness.types import Slots

if TYPE_CHECKING:
    import torch

NAME = "BS"


class BalancedSoftmax:
    """Cross-entropy on logits + log prior; at test time the logits alone.

    counts: "real" or "epoch", the class counts that the loop takes the prior from.
    """

    def __init__(self, counts: str = "real") -> None:
        self.counts = counts

    def loss(self, model: Any, z: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> Any:
        """z (B, D) features, y (B,) labels, prior (C,) class shares, sums to 1."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(model.head(z) + prior.log(), y)

    def logits(self, model: Any, z: torch.Tensor) -> Any:
        return model.head(z)


def term(*, control: bool = False, counts: str = "real") -> Slots:
    """control: onward from this run, with epochs as for spectra but of real images only."""
    one_of("BS(control=...)", control, (False, True))
    one_of("BS(counts=...)", counts, ("real", "epoch"))
    augment, onward = (Control(), True) if control else (None, None)
    return Slots(objective=BalancedSoftmax(counts), augment=augment, onward=onward)
