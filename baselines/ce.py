"""CE: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.lookup import one_of
from harness.mixture import Control
from harness.types import Slots

if TYPE_CHECKING:
    import torch

NAME = "CE"


class CrossEntropy:
    """Mean of -log softmax(logits)_y."""

    def loss(self, model: Any, z: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> Any:
        """z (B, D) features, y (B,) labels; the prior has no part in it."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(model.head(z), y)

    def logits(self, model: Any, z: torch.Tensor) -> Any:
        return model.head(z)


def term(*, control: bool = False) -> Slots:
    """control: onward from this run, with epochs as for spectra but of real images only."""
    one_of("CE(control=...)", control, (False, True))
    augment, onward = (Control(), True) if control else (None, None)
    return Slots(objective=CrossEntropy(), augment=augment, onward=onward)
