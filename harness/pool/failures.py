"""Synthetic images that could not be made: why, and where that is written down.

<pool>/failed/g050-part-<12 hex>.json   those of one shard, and the name of the shard with the rest
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.digests import damaged, read_json, sealed
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.core.specs import GeneratorSpec, key
from harness.pool.cache import read_index
from harness.pool.shards import REQUEST, Shard, is_whole, request_rows

FIELDS = ("generator", "rest", "rows")  # of a file
AGAIN = "`harness verify --repair` removes it, `harness generate` tries its images again"
FAILED: dict[str, Any] = REQUEST | {"reason": pl.String}


def write(
    pool: Path, shard: Shard, reasons: Mapping[str, str], rest: Shard | None, generator: str
) -> None:
    """Keep why images of a shard, by their keys, were not made by a generator (its key).

    rest: the shard of the images that were made, to be written next; until it is there, nothing is
    known of the failures, and a run that was cut off between the two makes the whole shard again.
    What is known already, from an earlier try, is not written again where there is no rest.
    """
    known = {row["key"]: row["reason"] for p in files(pool) for row in _content(p)[1]}
    new = [image for image, reason in reasons.items() if known.get(image) != reason]
    new = new if rest is None else list(reasons)
    if not new:
        return
    rows = shard.rows.filter(pl.col("key").is_in(new))
    reason = pl.Series("reason", [reasons[image] for image in rows["key"]], pl.String)
    beside = None if rest is None else rest.path
    _write(_path(pool, shard), generator, beside, rows.with_columns(reason))


def has_rest(pool: Path, shard: Shard) -> bool:
    """Whether images of a shard failed and the shard of the others is there."""
    path = _path(pool, shard)
    if not path.is_file():
        return False
    rest = read_json(path, "list of failures", AGAIN, FIELDS)["rest"]
    return rest is not None and is_whole(pool / rest)


def rekey(pool: Path, specs: Mapping[str, GeneratorSpec]) -> None:
    """File the failures of generators (their keys) under those of the specs."""
    for path in files(pool):
        generator, rows = _content(path)
        if rows and generator in specs:
            table = pl.DataFrame(rows, schema=FAILED)
            keyed = request_rows(table, specs[generator]).with_columns(table["reason"])
            _write(path, key(specs[generator]), None, keyed)


def _write(path: Path, generator: str, rest: str | None, rows: pl.DataFrame) -> None:
    content = {"generator": generator, "rest": rest, "rows": rows.to_dicts()}
    text = json.dumps(sealed(content), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode())


def read(pool: Path, generator: str) -> pl.DataFrame:
    """Images that a generator (its key) failed to make, and has not made since; columns FAILED.

    DataError for a file that is damaged.
    """
    rows = pl.concat([pl.DataFrame(schema=FAILED), *(_rows(p, generator) for p in files(pool))])
    if not len(rows):
        return rows
    index = read_index(pool).select("key")
    return rows.join(index, on="key", how="anti").unique("key", keep="last").sort("guidance", "key")


def outstanding(requests: pl.DataFrame, images: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """Requests of which there is neither an image nor a failure, by their keys, in their order."""
    tried = pl.concat([images.select("key"), failed.select("key")])
    return requests.join(tried, on="key", how="anti", maintain_order="left")


def stale(pool: Path, keep: Collection[str]) -> list[Path]:
    """Files that say nothing any more of generators (keys) to keep."""
    there = {g: set(read(pool, g)["key"]) for g in keep}
    old = []
    for path in files(pool):
        generator, rows = _content(path)
        if not there.get(generator, set()) & {row["key"] for row in rows}:
            old.append(path)
    return old


def render(rows: pl.DataFrame) -> str:
    """Reasons with their number of images, the most frequent first."""
    counted = (
        rows.group_by("reason").len("images").sort(["images", "reason"], descending=[True, False])
    )
    return "\n".join(f"{n} images failed: {reason}" for reason, n in counted.iter_rows())


def _path(pool: Path, shard: Shard) -> Path:
    _, level, name = Path(shard.path).parts
    return pool / "failed" / f"{level}-{Path(name).stem}.json"


def files(pool: Path) -> list[Path]:
    """Those of a pool."""
    return sorted((pool / "failed").glob("g*-part-*.json"))


def _rows(path: Path, generator: str) -> pl.DataFrame:
    made_by, rows = _content(path)
    return pl.DataFrame(rows if made_by == generator else [], schema=FAILED)


def check(path: Path) -> None:
    """Damaged unless a file is what was written."""
    _content(path)


def _content(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Generator and rows of a file; no rows before the rest of their shard is there."""
    try:
        content = read_json(path, "list of failures", AGAIN, FIELDS)
        rows = [{name: row[name] for name in FAILED} for row in content["rows"]]
        rest = content["rest"]
        whole = rest is None or (path.parents[1] / rest).exists()
        return content["generator"], rows if whole else []
    except DataError:
        if not path.exists():  # removed since it was listed
            return "", []
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error, AGAIN) from error
