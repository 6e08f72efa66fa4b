"""Digests of what is kept on disk: a file is what was written, or named with the way back.

Where a format has a place for it, the digest is inside the file: JSON objects have a field
`digest`, tables a Parquet entry (harness.core.parquet). A folder of files has one listing, in the
format of `sha256sum -c`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.core.errors import DataError, brief
from harness.core.files import write_atomic

FIELD = "digest"  # of a JSON object, over everything else in it
LISTING = "files.sha256"  # below the root of a data set: SHA-256 of its files
LONGEST = 300  # characters of a sentence

log = logging.getLogger("harness")


class Damaged(DataError):
    """A file that is not what was written."""


def damaged(path: Path, why: object, again: str, what: str = "") -> Damaged:
    """One sentence; again: what to do, such as "`harness hard` makes it again".

    what: the content, such as "record".
    """
    head = f"{path}: damaged {what}: " if what else f"{path} is damaged: "
    return Damaged(head + _cut(why, len(head), again))


def damaged_by(error: DataError, again: str) -> Damaged:
    """The same of an error that names the file already."""
    return Damaged(_cut(error, 0, again))


def _cut(why: object, taken: int, again: str) -> str:
    error = why if isinstance(why, BaseException) else ValueError(why)
    return f"{brief(error, max(20, LONGEST - taken - len(again) - 2))}; {again}"


def remade(error: DataError) -> None:
    """Tells (on stderr, unless the program set up logging) of damage that is being mended."""
    log.warning("%s: being done now", error)


# ---------------------------------------------------------------- files


def of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; DataError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def check_file(path: Path, expected: str, again: str) -> None:
    """Damaged unless the file has that SHA-256."""
    if of_file(path) != expected:
        raise damaged(path, "its SHA-256 is not that of what was written", again)


# ---------------------------------------------------------------- listings


def write_listing(path: Path, digests: Mapping[str, str]) -> None:
    """SHA-256 by name, a line each, as `sha256sum -c` reads them, behind that of these lines."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    write_atomic(path, f"{_header(lines)}\n{lines}".encode())


def _header(lines: str) -> str:
    """The first line of a listing: a comment to `sha256sum`."""
    return f"# sha256 of what follows: {hashlib.sha256(lines.encode()).hexdigest()}"


def read_listing(path: Path, again: str) -> dict[str, str]:
    """SHA-256 by name; nothing without a listing.

    Damaged for one that is not what was written, and for lines of another form. What `sha256sum`
    wrote has no header.
    """
    if not path.is_file():
        return {}
    try:
        content = documents.text(path)
    except DataError as error:
        raise damaged_by(error, again) from None
    header, _, rest = content.partition("\n")
    if header.startswith("#"):
        if header != _header(rest):
            raise damaged(path, "its SHA-256 is not that of what was written", again)
        content = rest
    lines = content.split("\n")
    if lines.pop():
        raise damaged(path, "its last line is cut off", again)
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        digest, mark, name = line.partition("  ")
        if not mark or len(digest) != 64 or digest.strip("0123456789abcdef") or name in digests:
            raise damaged(path, f"line {number} is no digest with the name of a file", again)
        digests[name] = digest
    return digests


# ---------------------------------------------------------------- JSON


def of_value(value: Any) -> str:
    """SHA-256 (hex) of a JSON value: its canonical text, whatever its layout in a file."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its digest, as the last field."""
    plain: dict[str, Any] = json.loads(json.dumps(content))
    plain.pop(FIELD, None)
    return {**plain, FIELD: of_value(plain)}


def read_json(path: Path, what: str, again: str, names: Iterable[str] | None = None) -> Any:
    """The value in a JSON file, an object without its digest; what: as harness.core.documents.

    Damaged for what is no JSON or not what was written; names: see `opened`. DataError where there
    is no such file.
    """
    try:
        value = documents.json_value(path, what)
    except DataError as error:
        if path.is_file():
            raise damaged_by(error, again) from None
        raise
    content, fault = opened(value, names)
    if fault is not None:
        raise damaged(path, fault, again, what)
    return content


def opened(content: Any, names: Iterable[str] | None = None) -> tuple[Any, str | None]:
    """A JSON value without its digest, and what is wrong with it; None for a sound one.

    One without a digest is of before there were any: it is sound if it has no other fields than
    `names`, so that a digest whose name was damaged does not go unnoticed.
    """
    if not isinstance(content, dict):
        return content, None
    rest = {name: value for name, value in content.items() if name != FIELD}
    if FIELD in content:
        fault = None if content[FIELD] == of_value(rest) else "its digest is that of other content"
        return rest, fault
    unknown = sorted(set(rest) - set(rest if names is None else names))
    return rest, f"unknown field {unknown[0]!r:.60}" if unknown else None
