"""CE: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from harness.methods.sampling import CONTROL, Control
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


def term(*, control: Annotated[bool, CONTROL] = False) -> TermParts:
    """`control` needs no synthetic image: it is what DisCL's runs are compared with."""
    augment, onward = (Control(), True) if control else (None, None)
    return TermParts(objective=CrossEntropy(), augment=augment, onward=onward)
