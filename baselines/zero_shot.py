"""Zero-shot: CLIP's classifier of captions, nothing trained (Radford et al. 2021, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.core.specs import Schedule
from harness.methods.terms import Finetune, Objective, Phase, TermParts

if TYPE_CHECKING:
    import torch

NAME = "Zero-shot"
ROWS = ("Zero-shot", "Zero-shot+WE")


class CaptionHead(Objective):
    """Reads out by the captions of the classes: exp(logit_scale) * cosine with a class's vector."""

    trains: tuple[str, ...] = ()

    def start(self, model: Any, data: Any) -> None:
        self.captions = data.captions

    def ready(self, model: Any) -> None:
        from harness.models.clip import zero_shot

        self.head = zero_shot(model, self.captions)

    def logits(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import normalize

        return normalize(z.float(), dim=1) @ self.head.T


class Untrained(Finetune):
    """The weights stay as they come."""

    def phases(self, schedule: Schedule) -> tuple[Phase, ...]:
        return ()


def term() -> TermParts:
    return TermParts(objective=CaptionHead(), finetune=Untrained(), needs_text=True)
