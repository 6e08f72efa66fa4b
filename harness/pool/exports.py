"""The pool in the forms that other tools read: plain files, WebDataset, Hugging Face datasets."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.errors import DataError, UsageError
from harness.core.registry import one_of
from harness.datasets.codec import extension
from harness.pool.cache import REQUEST, read_bytes

ROWS_PER_FILE = 1000  # of a tar or Parquet file
_ABOUT = dict.fromkeys([*REQUEST, "generator"], "string")
_ABOUT |= {"guidance": "int16", "seed": "int32"}  # the names of Arrow and of datasets


def export(pool: Path, index: pl.DataFrame, out: Path, format: str) -> Path:
    """Copy the images of index rows, byte for byte, into a new folder `out`.

    "files"       one folder per class, one file per image, metadata.csv (file_name, key, ...);
                  torchvision's ImageFolder and the `imagefolder` of datasets read it
    "webdataset"  00000.tar ... with <key>.webp|jpg and <key>.json, in index order
    "hf"          data/train-00000-of-0000N.parquet with an Image column; load_dataset(out)
    Raises UsageError for another format or an `out` that has something in it. The folder appears
    when it is complete.
    """
    one_of("export format", format, tuple(FORMATS))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder")
    out = out.absolute()
    tmp = out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        tmp.mkdir(parents=True)
        FORMATS[format](pool, index, tmp)
        os.replace(tmp, out)
    except OSError as error:
        raise DataError(f"cannot export to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return out


def _files(pool: Path, index: pl.DataFrame, out: Path) -> None:
    names = []
    for about, data in _images(pool, index):
        name = f"{_folder(about['classname'])}/{about['key']}.{extension(data)}"
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
        names.append(name)
    table = index.select(pl.Series("file_name", names, pl.String), *_ABOUT)
    table.write_csv(out / "metadata.csv")


def _webdataset(pool: Path, index: pl.DataFrame, out: Path) -> None:
    for number, rows in enumerate(index.iter_slices(ROWS_PER_FILE)):
        with tarfile.open(out / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for about, data in _images(pool, rows):
                text = json.dumps(about, sort_keys=True).encode()
                for ending, content in ((extension(data), data), ("json", text)):
                    entry = tarfile.TarInfo(f"{about['key']}.{ending}")  # owner, time: all zero
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def _hf(pool: Path, index: pl.DataFrame, out: Path) -> None:
    (out / "data").mkdir()
    features: dict[str, Any] = {c: {"dtype": t, "_type": "Value"} for c, t in _ABOUT.items()}
    info = {"info": {"features": features | {"image": {"_type": "Image"}}}}
    slices = list(index.iter_slices(ROWS_PER_FILE)) or [index]
    for number, rows in enumerate(slices):
        pairs = list(_images(pool, rows))
        columns = {
            name: pa.array([about[name] for about, _ in pairs], dtype)
            for name, dtype in _ABOUT.items()
        }
        images = [{"bytes": d, "path": f"{about['key']}.{extension(d)}"} for about, d in pairs]
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(columns | {"image": pa.array(images, struct)})
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        name = f"train-{number:05d}-of-{len(slices):05d}.parquet"
        pq.write_table(table, out / "data" / name, compression="none", row_group_size=100)


FORMATS: dict[str, Callable[[Path, pl.DataFrame, Path], None]] = {
    "files": _files,
    "webdataset": _webdataset,
    "hf": _hf,
}


def _images(pool: Path, index: pl.DataFrame) -> Iterator[tuple[dict[str, Any], bytes]]:
    for rows in index.iter_slices(ROWS_PER_FILE):
        yield from zip(rows.select(list(_ABOUT)).to_dicts(), read_bytes(pool, rows), strict=True)


def _folder(classname: str) -> str:
    """A class name as a folder name on every system."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]|^\.+|[. ]+$', "_", classname) or "_"
