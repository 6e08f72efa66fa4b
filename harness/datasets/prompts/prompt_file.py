"""The JSON file of a data set's scene descriptions: reading, checking, writing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import digests
from harness.core.errors import DataError, quoted
from harness.core.files import write_atomic

VERSION = 1  # of the file
FIELDS = ("version", "dataset", "source", "prompts")
# A file that was changed by hand is as good as any other: its digest then goes.
AGAIN = '`harness prompts` writes it again; where you changed it, remove its line "digest"'
PER_CLASS = 10
FEWEST = 9  # sentences of a class that are enough: an answer of eight lines is asked for again
MIN_WORDS = 15


@dataclass(frozen=True)
class Prompts:
    """The sentences of a data set's classes and where they come from (`source`, with a "kind")."""

    dataset: str
    source: Mapping[str, Any]
    of: Mapping[str, tuple[str, ...]]  # by class name, 9 or 10 each


def write(path: Path, prompts: Prompts) -> None:
    """Write the file of a data set, whole or not at all; DataError when it cannot be written."""
    value = {
        "version": VERSION,
        "dataset": prompts.dataset,
        "source": dict(prompts.source),
        "prompts": {name: list(texts) for name, texts in prompts.of.items()},
    }
    text = json.dumps(digests.sealed(value), indent=1, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def read(path: Path, classes: Iterable[str] = (), dataset: str | None = None) -> Prompts:
    """The file of a data set, checked; all of `classes` must be in it.

    Raises DataError: no such file, damaged, another version or data set, a class that is missing
    or has not nine or ten texts.
    """
    value = digests.read_json(path, "prompts", AGAIN, FIELDS)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        version = value.get("version") if isinstance(value, dict) else None
        raise DataError(f"the prompts {path} have version {quoted(version)}; this reads {VERSION}")
    of, source, name = (value.get(field) for field in ("prompts", "source", "dataset"))
    if not (isinstance(of, dict) and isinstance(source, dict) and isinstance(name, str)):
        raise DataError(f"the prompts {path} are damaged: no dataset, source or prompts")
    if dataset is not None and name != dataset:
        raise DataError(f"the prompts {path} are those of {quoted(name)}, not of {dataset!r}")
    for classname, texts in of.items():
        check(texts, f"the prompts {path}, class {quoted(classname)}")
    missing = [c for c in classes if c not in of]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"the prompts {path} lack class {quoted(missing[0])}{more}")
    return Prompts(name, source, {c: tuple(texts) for c, texts in of.items()})


def check(texts: Any, where: str) -> None:
    """Raise DataError unless these are nine or ten texts with something in them."""
    if not isinstance(texts, list):
        raise DataError(f"{where}: not a list of texts but {type(texts).__name__}")
    if not FEWEST <= len(texts) <= PER_CLASS:
        raise DataError(f"{where}: {len(texts)} texts; there must be {FEWEST} or {PER_CLASS}")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: {quoted(text)} is no text")
