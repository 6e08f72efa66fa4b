"""The built-in models that ship with the package: their folders, and digests of weights."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from harness.core import documents, package_files, regular_files
from harness.core.errors import DataError

MODELS = Path(__file__).parent / "models"
BUILT_IN = "mini"  # the name under which a recipe asks for them
# Of files that a model consists of; the built-in ones have the first three only.
SUFFIXES = (".json", ".safetensors", ".txt", ".bin", ".model", ".pt", ".pth")
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
    """SHA-256 over the model files of a folder: their names below it, and their bytes.

    DataError for a folder without any, Damaged for one of the package that is not as it was
    shipped. Files are read once per process, unless they change.
    """
    folder = Path(source)
    package_files.check_folder(folder)
    files = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES)
    if not files:
        raise DataError(f"no model files in {folder}")
    for path in files:
        regular_files.refuse_other_kinds(path, "a model file")
    states = [(path, path.stat()) for path in files if path.is_file()]
    return _digest(folder, tuple((path, s.st_size, s.st_mtime_ns) for path, s in states))


@lru_cache(maxsize=16)
def _digest(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.relative_to(folder)} {size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return digest.hexdigest()
