"""CPU seconds of one core for a unit of work: those that ship, or those measured here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.core import documents, package_files
from harness.pipeline.workspace import Workspace

COSTS = Path(__file__).with_name("unit_costs.json")


@dataclass(frozen=True)
class UnitCosts:
    """CPU seconds; None where nobody measured it.

    Networks and the generator on a CPU are of profiles mini and smoke; views (a picture from its
    file to what the network reads) of all profiles, of pictures of the data set's usual size.
    """

    source: str  # where they were measured
    start_s: float = 4.5  # a process with PyTorch before it works
    light_s: float = 0.5  # one without
    run_s: float = 0.5  # a run beside its passes: tables read, predictions and weights written
    train_s: dict[str, float] = field(default_factory=dict)  # an image, by objective
    forward_s: float | None = None  # an image without gradients
    view_s: float | None = None
    test_view_s: float | None = None
    pool_view_s: float | None = None  # of a synthetic picture, in training
    step_s: float | None = None  # denoising an image by a step, both passes
    image_s: float | None = None  # decoding and storing an image
    source_s: float | None = None  # encoding a source
    store_s: float | None = None  # an image's bytes in its codec
    score_s: float | None = None  # an image's CLIP embedding
    score_view_s: float | None = None  # of it, what a GPU does not do
    draw_s: float = 0.00053  # a picture of the built-in world, of 32 px, into a block
    draw_file_s: float = 0.0012  # one of 64 px, into a JPEG file of its own

    def trained_s(self, objective: str) -> float | None:
        """Of an image in training; of an objective that nobody measured, the dearest one's."""
        return self.train_s.get(objective, max(self.train_s.values(), default=None))


# Fields that are not measured each time, but were once, on the machine of the file.
FIXED = ("start_s", "light_s", "run_s", "draw_s", "draw_file_s")


def name_of(workspace: Workspace) -> str:
    """What the costs of a workspace are filed under."""
    backbone = workspace.recipe.pretrained or workspace.recipe.backbone
    return f"{workspace.profile} {workspace.module.NAME} {backbone}"


def shipped(workspace: Workspace) -> UnitCosts:
    """Those of the package: of the recipe as the profile has it.

    Profile paper has them of views only, which are those of its own backbone.
    """
    content = _content()
    where = f"measured on {content['machine']}, {content['date']}, and shipped with the package"
    costs = content["costs"]
    known = costs.get(name_of(workspace), costs.get(name_of(workspace.of_own_backbone), {}))
    return UnitCosts(where, **known)


def plain(costs: UnitCosts) -> dict[str, Any]:
    """As the file holds them: what was measured, three figures each."""
    values = dataclasses.asdict(costs)
    for name in ("source", *FIXED):
        del values[name]
    return {name: _rounded(value) for name, value in values.items() if value is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.3g}")


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    return dict(documents.json_value(package_files.check(COSTS), "unit costs"))
