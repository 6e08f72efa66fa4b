"""CE: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.core.registry import one_of
from harness.methods.sampling import Control
from harness.methods.terms import Batch, Objective, TermParts

if TYPE_CHECKING:
    import torch

NAME = "CE"
ROWS = ("CE", "CE(control=True)")


class CrossEntropy(Objective):
    """Mean of -log softmax(logits)_y."""

    def loss(self, model: Any, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(model.head(z), batch.y)


def term(*, control: bool = False) -> TermParts:
    """control: onward from this run, with epochs as for spectra but of real images only."""
    one_of("CE(control=...)", control, (False, True))
    augment, onward = (Control(), True) if control else (None, None)
    return TermParts(objective=CrossEntropy(), augment=augment, onward=onward)
