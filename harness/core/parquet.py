"""Tables as Parquet files that carry the digest of their own bytes: the one way to read and write.

The digest is SHA-256 over the whole file with 64 zeros in its place, kept as the footer's entry
`sha256`. So every byte is checked before any decoder sees it, and equal tables give equal files.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from harness.core import regular_files
from harness.core.digests import damaged
from harness.core.errors import DataError
from harness.core.files import write_atomic

ENTRY = "sha256"
BEFORE = ("ARROW:schema", "clip", "shards")  # what files had when they carried no digest
TAIL = 2**16  # bytes at the end that hold the digest
_BLANK = b"0" * 64
# What Polars raises for damage; its panics are no Exception.
BROKEN = (OSError, ValueError, KeyError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def write(path: Path, table: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> None:
    """A Parquet file with such metadata, whole or (DataError) as it was."""
    write_atomic(path, dumped(table, metadata))


def dumped(table: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> memoryview:
    """The bytes of that file."""
    out = io.BytesIO()
    table.write_parquet(out, metadata={**(metadata or {}), ENTRY: _BLANK.decode()})
    data = out.getbuffer()
    end = max(0, len(data) - TAIL)
    place = end + bytes(data[end:]).rindex(_BLANK)  # the footer is at the end
    data[place : place + 64] = _digest(data, place)
    return data


def read(path: Path, again: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The table in a file.

    again: what to do about damage, such as "`harness hard` makes it again". Damaged for a file that
    is not what was written or lacks one of the columns; FileNotFoundError where there is none;
    DataError for one that cannot be read.
    """
    return read_with_metadata(path, again, columns)[0]


def read_with_metadata(
    path: Path, again: str, columns: Sequence[str] | None = None
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The table in a file, and what its footer says; errors as `read`."""
    regular_files.refuse_other_kinds(path, "a table")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    place = _place(data)
    if place is not None and _digest(data, place) != data[place : place + 64]:
        raise damaged(path, "its SHA-256 is not that of what was written", again)
    try:
        metadata = pl.read_parquet_metadata(io.BytesIO(data))
        table = pl.read_parquet(data, columns=None if columns is None else list(columns))
        table = table if columns is None else table.select(columns)
    except BROKEN as error:
        raise damaged(path, error, again) from None
    unknown = [] if place is not None else sorted(set(metadata) - set(BEFORE))
    if unknown:
        raise damaged(path, f"its footer has an unknown entry {unknown[0]!r:.60}", again)
    return table, metadata


def _place(data: bytes) -> int | None:
    """Where the digest is; None in files of before, and where its name was damaged."""
    named = re.compile(rb"sha256.{2,4}?(?=[0-9a-f]{64})", re.DOTALL)
    places = [match.end() for match in named.finditer(data, max(0, len(data) - TAIL))]
    return places[-1] if places else None


def _digest(data: bytes | memoryview, place: int) -> bytes:
    digest = hashlib.sha256(memoryview(data)[:place])
    digest.update(_BLANK)
    digest.update(memoryview(data)[place + 64 :])
    return digest.hexdigest().encode()
