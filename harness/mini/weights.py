"""The built-in models that ship with the package: their folders, and digests of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.core import documents
from harness.core.errors import DataError

MODELS = Path(__file__).parent / "models"
BUILT_IN = "mini"  # the name under which a recipe asks for them
BUILT_IN_CLIPS = {BUILT_IN: "clip", "mini-large": "clip-large"}  # and their folders there


def built_in_generator() -> Path:
    """Folder of the built-in generator."""
    return MODELS / "generator"


def built_in_clip(name: str) -> Path | None:
    """Folder of a built-in CLIP; None for a model of another name."""
    return MODELS / BUILT_IN_CLIPS[name] if name in BUILT_IN_CLIPS else None


def built_in_px() -> int | None:
    """Side of the built-in generator's pictures; None where it is not installed."""
    path = built_in_generator() / "vae" / "config.json"
    return (
        int(documents.json_value(path, "configuration")["sample_size"]) if path.is_file() else None
    )


def weights_digest(source: str) -> str:
    """SHA-256 over the model files of a folder (names and bytes); a hub name stands for itself.

    DataError for a folder without any, and for the built-in models where they are not installed.
    """
    folder = Path(source)
    if not folder.is_dir() and not folder.is_relative_to(MODELS):
        return source
    digest = hashlib.sha256()
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors", ".txt"))
    if not files:
        raise DataError(f"no model files in {folder}")
    for path in files:
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
