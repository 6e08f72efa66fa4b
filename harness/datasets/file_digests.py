"""The digests of a data set's files: written once, and checked whenever a file is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from harness.core.digests import LISTING, check_file, of_file, read_listing, write_listing
from harness.core.errors import DataError
from harness.core.progress import ProgressBar
from harness.datasets import pictures
from harness.datasets.base import Dataset
from harness.datasets.offences import Faults

LARGEST_MIB = 1024  # of a list of pictures, or of pictures in one file; archives are larger


def write(root: Path, data: Dataset) -> tuple[Path, int]:
    """Write files.sha256 with the SHA-256 of every picture and list; its path, and their number.

    root: below which the data set was read. Every picture is decoded. Offences (a DataError) of
    those that do not decode, and of files that are not what the listing of before says; then
    nothing is written.
    """
    folder, paths = _pictures(root, data)
    listing = folder / LISTING
    known = read_listing(listing, f"delete {listing} to write it anew")
    beside = [name for name in _beside(folder) if name not in {*paths}]
    faults, found = Faults(), dict(known)
    with ProgressBar(total=len(paths) + len(beside), desc="digests", unit="file") as bar:
        for name in beside:
            with faults.gathering():
                found[name] = _as_before(folder / name, of_file(folder / name), known.get(name))
            bar.update()
        digests = pictures.each(_examined, [folder / path for path in paths])
        for path, digest in zip(paths, digests, strict=True):
            with faults.gathering():
                found[path] = _as_before(folder / path, digest, known.get(path))
            bar.update()
    faults.refuse()
    write_listing(listing, found)
    return listing, len(found)


def check_lists(folder: Path, known: Mapping[str, str], paths: Collection[str] = ()) -> None:
    """Damaged unless the files directly in the folder that a listing names are as it says.

    paths: pictures, which are checked when they are read.
    """
    for name in (name for name in known if "/" not in name and name not in paths):
        if _is_list(folder / name):
            check_file(folder / name, known[name], pictures.AGAIN)


def _pictures(root: Path, data: Dataset) -> tuple[Path, list[str]]:
    """The folder that has the listing, and the paths of the pictures below it, each once."""
    every = [data.train_images, *(split.images for split in data.splits.values())]
    files = [images for images in every if isinstance(images, pictures.Files)]
    if files:
        return files[0].root, sorted({path for images in files for path in images.paths})
    blocks = [images for images in every if isinstance(images, pictures.Block)]
    return next((images.folder for images in blocks if images.folder is not None), root), []


def _beside(folder: Path) -> list[str]:
    """Names of files in a folder that are neither hidden nor larger than any list."""
    try:
        names = [file.name for file in folder.iterdir() if _is_list(file)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    return sorted(name for name in names if name != LISTING and not name.startswith("."))


def _is_list(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LARGEST_MIB * 2**20


def _examined(path: Path) -> str | DataError:
    try:
        return pictures.examined(path)
    except DataError as error:
        return error


def _as_before(path: Path, digest: str | DataError, known: str | None) -> str:
    """The digest; DataError for a file that has none, or another than it had."""
    if isinstance(digest, DataError):
        raise digest
    if known not in (None, digest):
        raise DataError(
            f"{path}: its SHA-256 is not that in {LISTING}; restore it, or remove its line there "
            "if the change is meant"
        )
    return digest
