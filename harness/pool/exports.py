"""The pool in the forms that other tools read: plain files, WebDataset, Hugging Face datasets."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core import cells, digests
from harness.core.errors import UsageError
from harness.core.files import atomic_folder
from harness.core.guidance import REAL
from harness.core.registry import one_of
from harness.datasets.codec import extension
from harness.pool import export_card
from harness.pool.cache import read_bytes
from harness.pool.export_card import Provenance

# SHA-256 of all files of an export; hidden, for `datasets` takes other files for data
LISTING = f".{digests.LISTING}"
ROWS_PER_FILE = 1000  # of a tar or Parquet file
COLUMNS: dict[str, Any] = {
    "key": pl.String,
    "source": pl.String,
    "classname": pl.String,
    "label": pl.Int32,
    "guidance": pl.Float64,  # in [0, 1]
    "seed": pl.Int32,
    "prompt": pl.String,
    "text_score": pl.Float32,  # null where the image has none
    "image_score": pl.Float32,
}
ARROW = {pl.String: "string", pl.Int32: "int32", pl.Float32: "float32", pl.Float64: "float64"}
TYPES = {name: ARROW[dtype] for name, dtype in COLUMNS.items()}  # also datasets' names
TEXTS = ("classname", "prompt")  # that people write


def export(
    pool: Path, images: pl.DataFrame, out: Path, format: str, origin: Provenance | None = None
) -> Path:
    """Copy images, byte for byte, into a new folder `out`, with COLUMNS for each.

    images: index rows, guidance in hundredths, with label, text_score and image_score.
    origin: where they are from; with it, a data set card, README.md, is written.
    "files"       one folder per label, one file per image, metadata.csv (file_name, COLUMNS);
                  torchvision's ImageFolder and the `imagefolder` of datasets read it
    "webdataset"  00000.tar ... with <key>.webp|jpg and <key>.json, in the order of the rows
    "hf"          data/train-00000-of-0000N.parquet with an Image column; load_dataset(out)
    Beside them, LISTING has the SHA-256 of all files, as `sha256sum -c` reads it.
    Raises UsageError for another format or an `out` that has something in it. The folder appears
    when it is complete.
    """
    one_of("export format", format, tuple(FORMATS))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder")
    out = out.absolute()
    with atomic_folder(out) as tmp:
        FORMATS[format](pool, images, tmp)
        if origin is not None:
            ending = extension(read_bytes(pool, images[:1])[0]) if len(images) else "webp"
            card = export_card.render(images, origin, format, TYPES, ending)
            (tmp / "README.md").write_text(card, encoding="utf-8")
        names = sorted(p.relative_to(tmp).as_posix() for p in tmp.rglob("*") if p.is_file())
        digests.write_listing(tmp / LISTING, {name: digests.of_file(tmp / name) for name in names})
    return out


def _files(pool: Path, images: pl.DataFrame, out: Path) -> None:
    # A class name makes no folder: two classes may share one, and `datasets` takes a folder such
    # as that of CIFAR's class "train" for a split and leaves all other folders out.
    digits = max(4, len(str(images["label"].max())))
    names = []
    for about, data in _images(pool, images):
        name = f"{about['label']:0{digits}d}/{about['key']}.{extension(data)}"
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
        names.append(name)
    table = _table(images).insert_column(0, pl.Series("file_name", names, pl.String))
    exact = pl.col(pl.Float32).cast(pl.Float64)  # all digits: others read 64 bits
    table = table.with_columns(exact, *(_safe_cell(name) for name in TEXTS))
    table.write_csv(out / "metadata.csv")


def _safe_cell(name: str) -> pl.Expr:
    """A text that no spreadsheet takes for a formula: an apostrophe first; `plain_cell` undoes."""
    risky = pl.col(name).str.slice(0, 1).is_in([*cells.FORMULA, cells.MARK])
    return pl.when(risky).then(cells.MARK + pl.col(name)).otherwise(pl.col(name)).alias(name)


def plain_cell(name: str) -> pl.Expr:
    """The text that a cell of metadata.csv was made of."""
    return pl.col(name).str.strip_prefix(cells.MARK)


def _webdataset(pool: Path, images: pl.DataFrame, out: Path) -> None:
    for number, rows in enumerate(images.iter_slices(ROWS_PER_FILE)):
        with tarfile.open(out / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for about, data in _images(pool, rows):
                text = json.dumps(about, sort_keys=True).encode()
                for ending, content in ((extension(data), data), ("json", text)):
                    entry = tarfile.TarInfo(f"{about['key']}.{ending}")  # owner, time: all zero
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def _hf(pool: Path, images: pl.DataFrame, out: Path) -> None:
    (out / "data").mkdir()
    features: dict[str, Any] = {c: {"dtype": t, "_type": "Value"} for c, t in TYPES.items()}
    info = {"info": {"features": features | {"image": {"_type": "Image"}}}}
    slices = list(images.iter_slices(ROWS_PER_FILE)) or [images]
    for number, rows in enumerate(slices):
        pairs = list(_images(pool, rows))
        columns = {
            name: pa.array([about[name] for about, _ in pairs], dtype)
            for name, dtype in TYPES.items()
        }
        cells = [{"bytes": d, "path": f"{about['key']}.{extension(d)}"} for about, d in pairs]
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(columns | {"image": pa.array(cells, struct)})
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        name = f"train-{number:05d}-of-{len(slices):05d}.parquet"
        pq.write_table(table, out / "data" / name, compression="none", row_group_size=100)


FORMATS: dict[str, Callable[[Path, pl.DataFrame, Path], None]] = {
    "files": _files,
    "webdataset": _webdataset,
    "hf": _hf,
}


def _table(images: pl.DataFrame) -> pl.DataFrame:
    """COLUMNS of images, guidance as a fraction."""
    table = images.with_columns(pl.col("guidance") / REAL)
    return table.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())


def _images(pool: Path, images: pl.DataFrame) -> Iterator[tuple[dict[str, Any], bytes]]:
    for rows in images.iter_slices(ROWS_PER_FILE):
        yield from zip(_table(rows).to_dicts(), read_bytes(pool, rows), strict=True)
