"""Which packages the stages run: their sources are in records and in the stages' dependencies."""

from __future__ import annotations

from harness.core.source_digest import digest_of_packages

_DATA = ("harness.core", "harness.datasets", "harness.pipeline")
PACKAGES = {
    "index": (*_DATA, "harness.mini"),
    "hard": (*_DATA, "baselines", "harness.methods", "harness.models", "harness.training"),
    "generate": (*_DATA, "harness.generation", "harness.models", "harness.pool"),
    "score": (*_DATA, "harness.generation", "harness.models", "harness.pool"),
    "train": (
        *_DATA, "baselines", "harness.methods", "harness.models", "harness.pool", "harness.training"
    ),
}  # fmt: skip


def code_of(stage: str) -> str:
    """SHA-256 (hex) over the sources, without comments, of the packages that a stage runs."""
    return digest_of_packages(PACKAGES[stage])
