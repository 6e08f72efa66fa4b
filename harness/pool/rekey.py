"""New keys for images whose generator is known by another name now; none is made again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import polars as pl

from harness.core.locks import locked
from harness.core.specs import GeneratorSpec
from harness.mini.weights import BUILT_IN
from harness.models.identity import IN_A_FOLDER
from harness.pool import cache, failures, scores
from harness.pool.shards import OpenShard, open_shard, request_rows, shard_of, shard_paths

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Renewal:
    """A shard to be written anew: where it lies, what made its images, their rows with new keys."""

    path: Path
    generator: str  # its present key
    spec: GeneratorSpec  # the new one
    rows: pl.DataFrame  # cache.REQUEST and `old`, the present key of each image


def rekey(pool: Path, present: GeneratorSpec) -> int:
    """Give images the keys that their generator's content gives them; returns how many got one.

    Those of a generator in a folder were filed under the folder's path and the digest of its
    files, and the path goes. Those of a hub name without a commit get that of `present`, the
    recipe's generator, where it has that name: whoever calls this says that they are the same.
    Scores and reasons of failures get the new keys, too. Shards are written under a temporary name,
    then the old ones are removed: an interrupted call resumes when repeated. DataError for a
    damaged pool.
    """
    cache.read_index(pool)  # tells of a pool that is not there
    with locked(pool):
        return _rekey(pool, present)


def _rekey(pool: Path, present: GeneratorSpec) -> int:
    shards = [(path, open_shard(path)) for path in shard_paths(pool)]
    renewals = [r for path, shard in shards if (r := _renewal(path, shard, present)) is not None]
    if not renewals:
        return 0
    pairs = pl.concat([renewal.rows.select("key", "old") for renewal in renewals])
    scores.add_scores(pool, pairs)
    failures.rekey(pool, {renewal.generator: renewal.spec for renewal in renewals})
    for renewal in renewals:
        _write(pool, renewal)
    scores.keep_scores(pool, cache.build_index(pool))
    return len(pairs)


def renewed(spec: GeneratorSpec, present: GeneratorSpec) -> GeneratorSpec:
    """The spec as it is now of a generator whose images were filed under `spec`."""
    if spec.model in (BUILT_IN, IN_A_FOLDER):
        return spec
    if DIGEST.fullmatch(spec.weights):
        return replace(spec, model=IN_A_FOLDER)
    if spec.weights == spec.model == present.model:
        return replace(spec, weights=present.weights)
    return spec


def _renewal(path: Path, shard: OpenShard, present: GeneratorSpec) -> Renewal | None:
    about = json.loads(shard.spec)
    if about.keys() != {field.name for field in fields(GeneratorSpec)}:
        return None  # by another version
    old = GeneratorSpec(**about | {"approximate": tuple(about["approximate"])})
    new = renewed(old, present)
    if new == old:
        return None
    rows = request_rows(shard.rows, new).with_columns(old=shard.rows["key"])
    return Renewal(path, shard.generator, new, rows)


def _write(pool: Path, renewal: Renewal) -> None:
    images = cache.read_bytes(pool, cache.shard_index(pool, renewal.path))
    requests = renewal.rows.drop("old")
    cache.write_shard(pool, shard_of(requests), requests, images, renewal.spec)
    renewal.path.unlink()
