"""Unpacks downloads so that an interruption shows: a marker is written when all is there.

Beside an archive a.tar.gz, a.tar.gz.unpacking says that its unpacking has begun, and
a.tar.gz.unpacked which files it made: their number and bytes, by the archive's folders.
"""

from __future__ import annotations

import json
import lzma
import os
import tarfile
from pathlib import Path
from typing import Any

from harness.core import documents, regular_files
from harness.core.errors import LIBRARY_ERRORS, DataError, brief
from harness.core.files import write_atomic
from harness.core.progress import ProgressBar

AGAIN = "run `harness data fetch` again"


def done(root: Path, archive: str) -> bool:
    """Whether an archive was unpacked to its end and its files are still there."""
    try:
        check(root, archive)
    except DataError:
        return False
    return _marker(root, archive, "unpacked").is_file()


def check(root: Path, archive: str) -> None:
    """DataError where an unpacking was cut short, or files are missing or cut off since.

    Nothing is known about what was unpacked by hand.
    """
    started, marker = _marker(root, archive, "unpacking"), _marker(root, archive, "unpacked")
    if started.exists():
        raise DataError(f"{root / archive}: unpacking was cut short; {AGAIN}")
    if not marker.is_file():
        return
    for top, expected in _expected(marker).items():
        files, size = _measured(root / top)
        if files < expected[0] or size < expected[1]:
            raise DataError(
                f"{root / top}: {files} files of {size} bytes, expected {expected[0]} of "
                f"{expected[1]} as unpacked from {archive}; {AGAIN}"
            )


def unpack(root: Path, archive: str) -> None:
    """Unpack root/archive below `root`; files that are there in full are not written again.

    DataError for an archive that is damaged or leaves the root, and where nothing can be written.
    """
    regular_files.refuse_other_kinds(root / archive, "an archive")
    started, marker = _marker(root, archive, "unpacking"), _marker(root, archive, "unpacked")
    tops: dict[str, list[int]] = {}
    try:
        marker.unlink(missing_ok=True)
        started.touch()
        with _opened(root / archive) as tar:
            for member in ProgressBar(tar, desc=archive, unit="file"):
                _extract(tar, member, root)
                if member.isfile():
                    top = tops.setdefault(Path(member.name).parts[0], [0, 0])
                    top[0], top[1] = top[0] + 1, top[1] + member.size
    except (tarfile.TarError, lzma.LZMAError, *LIBRARY_ERRORS) as error:
        raise DataError(f"{root / archive}: cannot be unpacked ({brief(error)})") from error
    write_atomic(marker, json.dumps({"version": 1, "unpacked": tops}).encode())
    started.unlink()


def _opened(path: Path) -> tarfile.TarFile:
    """By its first bytes: tarfile's own trials read some damaged files to their end."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return tarfile.open(path, "r:gz")
    return tarfile.open(path, "r:xz" if head == b"\xfd7zXZ\0" else "r:")


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    path = root / member.name
    if member.isfile() and path.is_file() and path.stat().st_size == member.size:
        return
    tar.extract(member, root, filter="data")


def _marker(root: Path, archive: str, kind: str) -> Path:
    return root / f"{archive}.{kind}"


def _expected(marker: Path) -> dict[str, list[int]]:
    value: Any = documents.json_value(marker, "marker")
    tops = value.get("unpacked") if isinstance(value, dict) else None
    sound = isinstance(tops, dict) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
        for pair in tops.values()
    )
    if not sound:
        raise DataError(f"{marker}: damaged marker, expected files and bytes by folder; {AGAIN}")
    return dict(tops or {})


def _measured(top: Path) -> tuple[int, int]:
    """Number and bytes of the files of a folder, or of a file."""
    if top.is_file():
        return 1, top.stat().st_size
    files = size = 0
    for folder, _, names in os.walk(top):
        files += len(names)
        size += sum(os.stat(os.path.join(folder, name)).st_size for name in names)
    return files, size
