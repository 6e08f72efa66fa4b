"""The image cache: plans, resuming, damage, full disks, two writers, and reading."""

import errno
import multiprocessing
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_pools import SPEC, files, grid, make, picture, write

from harness.core import files as disk
from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec, ImageSpec, key
from harness.datasets.codec import resized
from harness.pool import cache, shards
from harness.pool import index as pool_index

ME = key(SPEC)


# ---------------------------------------------------------------- plans


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_plan_depends_only_on_the_set_of_requests(random, size):
    rows = grid(5)
    order = list(range(len(rows))) + [random.randrange(len(rows)) for _ in range(3)]
    random.shuffle(order)
    plan, again = cache.plan_shards(rows, size), cache.plan_shards(rows[order], size)
    assert [(s.path, s.keys) for s in plan] == [(s.path, s.keys) for s in again]
    assert sorted(k for s in plan for k in s.keys) == sorted(rows["key"])
    assert all(s.rows["guidance"].n_unique() == 1 and len(s.keys) <= size for s in plan)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda r: r.drop("prompt"), UsageError, "prompt"),
        (
            lambda r: r.with_columns(guidance=pl.lit(100, pl.Int16)),
            UsageError,
            "100 is not in 0..99",
        ),
        (lambda r: r.with_columns(seed=pl.lit(None, pl.Int32)), UsageError, "missing values"),
        (lambda r: r.with_columns(key=pl.lit("same")), DataError, "same image key"),
    ],
)
def test_plan_refuses_bad_requests(change, error, says):
    with pytest.raises(error, match=says):
        cache.plan_shards(change(grid()))


def test_image_keys_chain_to_the_generator(tmp_path):
    other = grid(spec=GeneratorSpec(model="test", weights="1" * 64, size_px=8))
    assert not set(other["key"]) & set(grid()["key"])
    shard = cache.plan_shards(other, 4)[0]
    with pytest.raises(DataError, match="not the key of its image and generator"):
        write(tmp_path, shard)  # keys of one generator, images of another


# ---------------------------------------------------------------- resuming


@settings(max_examples=25, deadline=None)
@given(done=st.sets(st.integers(0, 8)), size=st.integers(2, 5))
def test_resuming_gives_the_files_of_an_undisturbed_run(tmp_path_factory, done, size):
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    make(whole, grid(), size=size)
    for i, shard in enumerate(cache.pending(killed, grid(), ME, size)):
        if i in done:  # any subset: workers do not end in order
            write(killed, shard)
    make(killed, grid(), size=size)
    assert files(killed) == files(whole)
    assert cache.pending(killed, grid(), ME, size) == []


def test_resuming_after_a_real_kill(tmp_path):
    code = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from small_pools import *\n"
        "import harness.core.files as f\n"
        "real = f.os.fsync\n"
        "count = iter(range(99))\n"
        "def fsync(fd):\n"
        "    if next(count) == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(fd)\n"
        "f.os.fsync = fsync\n"
        "make(Path(sys.argv[1]), grid())\n"
    )
    path = os.pathsep.join(
        [str(Path(__file__).parents[1] / "builders"), str(Path(__file__).parents[2])]
    )
    run = [sys.executable, "-c", code, str(tmp_path / "killed")]
    assert subprocess.run(run, env={**os.environ, "PYTHONPATH": path}).returncode == -9
    assert len(disk.leftovers(tmp_path)) == 1
    assert len(shards.shard_paths(tmp_path / "killed")) == 3
    make(tmp_path / "killed", grid())
    make(tmp_path / "whole", grid())
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("more", [grid(levels=(10, 30, 50, 90)), grid(9), grid(seeds=(0, 1))])
def test_more_requests_make_only_what_is_missing(tmp_path, more):
    before = make(tmp_path, grid())
    old = files(tmp_path)
    left = cache.pending(tmp_path, more, ME, 4)
    assert sorted(k for s in left for k in s.keys) == sorted(set(more["key"]) - set(before["key"]))
    index = make(tmp_path, more)
    assert set(index["key"]) == set(more["key"])
    assert old.items() <= files(tmp_path).items()


