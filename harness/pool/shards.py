"""Shards of the image cache: what belongs into which, which are missing, writing and opening one.

A shard is an Arrow IPC file with one uncompressed record batch, written once and never changed. It
is named after its rows, so a plan, a resumed run and a second process agree on names without
talking to each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from harness.core.digests import Damaged, damaged
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.guidance import REAL
from harness.core.registry import one_of
from harness.core.specs import GeneratorSpec, ImageSpec, key, plain
from harness.datasets.codec import EXTENSION

ROWS_PER_SHARD = 256
_KEYS_AT_ONCE = 100_000  # rows whose keys are made together
REQUEST: dict[str, Any] = {
    "key": pl.String,  # of the ImageSpec
    "source": pl.String,
    "classname": pl.String,
    "guidance": pl.Int16,  # hundredths
    "seed": pl.Int32,
    "prompt": pl.String,
}
_ARROW = {"guidance": pa.int16(), "seed": pa.int32()}  # the rest are strings
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SCHEMA = pa.schema(
    [(name, _ARROW.get(name, pa.string())) for name in REQUEST]
    + [("image", _IMAGE), ("crc32", pa.uint32())]
)
AGAIN = "`harness verify --repair` removes it, `harness generate` makes its images again"
_NAME = re.compile(r"part-[0-9a-f]{12}\.arrow")


@dataclass(frozen=True)
class Shard:
    """Rows to make and to keep together; all of one guidance level, sorted by key."""

    path: str  # relative to the pool
    rows: pl.DataFrame

    @property
    def keys(self) -> list[str]:
        return self.rows["key"].to_list()


def request_rows(rows: pl.DataFrame, generator: GeneratorSpec) -> pl.DataFrame:
    """Add the image keys to rows (source, classname, guidance, seed, prompt); columns REQUEST."""
    keyed = rows.with_columns(_image_keys(rows, key(generator)))
    return keyed.select(pl.col(name).cast(dtype) for name, dtype in REQUEST.items())


def plan_shards(requests: pl.DataFrame, size: int = ROWS_PER_SHARD) -> list[Shard]:
    """Divide requests into shards of up to `size` rows: a pure function of the set of requests.

    Order and repetition of requests do not matter. Rows are sorted by (guidance, key) and cut
    within each level, so taking away whole shards leaves the others as they are.
    """
    check_requests(requests)
    if size < 1:
        raise UsageError(f"a shard holds at least one row, not {size}")
    return cut(requests, size)


def cut(requests: pl.DataFrame, size: int) -> list[Shard]:
    """The same of requests that were checked."""
    repeated = requests["key"].is_duplicated().any()
    rows = requests.unique("key", keep="first") if repeated else requests
    levels = rows["guidance"].unique().sort()
    blocks = (by_key(rows.filter(pl.col("guidance") == level)) for level in levels)
    return [_shard(part) for block in blocks for part in block.iter_slices(size)]


def shard_of(rows: pl.DataFrame) -> Shard:
    """The shard of these rows, which are of one guidance level."""
    return _shard(by_key(rows))


def by_key(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows sorted by their keys, none twice; four times as fast as text where keys are digests."""
    numbers = rows["key"].str.slice(0, 15).str.to_integer(base=16, strict=False)
    if not numbers.null_count():
        ordered = rows[numbers.arg_sort()]
        if ordered["key"].is_sorted():
            return ordered
    return rows.sort("key")


def _shard(rows: pl.DataFrame) -> Shard:
    return Shard(_relative(rows["guidance"][0], rows["key"].to_list()), rows)


def is_written(pool: Path, shard: Shard) -> bool:
    """Whether the file of a planned shard is there, and whole."""
    return is_whole(pool / shard.path)


def is_whole(path: Path) -> bool:
    """Whether a shard's file is there and what was written, but for its images."""
    return _whole_shard(path) is not None


def _whole_shard(path: Path) -> OpenShard | None:
    """None for a damaged file, whose rows are made again, and for one that is gone meanwhile."""
    try:
        return open_shard(path)
    except Damaged:
        return None
    except DataError:
        if path.exists():
            raise
        return None


