"""Published tables: which there are, in results/paper/<name>.toml, and what they hold."""

from __future__ import annotations

import functools
from pathlib import Path

from harness.core import documents
from harness.core.errors import DataError, UsageError
from harness.core.shipped import PAPER
from harness.results import published_parsing
from harness.results.published_parsing import Fault, nearest
from harness.results.published_table import Paper

FOLDER = PAPER
CLAIMS = "findings.toml"  # in the same folder; no table: see harness.results.claims


def find(name: str, folder: Path = FOLDER) -> Path:
    """The file of a published table; UsageError lists what there is and the nearest name."""
    known = [p.stem for p in files(folder)]
    if name in known:
        return Path(folder) / f"{name}.toml"
    raise UsageError(
        f"no table {name!r} in {folder}; there are {', '.join(known) or 'none'}"
        f"{nearest(name, known)}"
    )


def of(dataset: str, folder: Path = FOLDER) -> Path:
    """The main table of a data set's runs; UsageError when there is none."""
    tables = showing(dataset, folder=folder)
    if tables:
        return tables[0]
    known = {b.dataset for file in files(folder) for b in read(file).blocks}
    raise UsageError(
        f"no table of {dataset} in {folder}; there are some of "
        f"{', '.join(sorted(known)) or 'nothing'}{nearest(dataset, known)}"
    )


def showing(dataset: str, kind: str = "runs", folder: Path = FOLDER) -> tuple[Path, ...]:
    """All tables of that kind with numbers of a data set: the main one first, then by name."""
    papers = ((file, read(file)) for file in files(folder))
    pairs = [(file, p) for file, p in papers if p.kind == kind and dataset in p.datasets]
    return tuple(file for file, p in sorted(pairs, key=lambda pair: not pair[1].main))


def files(folder: Path = FOLDER) -> list[Path]:
    """The tables' files by name, table2 before table10."""
    paths = (path for path in Path(folder).glob("*.toml") if path.name != CLAIMS)
    return sorted(paths, key=lambda p: (len(p.stem), p.stem))


def read(file: Path) -> Paper:
    """The table in a file; DataError names the file, the row and the column that is wrong.

    A file is parsed once per process, as long as it does not change.
    """
    try:
        status = Path(file).stat()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    return _read(str(file), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _read(file: str, mtime_ns: int, size: int) -> Paper:
    """The table in a file of that age and size."""
    raw = documents.toml_table(Path(file), "table")
    try:
        return published_parsing.paper(file, raw)
    except Fault as fault:
        raise DataError(f"{file}: {fault}") from None
