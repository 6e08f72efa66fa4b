"""BS: balanced softmax, Ren et al. 2020 (arXiv 2007.10740), equation 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from harness.methods.arguments import Later, OneOf, Range
from harness.methods.sampling import CONTROL, SCALE, control_of
from harness.methods.terms import Batch, Objective, TermParts

if TYPE_CHECKING:
    import torch

NAME = "BS"
ROWS = ("BS", "BS(control=True)")


class BalancedSoftmax(Objective):
    """Cross-entropy on logits + log prior; at test time the logits alone.

    counts: "real" or "epoch", the class counts that the loop takes the prior from.
    """

    def __init__(self, counts: str = "real") -> None:
        self.counts = counts

    def loss(self, model: Any, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(model.head(z) + batch.prior.log(), batch.y)


def term(
    *,
    control: Annotated[bool, CONTROL] = False,
    scale: Annotated[float | None, Range(0, 1000), Later, SCALE] = None,
    counts: Annotated[
        str, OneOf("real", "epoch"), "images that the prior counts: all real ones, or the epoch's"
    ] = "real",
) -> TermParts:
    """`control` needs no synthetic image: it is what DisCL's runs are compared with."""
    augment = control_of(control, scale)
    return TermParts(objective=BalancedSoftmax(counts), augment=augment, onward=control or None)