def write_shard(
    pool: Path, shard: Shard, rows: pl.DataFrame, images: list[bytes], generator: GeneratorSpec
) -> Path:
    """Write a shard with one encoded image per row; equal rows and images give equal bytes.

    `rows` may come in any order, `images` in the same. Raises DataError, and leaves the pool as it
    was, when rows and shard disagree, when a key is not the key of its row, or when the file cannot
    be written (disk full, read-only).
    """
    ordered, images = _in_order(shard, rows, images)
    made_by = key(generator)
    if not ordered["key"].equals(_image_keys(ordered, made_by)):
        raise DataError(f"{shard.path}: a row's key is not the key of its image and generator")
    ending = EXTENSION[one_of("codec", generator.codec, tuple(EXTENSION))]
    columns: dict[str, list[Any]] = {name: ordered[name].to_list() for name in REQUEST}
    columns["crc32"] = [zlib.crc32(image) for image in images]
    spec = json.dumps(dataclasses.asdict(generator), sort_keys=True)
    meta = {"generator": made_by, "spec": spec, "rows": _digest(made_by, spec, columns)}
    paths = [f"{k}.{ending}" for k in columns["key"]]
    struct = pa.StructArray.from_arrays(
        [pa.array(images, pa.binary()), pa.array(paths, pa.string())], fields=list(_IMAGE)
    )
    arrays = [struct if f.name == "image" else pa.array(columns[f.name], f.type) for f in _SCHEMA]
    sink = pa.BufferOutputStream()
    schema = _SCHEMA.with_metadata(meta)
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    write_atomic(pool / shard.path, memoryview(sink.getvalue()))
    return pool / shard.path


@dataclass(frozen=True)
class OpenShard:
    """What a shard file says: its rows (REQUEST and crc32) and where their images lie in it."""

    generator: str  # key of the GeneratorSpec
    spec: str  # the GeneratorSpec as JSON
    rows: pl.DataFrame
    offset: np.ndarray  # (N,) int64, bytes from the start of the file
    size: np.ndarray  # (N,) int64, bytes


def shard_paths(pool: Path) -> list[Path]:
    """Files of the pool that are named like shards, sorted."""
    return sorted(path for path in (pool / "images").glob("g*/part-*.arrow") if is_shard_name(path))


def is_shard_name(path: Path) -> bool:
    """Whether a file below images/ is named like a shard."""
    return bool(_NAME.fullmatch(path.name)) and path.parent.name.startswith("g")


def open_shard(path: Path) -> OpenShard:
    """Read everything of a shard but its images, and check that it is what was written.

    Raises Damaged for a file that is cut off, changed, renamed, or no shard at all; DataError where
    the system does not let it be read (permissions, memory). The images themselves are checked when
    they are read.
    """
    try:
        with open(path, "rb", opener=_without_waiting):
            pass
        return _open(path)
    except MemoryError as error:  # pyarrow's is an ArrowException, too
        raise DataError(f"cannot read {path}: not enough memory") from error
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        raise damaged(path, f"not a whole shard: {error}", AGAIN) from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe, for whose writer that would wait, opens and is told from a shard."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open(path: Path) -> OpenShard:
    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()  # the mapped file itself: nothing is copied
    reader = pa.ipc.open_file(whole)
    meta = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
    if reader.num_record_batches != 1 or not reader.schema.equals(_SCHEMA):
        raise ValueError("other columns, or not one record batch")
    batch = reader.get_batch(0)
    batch.validate(full=True)
    columns = {name: batch[name].to_pylist() for name in [*REQUEST, "crc32"]}
    if meta["rows"] != _digest(meta["generator"], meta["spec"], columns):
        raise ValueError("its rows are not those that were written")
    if not path.match(_relative(columns["guidance"][0], columns["key"])):
        raise ValueError("its name is not that of its rows")
    offset, size = _byte_ranges(batch["image"].field("bytes"), whole)
    rows = pl.DataFrame(columns, schema=REQUEST | {"crc32": pl.UInt32})
    return OpenShard(meta["generator"], meta["spec"], rows, offset, size)


