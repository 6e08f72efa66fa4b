"""Reading the pool: the pixels that were written, in an order that the seed decides."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_pools
import torch

from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec
from harness.pool import cache
from harness.pool.reader import Pool, open_pool

JPEG = GeneratorSpec(model="test", weights="0" * 64, size_px=16, codec="jpeg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool")
    index = small_pools.make(path, small_pools.grid(sources=8, seeds=(0, 1)))
    scores = np.linspace(-1, 1, len(index)).astype(np.float32)
    table = index.select("key").with_columns(
        text_score=pl.Series(scores), image_score=pl.Series(scores)
    )
    cache.write_scores(path, "clip", table)
    return path


def right(pool: Pool, rows: Sequence[int], pictures: Sequence[np.ndarray]) -> bool:
    expected = [small_pools.picture(pool.keys[int(pool.ids[i])]) for i in rows]
    return all((a == b).all() for a, b in zip(expected, pictures, strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_are_those_of_the_index(folder, workers):
    pool = open_pool(folder, workers=workers)
    assert len(pool) == 48
    order = np.random.default_rng(0).permutation(48)
    assert right(pool, order, pool.take(order))
    assert pool.take(order).shape == (48, 8, 8, 3)
    assert right(pool, [3], [pool[3]])
    assert right(pool, [5, 5, 0], pool.__getitems__([5, 5, 0]))
    with pytest.raises(IndexError):
        pool[48]


def test_subsets_share_everything_but_their_numbers(folder):
    pool = open_pool(folder, "clip")
    some = pool.subset(levels=[10, 90])
    assert set(some.guidance[some.ids]) == {10, 90}
    assert len(some) == 32
    good = some.subset(threshold=0.25)
    assert (good.score[good.ids] >= 0.25).all()
    assert len(good) == int(((pool.score >= 0.25) & (pool.guidance != 50)).sum())
    assert right(good, range(len(good)), good.take(np.arange(len(good))))
    for name in ("guidance", "score", "shard", "offset", "size", "crc32", "_maps"):
        assert getattr(good, name) is getattr(pool, name)
    assert len(pool.subset(levels=[])) == 0
    exact = float(pool.score[7])
    assert len(pool.subset(threshold=exact)) == int((pool.score >= exact).sum())
    with pytest.raises(UsageError, match="48 images have no score"):
        open_pool(folder).subset(threshold=0.1)


def batches_of(pool: Pool, *about: int) -> list[list[int]]:
    batches = []
    for ids, pictures in pool.batches(7, *about):
        assert right(pool, ids, pictures)
        batches.append(ids.tolist())
    return batches


def test_shuffled_batches_depend_on_seed_and_epoch_alone(folder):
    pool = open_pool(folder)
    first = batches_of(pool, 0, 0)
    assert [len(part) for part in first] == [7] * 6 + [6]
    assert sorted(i for part in first for i in part) == list(range(48))
    assert batches_of(open_pool(folder, workers=2), 0, 0) == first
    assert batches_of(pool, 0, 1) != first
    assert batches_of(pool, 1, 0) != first
    assert list(pool.subset(levels=[]).batches(7, 0)) == []


def test_a_change_sees_whole_batches_and_draws_from_the_seed(folder):
    pool = open_pool(folder)

    def noise(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert batch.ndim == 4
        return batch + rng.integers(0, 2, batch.shape, np.uint8)

    once, twice = ([p for _, p in pool.batches(16, 3, change=noise)] for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, twice, strict=True))
    other = [p for _, p in pool.batches(16, 3, 1, change=noise)]
    assert (once[0] != other[0]).any()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_with_worker_processes(folder, start):
    """What torch's loader gives is what the pool gives, whoever opened the files before."""
    pool = open_pool(folder, workers=2)
    pool.take(np.arange(4))
    loader = torch.utils.data.DataLoader(
        pool, 8, num_workers=2, multiprocessing_context=start, collate_fn=np.stack, timeout=120
    )
    assert (np.concatenate(list(loader)) == pool.take(np.arange(48))).all()


def test_a_copy_opens_the_files_itself(folder):
    pool = open_pool(folder).subset(levels=[50])
    pool.take(np.arange(4))
    copy = pickle.loads(pickle.dumps(pool))
    assert copy._maps == {}
    assert (copy.take(np.arange(16)) == pool.take(np.arange(16))).all()


def test_sizes(tmp_path):
    index = small_pools.make(tmp_path, small_pools.grid(spec=JPEG), JPEG)
    assert Pool(tmp_path, index, side_px=8).take(np.arange(3)).shape == (3, 8, 8, 3)
    assert Pool(tmp_path, index).take(np.arange(3)).shape == (3, 16, 16, 3)


@pytest.mark.parametrize("sides", [(16, 8), (8, 16)])
def test_pictures_of_different_sizes_are_a_list(tmp_path, sides):
    parts = []
    for px in sides:
        spec = GeneratorSpec(model="test", weights="0" * 64, size_px=px, codec="jpeg")
        parts.append(small_pools.make(tmp_path, small_pools.grid(sources=2, spec=spec), spec))
    index = cache.read_index(tmp_path).sort("generator", descending=sides[0] < sides[1])
    pool = Pool(tmp_path, index)
    pictures = pool.take(np.arange(len(index)))
    assert isinstance(pictures, list)
    assert {image.shape for image in pictures} == {(8, 8, 3), (16, 16, 3)}
    assert all((pictures[i] == pool[i]).all() for i in range(len(index)))


def test_a_batch_is_what_single_pictures_are(tmp_path):
    pool = Pool(tmp_path, small_pools.make(tmp_path, small_pools.grid(spec=JPEG), JPEG), workers=3)
    batch = pool.take(np.arange(18))
    assert all((batch[i] == pool[i]).all() for i in range(18))
    assert len(pool.take(np.arange(0))) == 0


def test_damage_is_named(tmp_path):
    index = small_pools.make(tmp_path, small_pools.grid())
    path, row = tmp_path / index["shard"][5], index.row(5, named=True)
    data = bytearray(path.read_bytes())
    data[row["offset"] + 3] ^= 1
    path.write_bytes(data)
    pool = Pool(tmp_path, index)
    with pytest.raises(DataError, match=f"{path} is damaged: image {row['key']} is not what"):
        pool.take(np.arange(len(index)))
    path.unlink()
    with pytest.raises(DataError, match=f"cannot read {path}"):
        Pool(tmp_path, index).take(np.arange(len(index)))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"cannot read {path}"):
        Pool(tmp_path, index)[5]


def test_batches_of_nothing(folder):
    with pytest.raises(UsageError, match="batch of 0"):
        list(open_pool(folder).batches(0, 0))