def test_shards_of_another_generator_do_not_count(tmp_path):
    make(tmp_path, grid())
    other = GeneratorSpec(model="test", weights="0" * 64, size_px=8, codec="jpeg")
    rows = grid(spec=other)
    assert sum(len(s.keys) for s in cache.pending(tmp_path, rows, key(other), 4)) == len(rows)
    index = make(tmp_path, rows, other)
    assert index["generator"].value_counts(sort=True)["count"].to_list() == [18, 18]
    assert cache.verify(tmp_path) == []


# ---------------------------------------------------------------- writing


def test_equal_rows_give_equal_bytes_in_any_order(tmp_path):
    shard = cache.plan_shards(grid(), 4)[0]
    turned = shard.rows.reverse()
    images = [cache.encode(picture(k), SPEC.codec) for k in turned["key"]]
    a = write(tmp_path / "a", shard)
    b = cache.write_shard(tmp_path / "b", shard, turned, images, SPEC)
    assert a.read_bytes() == b.read_bytes()
    assert a.name == b.name


def test_rows_that_are_not_the_shards_are_refused(tmp_path):
    one, two = cache.plan_shards(grid(), 4)[:2]
    with pytest.raises(DataError, match="takes its own 4 rows"):
        cache.write_shard(tmp_path, one, two.rows, [b""] * len(two.keys), SPEC)
    with pytest.raises(DataError, match="4 rows and 3 images"):
        cache.write_shard(tmp_path, one, one.rows, [b""] * 3, SPEC)


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_failed_write_leaves_the_pool_as_it_was(tmp_path, monkeypatch, call, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    make(tmp_path, grid())
    old = files(tmp_path)
    new = cache.pending(tmp_path, grid(9), ME, 4)[0]
    damaged = cache.plan_shards(grid(), 4)[0]
    monkeypatch.setattr(disk.os, call, fail)
    for shard in (new, damaged):  # a new file, and one that is there
        with pytest.raises(DataError, match=f"cannot write .*{shard.path}: {os.strerror(number)}"):
            write(tmp_path, shard)
    monkeypatch.undo()
    assert files(tmp_path) == old
    assert cache.verify(tmp_path) == []


def test_a_file_cut_off_by_the_system_leaves_nothing(tmp_path):
    shard = cache.plan_shards(grid(), 4)[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the write itself fails halfway
    try:
        with pytest.raises(DataError, match="File too large"):
            write(tmp_path, shard)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == {}


def test_a_pool_in_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "pool").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        write(tmp_path / "pool", cache.plan_shards(grid(), 4)[0])
    with pytest.raises(DataError, match="no pool of synthetic images"):
        cache.read_index(tmp_path / "nowhere")


def _write_all(pool, start):
    start.wait()
    for shard in cache.plan_shards(grid(), 4):
        write(pool, shard)


def test_two_processes_that_write_the_same_shards(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    both = [context.Process(target=_write_all, args=(tmp_path / "both", start)) for _ in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    make(tmp_path / "one", grid())
    cache.build_index(tmp_path / "both")
    assert files(tmp_path / "both") == files(tmp_path / "one")


def test_leftovers_go_but_not_those_of_running_writers(tmp_path):
    make(tmp_path, grid())
    folder = tmp_path / "images" / "g010"
    dead = folder / ".part-000000000000.arrow.0123abcd.tmp"
    foreign = folder / ".notes.tmp"
    for tmp in (dead, foreign):
        tmp.write_bytes(b"half")
    with disk.atomic(folder / "part-000000000000.arrow") as file:
        file.write(b"half")
        live = [path for path in folder.glob(".part*.tmp") if path != dead]
        assert len(live) == 1
        assert [p.split(":")[0] for p in cache.verify(tmp_path)] == [str(dead)]
        cache.build_index(tmp_path)
        assert sorted(folder.glob(".*.tmp")) == sorted([*live, foreign])
    (folder / "part-000000000000.arrow").unlink()
    assert cache.verify(tmp_path) == []


# ---------------------------------------------------------------- damage


def test_a_shard_cut_off_anywhere_does_not_open(tmp_path):
    make(tmp_path, grid())
    path = shards.shard_paths(tmp_path)[0]
    whole = path.read_bytes()
    for length in [0, 1, 8, *range(9, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(shards.Damaged, match=path.name):
            shards.open_shard(path)
    with pytest.raises(DataError, match="not a whole shard"):
        cache.build_index(tmp_path)
    assert [s.path for s in cache.pending(tmp_path, grid(), ME, 4)] == [
        str(path.relative_to(tmp_path))
    ]
    make(tmp_path, grid())
    assert path.read_bytes() == whole


def test_a_flipped_byte_is_noticed_or_without_effect(tmp_path):
    """Every third byte of a shard, one after the other: never other rows or other pixels."""
    make(tmp_path, grid(2, levels=(10,)))
    path = shards.shard_paths(tmp_path)[0]
    whole = path.read_bytes()
    rows = cache.build_index(tmp_path)
    images = cache.read_bytes(tmp_path, rows)
    noticed = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            index = cache.index_of(tmp_path)
            assert index.drop("offset", "size").equals(rows.drop("offset", "size"))
            assert cache.read_bytes(tmp_path, index) == images
        except DataError:
            noticed += 1
    assert noticed > len(whole) / 6  # the rest is padding and unused metadata


def test_a_flipped_byte_in_an_image_names_shard_and_key(tmp_path):
    index = make(tmp_path, grid())
    row = index.row(7, named=True)
    path = tmp_path / row["shard"]
    data = bytearray(path.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{row['shard']} is damaged: image {row['key']}"):
        cache.read_bytes(tmp_path, index)
    assert len(cache.verify(tmp_path)) == 1
    assert cache.gc(tmp_path, [ME]) == [path]
    assert cache.pending(tmp_path, grid(), ME, 4)[0].path == row["shard"]
    assert make(tmp_path, grid()).equals(index)
    assert cache.verify(tmp_path) == []


def test_a_missing_or_short_shard_is_named_on_reading(tmp_path):
    index = make(tmp_path, grid())
    path = tmp_path / index["shard"][0]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=path.name):
        cache.read_bytes(tmp_path, index)
    path.unlink()
    with pytest.raises(DataError, match=f"cannot read .*{path.name}"):
        cache.read_bytes(tmp_path, index)


def test_files_that_are_no_shards(tmp_path):
    make(tmp_path, grid())
    folder = tmp_path / "images" / "g010"
    (folder / "notes.txt").write_text("mine")
    shards.shard_paths(tmp_path)[0].rename(folder / "part-0123456789ab.arrow")  # renamed
    with pa.ipc.new_file(str(folder / "part-aaaaaaaaaaaa.arrow"), pa.schema([("a", pa.int8())])):
        pass  # Arrow, but another's
    problems = cache.verify(tmp_path)
    assert len(problems) == 3
    assert "its name is not that of its rows" in problems[1]
    assert len(cache.pending(tmp_path, grid(), ME, 4)) == 1
    cache.gc(tmp_path, [ME])
    assert make(tmp_path, grid()).height == 18
    assert (folder / "notes.txt").exists()


# ---------------------------------------------------------------- index


def test_byte_ranges_are_those_of_the_arrow_values(tmp_path):
    index = make(tmp_path, grid())
    for (name,), rows in index.group_by("shard"):
        values = pa.ipc.open_file(str(tmp_path / name)).read_all()
        images = {
            k: v["bytes"]
            for k, v in zip(
                *map(pa.ChunkedArray.to_pylist, (values["key"], values["image"])), strict=True
            )
        }
        with open(tmp_path / name, "rb") as file:
            for k, offset, size in rows.select("key", "offset", "size").iter_rows():
                assert os.pread(file.fileno(), size, offset) == images[k]


def test_the_index_follows_the_shards(tmp_path):
    index = make(tmp_path, grid())
    assert cache.read_index(tmp_path).equals(index)
    written = (tmp_path / "index.parquet").stat().st_mtime_ns
    cache.read_index(tmp_path)
    assert (tmp_path / "index.parquet").stat().st_mtime_ns == written  # current: not written again
    write(tmp_path, cache.pending(tmp_path, grid(9), ME, 4)[0])
    assert cache.verify(tmp_path)[0].endswith("not that of the shards")
    assert cache.read_index(tmp_path).height > index.height
    (tmp_path / index["shard"][0]).unlink()
    assert index["shard"][0] not in cache.read_index(tmp_path)["shard"]
    (tmp_path / "index.parquet").write_bytes(b"PAR1 half")
    assert cache.read_index(tmp_path).height
    (tmp_path / "index.parquet").unlink()
    assert cache.read_index(tmp_path).equals(cache.read_index(tmp_path))


def test_the_index_of_an_empty_pool_has_its_columns(tmp_path):
    assert cache.read_index(tmp_path).schema == pl.Schema(cache.INDEX)
    assert cache.verify(tmp_path) == []
    assert cache.read_bytes(tmp_path, cache.read_index(tmp_path)) == []


def test_an_image_that_two_shards_hold_is_listed_once(tmp_path):
    make(tmp_path, grid(), size=4)
    for shard in cache.plan_shards(grid(7), 5):
        write(tmp_path, shard)
    assert sorted(cache.build_index(tmp_path)["key"]) == sorted(grid(7)["key"])


# ---------------------------------------------------------------- reading


def test_images_come_back_in_the_order_of_the_rows(tmp_path):
    index = make(tmp_path, grid())
    rows = index[[5, 0, 17, 5]]
    images = [cache.decode(data) for data in cache.read_bytes(tmp_path, rows)]
    for image, k in zip(images, rows["key"], strict=True):
        np.testing.assert_array_equal(image, picture(k))


def test_sizes():
    image = picture("0" * 64, 64)[:48]
    assert resized(image, 64, 48) is image
    assert resized(image, 32).shape == (32, 32, 3)
    assert resized(image, 32, 24).shape == (24, 32, 3)
    expected = Image.fromarray(image).resize((32, 24), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resized(image, 32, 24), np.asarray(expected))


def test_codecs():
    image = picture("12345678", 32)
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    np.testing.assert_array_equal(cache.decode(cache.encode(image, "webp-lossless")), image)
    assert cache.encode(image, "webp-lossless") == cache.encode(image.copy(), "webp-lossless")
    error = cache.decode(cache.encode(smooth, "jpeg")).astype(int) - smooth
    assert np.abs(error).max() <= 8
    view = image[::2, ::-1]  # not contiguous
    np.testing.assert_array_equal(cache.decode(cache.encode(view, "webp-lossless")), view)
    cache.encode(view, "jpeg")
    with pytest.raises(UsageError, match="did you mean 'webp-lossless'"):
        cache.encode(image, "webp_lossless")
    for wrong in (image.astype(np.float32), image[..., :1], image[:0], image[0]):
        with pytest.raises(DataError, match="uint8"):
            cache.encode(wrong, "jpeg")


@pytest.mark.parametrize("codec", ["webp-lossless", "jpeg"])
def test_damaged_images_are_data_errors(codec):
    data = cache.encode(picture("12345678", 32), codec)
    for wrong in (b"", b"GIF89a", data[:20]):
        with pytest.raises(DataError):
            cache.decode(wrong)


@pytest.mark.parametrize("mean", ["short", "flip"])
def test_pixels_are_derived_once_and_checked(tmp_path, mean):
    index = make(tmp_path, grid())
    pixels = cache.pixels(tmp_path, index)
    expected = np.stack([picture(k) for k in index["key"]])
    np.testing.assert_array_equal(pixels, expected)
    (path,) = tmp_path.glob("pixels-*.u8")
    first = path.stat().st_ino
    cache.pixels(tmp_path, index)
    assert path.stat().st_ino == first
    np.testing.assert_array_equal(cache.pixels(tmp_path, index[3:9]), expected[3:9])
    data = bytearray(path.read_bytes())
    if mean == "flip":
        data[100] ^= 1
    path.write_bytes(data if mean == "flip" else data[:100])
    np.testing.assert_array_equal(cache.pixels(tmp_path, index), expected)
    assert cache.pixels(tmp_path, index[:0]).shape == (0, 0, 0, 3)


def test_pixels_of_large_or_different_pictures_are_refused(tmp_path):
    large = GeneratorSpec(model="test", weights="0" * 64, size_px=65, codec="jpeg")
    index = make(tmp_path, grid(1, spec=large), large)
    with pytest.raises(UsageError, match="65x65 px"):
        cache.pixels(tmp_path, index)
    small = make(tmp_path, grid(1))
    with pytest.raises(DataError, match="different sizes"):
        cache.pixels(tmp_path, small.sort("size"))
    assert cache.pixels(tmp_path, index, side_px=32).shape == (len(index), 32, 32, 3)
    for path in tmp_path.glob("pixels-*.u8"):
        path.unlink()
    assert not list(tmp_path.glob("*pixels*"))


# ---------------------------------------------------------------- scores and cleaning


def scores(keys, text=0.25):
    return pl.DataFrame({"key": keys, "text_score": text, "image_score": 0.5})


def test_scores_are_added_and_replaced(tmp_path):
    keys = grid()["key"].to_list()
    assert cache.read_scores(tmp_path, "mini") is None
    cache.write_scores(tmp_path, "mini", scores(keys[:4]))
    cache.write_scores(tmp_path, "mini", scores(keys[3:6], 0.75))
    table = cache.read_scores(tmp_path, "mini")
    assert table.schema == pl.Schema(cache.SCORES)
    assert dict(table.select("key", "text_score").iter_rows()) == dict(
        zip(keys[:6], [0.25] * 3 + [0.75] * 3, strict=True)
    )
    cache.write_scores(tmp_path, "ViT/B", scores(keys[:1]))
    cache.write_scores(tmp_path, "ViT B", scores(keys[:2]))
    assert [cache.read_scores(tmp_path, c).height for c in ("mini", "ViT/B", "ViT B")] == [6, 1, 2]


@pytest.mark.parametrize("value", [None, float("nan"), 1.5, -25.0, float("inf")])
def test_scores_out_of_range_are_refused(tmp_path, value):
    with pytest.raises(DataError, match="of image k is not in"):
        cache.write_scores(
            tmp_path, "mini", scores(["k"]).with_columns(text_score=pl.lit(value, pl.Float64))
        )
    with pytest.raises(DataError, match="two scores"):
        cache.write_scores(tmp_path, "mini", scores(["k", "k"]))
    (tmp_path / "scores-mini.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged"):
        cache.read_scores(tmp_path, "mini")


def test_gc_keeps_what_is_asked_for(tmp_path):
    other = GeneratorSpec(model="test", weights="1" * 64, size_px=8)
    chosen = make(tmp_path, grid())
    index = make(tmp_path, grid(spec=other), other)
    cache.write_scores(tmp_path, "mini", scores(index["key"].to_list()))
    cache.pixels(tmp_path, chosen)
    removed = cache.gc(tmp_path, {ME})
    assert len(removed) == 6 + 1
    assert cache.read_index(tmp_path).equals(chosen)
    assert sorted(cache.read_scores(tmp_path, "mini")["key"]) == sorted(chosen["key"])
    assert cache.gc(tmp_path, {ME}) == []
    with pytest.raises(UsageError, match="at least one generator"):
        cache.gc(tmp_path, set())


@pytest.mark.parametrize("keys", [["b", "a", "cc"], ["0f", "0a", "0b"], ["f" * 64, "e" * 64], []])
def test_rows_are_sorted_by_key_whatever_keys_are(keys):
    rows = pl.DataFrame({"key": keys, "n": range(len(keys))}, schema={"key": pl.String, "n": int})
    assert shards.by_key(rows).equals(rows.sort("key"))


def test_keys_from_the_template_are_those_of_the_specs():
    """Also of texts that JSON escapes."""
    prompts = ['a "dog"', "caf\u00e9 \u2603", "tab\tline\nend\\", "", "x" * 300]
    rows = pl.DataFrame(
        {"source": "ab", "classname": "c", "guidance": range(5), "seed": 7, "prompt": prompts}
    )
    keyed = cache.request_rows(rows, SPEC)
    specs = rows.select("source", "guidance", "seed", "prompt").iter_rows()
    assert keyed["key"].to_list() == [key(ImageSpec(key(SPEC), *row)) for row in specs]


def test_only_new_shards_are_opened(tmp_path, monkeypatch):
    make(tmp_path, grid(2, levels=(10,)))
    before = {path: path.stat().st_mtime_ns for path in shards.shard_paths(tmp_path)}
    for path in before:
        os.utime(path, ns=(0, 0))
    cache.build_index(tmp_path)
    opened, read = [], pool_index.open_shard
    monkeypatch.setattr(pool_index, "open_shard", lambda path: opened.append(path) or read(path))
    make(tmp_path, grid(2, levels=(10, 20)))
    assert cache.build_index(tmp_path).equals(cache.read_index(tmp_path))
    assert opened
    assert not set(opened) & set(before)
    for path in before:  # written since: looked at again
        os.utime(path)
    assert cache.pending(tmp_path, grid(2, levels=(10, 20)), ME) == []
    assert set(before) <= set(opened)
