"""Exports of the pool: writing that of a data set, reading one as plain files, tar or Parquet."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from harness.core import documents, regular_files
from harness.core.digests import check_file, damaged, read_listing
from harness.core.errors import LIBRARY_ERRORS, DataError, brief, quoted
from harness.core.specs import key
from harness.datasets.codec import decode
from harness.pool.exports import COLUMNS, LISTING, TEXTS, plain_cell

if TYPE_CHECKING:
    from harness.pipeline.workspace import Workspace
    from harness.pool.export_card import Provenance


def write_export(workspace: Workspace, out: Path, format: str) -> int:
    """Export a data set's images by the recipe's generator, with a card; returns how many.

    `format` and errors as `harness.pool.exports.export`; DataError where there are no images.
    """
    from harness.api.pools import labelled_images
    from harness.pool.exports import export

    images = labelled_images(workspace)
    if not len(images):
        raise DataError(
            f"{workspace.pool} has no images of the generator {key(workspace.generator)[:12]}; "
            "`harness generate` makes them"
        )
    export(workspace.pool, images, out, format, _provenance(workspace, images))
    return len(images)


def _provenance(workspace: Workspace, images: pl.DataFrame) -> Provenance:
    from harness.mini import licences
    from harness.pool.export_card import Provenance

    built_in = workspace.root is None and workspace.profile != "paper"
    name = workspace.module.NAME
    terms = dict.fromkeys(source.terms for source in getattr(workspace.module, "SOURCES", ()))
    follows = (
        f"Synthetic images can be close to their sources: the terms of {name} and of the generator "
        f"({workspace.generator.model}) apply to them."
    )
    follows = "\n".join([follows, "", *(f"- {text}" for text in terms)]).rstrip()
    return Provenance(
        dataset=name,
        profile=workspace.profile,
        generator=workspace.generator,
        scorer=workspace.scorer,
        threshold=workspace.recipe.threshold,
        class_sizes=dict(images.select("label", "count").unique("label").rows()),
        licences=licences.LICENCES if built_in else (),
        licence=licences.CREDITS if built_in else follows,
    )


AGAIN = "`harness cache export` makes the export again, in another folder"
_BROKEN = (tarfile.TarError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_FIRST = b"file_name,"  # what an index begins with
_LONGEST_JSON = 2**20  # bytes of an image's columns
_LARGEST_MIB = 1024  # of a file


class Encoded:
    """Images by their number; read and decoded when one is taken. `read` gives an image's bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read

    def __getitem__(self, i: int) -> np.ndarray:
        return decode(self.read(i))


def is_export(folder: Path) -> bool:
    """Whether a folder looks like an export."""
    return (folder / "metadata.csv").is_file() or any(_tars(folder)) or any(_parquets(folder))


def open_export(folder: Path) -> tuple[pl.DataFrame, Encoded]:
    """Rows (COLUMNS) and images of an export; DataError where it cannot be read.

    Damaged for an index, a tar or a Parquet file that is not what was written; plain image files
    are checked when they are taken.
    """
    known = read_listing(folder / LISTING, AGAIN)
    index, parts = folder / "metadata.csv", [*_tars(folder), *_parquets(folder)]
    for path in (index, *parts):
        regular_files.refuse_other_kinds(path, "an export")
    for path in [index] if index.is_file() else parts:
        _check(path, known.get(path.relative_to(folder).as_posix()))
    try:
        if index.is_file():
            return _files(folder, known)
        return _webdataset(_tars(folder)) if _tars(folder) else _hf(_parquets(folder))
    except (*_BROKEN, *LIBRARY_ERRORS) as error:
        raise DataError(f"cannot read the export in {folder}: {brief(error)}") from error


def _tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def _parquets(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("train-*.parquet"))


def _check(path: Path, expected: str | None) -> None:
    """Nothing is known of the exports of before."""
    if expected is not None:
        check_file(path, expected, AGAIN)


def _files(folder: Path, known: Mapping[str, str]) -> tuple[pl.DataFrame, Encoded]:
    with (folder / "metadata.csv").open("rb") as file:
        if not file.read(len(_FIRST)).startswith(_FIRST):
            raise ValueError(f"metadata.csv does not begin with {_FIRST.decode()}")
    table = pl.read_csv(folder / "metadata.csv", schema_overrides=COLUMNS)
    names = table["file_name"].to_list()
    paths = [folder / _inside(name) for name in names]
    table = table.with_columns(plain_cell(name) for name in TEXTS).select(list(COLUMNS))
    expected = [known.get(name) for name in names]
    return table, Encoded(partial(_file_bytes, paths, expected))


def _inside(name: str) -> str:
    """The path of a file below the export's folder; ValueError for one that leaves it."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\0" in name:
        raise ValueError(f"file_name {quoted(name)} is not below its folder")
    return name


def _file_bytes(paths: Sequence[Path], expected: Sequence[str | None], i: int) -> bytes:
    data = regular_files.read(paths[i], _LARGEST_MIB, "an image")
    if expected[i] is not None and hashlib.sha256(data).hexdigest() != expected[i]:
        raise damaged(paths[i], "its SHA-256 is not that of what was written", AGAIN)
    return data


def _webdataset(tars: Sequence[Path]) -> tuple[pl.DataFrame, Encoded]:
    rows: list[dict[str, Any]] = []
    parts: list[tuple[Path, int, int]] = []
    named: list[str] = []
    pictures: list[str] = []
    for path in tars:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                if entry.name.endswith(".json"):
                    file = tar.extractfile(entry)
                    assert file is not None
                    where = f"{path}, {entry.name}"
                    rows.append(documents.json_text(file.read(_LONGEST_JSON), where, "columns"))
                    named.append(Path(entry.name).stem)
                else:
                    parts.append((path, entry.offset_data, entry.size))
                    pictures.append(Path(entry.name).stem)
    if named != pictures:
        raise ValueError("an image without its columns, or columns without an image")
    table = pl.DataFrame(rows, schema_overrides=COLUMNS)
    return table.select(list(COLUMNS)), Encoded(partial(_tar_bytes, parts))


def _tar_bytes(parts: Sequence[tuple[Path, int, int]], i: int) -> bytes:
    path, offset, size = parts[i]
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise DataError(f"cannot read {path}: {brief(error)}") from error


def _hf(parquets: Sequence[Path]) -> tuple[pl.DataFrame, Encoded]:
    import pyarrow.parquet as pq

    table = pl.concat([pl.read_parquet(path, columns=list(COLUMNS)) for path in parquets])
    groups = []  # file, row group and row of each image
    for path in parquets:
        about = pq.ParquetFile(path).metadata
        sizes = [about.row_group(n).num_rows for n in range(about.num_row_groups)]
        groups += [(path, n, row) for n, size in enumerate(sizes) for row in range(size)]
    return table, Encoded(partial(_group_bytes, groups))


def _group_bytes(groups: Sequence[tuple[Path, int, int]], i: int) -> bytes:
    path, group, row = groups[i]
    return _images_of_group(path, group)[row]


@lru_cache(maxsize=4)
def _images_of_group(path: Path, group: int) -> list[bytes]:
    import pyarrow.parquet as pq

    column = pq.ParquetFile(path).read_row_group(group, columns=["image"])["image"]
    return [image["bytes"] for image in column.to_pylist()]