def _byte_ranges(images: pa.BinaryArray, whole: pa.Buffer) -> tuple[np.ndarray, np.ndarray]:
    """Offset and size in the file, (N,) int64, of each value of an array mapped from it."""
    _, ends, data = images.buffers()
    bounds = np.frombuffer(ends, np.int32, len(images) + 1, images.offset * 4).astype(np.int64)
    start = data.address - whole.address
    if start < 0 or start + bounds[-1] > whole.size:
        raise ValueError("its images lie outside the file")
    return start + bounds[:-1], np.diff(bounds)


def check_requests(requests: pl.DataFrame) -> None:
    """UsageError for columns or values that no request has; DataError for a key of two requests."""
    missing = [name for name in REQUEST if name not in requests.columns]
    if missing:
        raise UsageError(f"requests lack the columns {', '.join(missing)}")
    columns = requests.select(list(REQUEST))
    if sum(columns.null_count().row(0)):
        raise UsageError("requests have missing values")
    wrong = columns.filter(~pl.col("guidance").is_between(0, REAL - 1))
    if len(wrong):
        raise UsageError(f"guidance {wrong['guidance'][0]} is not in 0..{REAL - 1} (hundredths)")
    repeated = columns.filter(pl.col("key").is_duplicated())
    if repeated.n_unique() != repeated["key"].n_unique():
        raise DataError("two different requests have the same image key")


def _image_keys(rows: pl.DataFrame, made_by: str) -> pl.Series:
    """key(ImageSpec(made_by, ...)) of each row; the texts that are hashed come from a template."""
    columns = rows.select("source", "guidance", "seed", "prompt")
    fields = plain(ImageSpec(made_by, "", 0, 0, ""))
    keys = [pl.Series("key", [], pl.String)]
    for part in columns.iter_slices(_KEYS_AT_ONCE):
        texts = pl.select(pl.concat_str(_pieces(fields, part))).to_series()
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        keys.append(pl.Series("key", digests, pl.String))
    return pl.concat(keys)


def _pieces(fields: Mapping[str, Any], columns: pl.DataFrame) -> list[pl.Series | pl.Expr]:
    """What the canonical JSON of each row is made of: the names in order, each with its value."""
    pieces: list[pl.Series | pl.Expr] = []
    for n, name in enumerate(sorted(fields)):
        pieces.append(pl.lit(f'{"," if n else "{"}"{name}":'))
        if name not in columns.columns:
            pieces.append(pl.lit(json.dumps(fields[name])))
        elif columns[name].dtype == pl.String:
            values = [encode_basestring_ascii(value) for value in columns[name]]
            pieces.append(pl.Series(values, dtype=pl.String))
        else:
            pieces.append(columns[name].cast(pl.String))
    return [*pieces, pl.lit("}")]


def _in_order(
    shard: Shard, rows: pl.DataFrame, images: list[bytes]
) -> tuple[pl.DataFrame, list[bytes]]:
    """Rows and images in the shard's order; DataError when they are not just the shard's."""
    keys = rows["key"].to_list()
    if sorted(keys) != sorted(shard.keys) or len(images) != len(keys):
        got = f"{len(keys)} rows and {len(images)} images"
        raise DataError(f"{shard.path} takes its own {len(shard.rows)} rows, not these {got}")
    place = {k: i for i, k in enumerate(keys)}
    order = [place[k] for k in shard.keys]
    return rows[order], [images[i] for i in order]


def _relative(guidance: int, keys: list[str]) -> str:
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:12]
    return f"images/g{guidance:03d}/part-{name}.arrow"


def _digest(made_by: str, spec: str, columns: dict[str, list[Any]]) -> str:
    rows = [columns[name] for name in [*REQUEST, "crc32"]]
    return hashlib.sha256(json.dumps([made_by, spec, rows]).encode()).hexdigest()
