"""CE: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from harness.methods.arguments import Later, Range
from harness.methods.sampling import CONTROL, SCALE, control_of
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


def term(
    *,
    control: Annotated[bool, CONTROL] = False,
    scale: Annotated[float | None, Range(0, 1000), Later, SCALE] = None,
) -> TermParts:
    """`control` needs no synthetic image: it is what DisCL's runs are compared with."""
    augment = control_of(control, scale)
    return TermParts(objective=CrossEntropy(), augment=augment, onward=control or None)
