"""FLOPs of the feature diffusion model of LDMLR, known for the classifiers of all recipes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from harness.core import documents, package_files

COUNTS = Path(__file__).with_name(
    "diffusion_counts.json"
)  # python -m harness.planning.network_counts


def pass_flop(features: int, classes: int, settings: tuple[object, ...]) -> int:
    """FLOPs of one forward pass of one feature; counted now where nobody counted before.

    settings: dim, multipliers, heads, head_width, positions of
    harness.models.feature_diffusion.Network.
    """
    known = _known().get(name(features, classes, settings))
    return count(features, classes, settings) if known is None else known


def name(features: int, classes: int, settings: tuple[object, ...]) -> str:
    """As the file of counts names it."""
    return f"{features} {classes} {settings}"


@lru_cache(maxsize=1)
def _known() -> dict[str, int]:
    counts: dict[str, int] = documents.json_value(package_files.check(COUNTS), "counts")
    return counts


def count(features: int, classes: int, settings: tuple[object, ...]) -> int:
    """Counted by PyTorch on meta tensors; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from harness.models.feature_diffusion import Network

    dim, multipliers, heads, head_width, positions = settings
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        attention = (heads, head_width)
        network = Network(features, classes, dim, multipliers, attention, positions)  # type: ignore[arg-type]
        t = y = torch.zeros(1, dtype=torch.int64)
        network(torch.zeros(1, features), t, y)
    return int(counter.get_total_flops())
