"""Images whose generator is known by another name keep their pixels and get its keys."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import small_pools

from harness.core.errors import DataError
from harness.core.specs import GeneratorSpec, key
from harness.pool import cache, failures, shards
from harness.pool.rekey import rekey

DIGEST = "5f" * 32
BEFORE = replace(small_pools.SPEC, model="/home/one/models/sdxl", weights=DIGEST)
NOW = replace(BEFORE, model="folder")
ROWS = small_pools.grid(spec=BEFORE)  # 18 images in shards of 4


def scored(pool: Path, index: pl.DataFrame) -> None:
    n = pl.Series("text_score", [i / 100 for i in range(len(index))], pl.Float32)
    table = index.select("key", n, (-n).alias("image_score"))
    cache.write_scores(pool, "clip", table)


def contents(pool: Path) -> dict[tuple, tuple[bytes, float]]:
    """Image and text score by what the image is of."""
    index = cache.read_index(pool)
    about = index.select("source", "guidance", "seed", "prompt", "classname").rows()
    scores = index.join(cache.read_scores(pool, "clip"), on="key", maintain_order="left")
    assert len(scores) == len(index)
    images = zip(cache.read_bytes(pool, index), scores["text_score"], strict=True)
    return dict(zip(about, images, strict=True))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Made by a generator in a folder that has moved since; one image failed."""
    request = ROWS[-1:]
    shard = shards.shard_of(request)
    failures.write(tmp_path, shard, {request["key"][0]: "no memory"}, None, key(BEFORE))
    scored(tmp_path, small_pools.make(tmp_path, ROWS[:-1], BEFORE))
    return tmp_path


def is_of_now(pool: Path) -> bool:
    index, wanted = cache.read_index(pool), small_pools.grid(spec=NOW)
    failed = failures.read(pool, key(NOW))
    assert cache.verify(pool) == []
    assert set(index["generator"]) == {key(NOW)}
    assert failed["reason"].to_list() == ["no memory"]
    return set(index["key"]) | set(failed["key"]) == set(wanted["key"])


def test_a_folder_that_moved(pool):
    before = contents(pool)
    assert rekey(pool, NOW) == len(ROWS) - 1
    assert is_of_now(pool)
    assert contents(pool) == before
    left = cache.pending(pool, small_pools.grid(spec=NOW), key(NOW))
    assert sum(len(shard.rows) for shard in left) == 1  # the one that failed
    assert len(cache.read_scores(pool, "clip")) == len(before)


def test_again_there_is_nothing_to_do(pool):
    rekey(pool, NOW)
    before = small_pools.files(pool)
    assert rekey(pool, NOW) == 0
    assert small_pools.files(pool) == before


@pytest.mark.parametrize("written", range(1, 6))
def test_an_interrupted_call_resumes(pool, monkeypatch, written):
    before, write, count = contents(pool), cache.write_shard, 0

    def cut_off(*arguments):
        nonlocal count
        count += 1
        path = write(*arguments)
        if count == written:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(cache, "write_shard", cut_off)
    with pytest.raises(KeyboardInterrupt):
        rekey(pool, NOW)
    monkeypatch.setattr(cache, "write_shard", write)
    rekey(pool, NOW)
    assert is_of_now(pool)
    assert contents(pool) == before


def test_two_places_of_one_folder_become_one(pool):
    other = replace(BEFORE, model="/home/two/models/sdxl")
    small_pools.make(pool, small_pools.grid(spec=other)[:6], other)
    rekey(pool, NOW)
    assert is_of_now(pool)


@pytest.mark.parametrize(
    "spec",
    [
        replace(BEFORE, model="mini"),
        NOW,
        replace(BEFORE, model="owner/name", weights="main"),
        replace(BEFORE, model="owner/name", weights="owner/name"),
    ],
)
def test_others_stay_as_they_are(tmp_path, spec):
    small_pools.make(tmp_path, small_pools.grid(spec=spec), spec)
    before = small_pools.files(tmp_path)
    assert rekey(tmp_path, NOW) == 0
    assert small_pools.files(tmp_path) == before


def test_a_hub_name_gets_its_commit(tmp_path):
    old = replace(BEFORE, model="owner/name", weights="owner/name", steps=7)
    now = GeneratorSpec("owner/name", "0123456789" * 4, 512)  # whatever else it asks for
    small_pools.make(tmp_path, small_pools.grid(spec=old), old)
    assert rekey(tmp_path, now) == len(ROWS)
    assert set(cache.read_index(tmp_path)["generator"]) == {key(replace(old, weights=now.weights))}


def test_a_damaged_pool_is_left_alone(pool):
    path = next(iter(sorted(pool.rglob("part-*.arrow"))))
    path.write_bytes(path.read_bytes()[:-1])
    before = small_pools.files(pool)
    with pytest.raises(DataError, match="not a whole shard"):
        rekey(pool, NOW)
    assert small_pools.files(pool) == before
    with pytest.raises(DataError, match="there is no pool"):
        rekey(pool / "nowhere", NOW)
