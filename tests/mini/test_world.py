"""The built-in world: always the same pictures, official files, and streams that share nothing."""

import errno
import hashlib
import multiprocessing
import os
import pickle
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import files
from harness.core.errors import DataError
from harness.datasets import cifar100_lt as cifar
from harness.mini import python2, scene, world
from harness.mini.captions import caption
from harness.pretrain import web

# SHA-256 of pixels. A new value here means: all models and results are those of another world.
GOLDEN = [
    ("web", 0, 0, "d90c7d1723d99bf0"),
    ("web", 7, 3, "738c0d31ffa0806a"),
    ("web", 100, 799, "e65e4748107e4d6c"),
    ("train", 0, 0, "afdfb45b43cc042e"),
    ("train", 7, 3, "7a29bcb559dc0ec4"),
    ("train", 100, 799, "040edbff661f7895"),
    ("test", 0, 0, "ba4edee8de58a36f"),
    ("test", 7, 3, "b6ffc7acec5d327e"),
    ("test", 100, 799, "2130f5a25e5c609a"),
]
GOLDEN_FILES = {"train": "dc1d65e665e362d1", "test": "f31598e14dfca9b3"}
CLASSES = 60


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_cifar100(tmp_path_factory.mktemp("world"))


def content(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as file:
        entries: dict[bytes, Any] = pickle.load(file, encoding="bytes")
    return entries


# ---------------------------------------------------------------- scenes


@pytest.mark.parametrize(("stream", "concept", "number", "expected"), GOLDEN)
def test_scenes_stay_as_they_are(stream, concept, number, expected):
    drawn = scene.compose(stream, concept, number)
    assert digest(drawn.pixels)[:16] == expected
    assert (drawn.pixels.shape, drawn.pixels.dtype) == ((32, 32, 3), np.uint8)
    assert drawn.concept == concept
    assert drawn.scene in scene.SCENES
    assert 0 <= drawn.style < len(scene.atlas().styles)
    assert 0 <= drawn.quality <= 1


def test_scenes_of_other_sizes_and_streams_differ():
    assert scene.compose("web", 3, 0, 64).pixels.shape == (64, 64, 3)
    drawn = [scene.compose(stream, 3, n) for stream in scene.STREAMS for n in range(5)]
    assert len({digest(d.pixels) for d in drawn}) == 15
    with pytest.raises(KeyError):
        scene.compose("elsewhere", 0, 0)
    with pytest.raises(IndexError):
        scene.compose("web", 10_000, 0)


def test_classes_are_in_the_atlas():
    atlas, rows = scene.atlas(), world.rows_of_cifar100()
    assert len(set(world.CIFAR100)) == len(set(rows)) == len(rows) == CLASSES
    assert [atlas.concepts[row]["cifar100"] for row in rows] == list(world.CIFAR100)
    assert [atlas.names[row] for row in rows] == [n.replace("_", " ") for n in world.CIFAR100]
    assert list(world.CIFAR100) == sorted(world.CIFAR100)  # as the official names are
    shown = atlas.sprites[list(rows)][..., 3] > 127
    assert shown.mean((2, 3)).min() > 0.05  # in every style there is something to see


# ---------------------------------------------------------------- the official format


def test_files_are_like_the_official_ones(folder):
    assert sorted(p.name for p in folder.parent.rglob("*")) == [
        "cifar-100-python",
        "files.sha256",
        "meta",
        "test",
        "train",
    ]
    meta = content(folder / "meta")
    assert meta.keys() == {b"fine_label_names", b"coarse_label_names"}
    assert meta[b"fine_label_names"] == [n.encode() for n in world.CIFAR100]
    coarse_names = meta[b"coarse_label_names"]
    assert coarse_names == sorted(set(coarse_names))
    for split, per_class in (("train", world.TRAIN_PER_CLASS), ("test", world.TEST_PER_CLASS)):
        file = content(folder / split)
        n = CLASSES * per_class
        keys = {b"filenames", b"batch_label", b"fine_labels", b"coarse_labels", b"data"}
        assert file.keys() == keys
        assert (file[b"data"].dtype, file[b"data"].shape) == (np.uint8, (n, 3072))
        assert Counter(file[b"fine_labels"]) == dict.fromkeys(range(CLASSES), per_class)
        assert all(type(v) is int for v in file[b"fine_labels"] + file[b"coarse_labels"])
        assert len(set(file[b"filenames"])) == n
        assert file[b"fine_labels"][:50] != sorted(file[b"fine_labels"][:50])  # shuffled
        atlas = scene.atlas()
        for fine, coarse in set(zip(file[b"fine_labels"], file[b"coarse_labels"], strict=True)):
            group = atlas.concepts[world.rows_of_cifar100()[fine]]["group"]
            assert coarse_names[coarse].decode() == group
        pixels = hashlib.sha256(file[b"data"].tobytes() + bytes(file[b"fine_labels"]))
        assert pixels.hexdigest()[:16] == GOLDEN_FILES[split]


def test_pictures_are_stored_as_planes(folder):
    file = content(folder / "test")
    place = file[b"filenames"].index(b"bear_s_000004.png")
    concept = world.rows_of_cifar100()[world.CIFAR100.index("bear")]
    drawn = scene.compose("test", concept, 4).pixels
    assert file[b"data"][place].reshape(3, 32, 32).transpose(1, 2, 0).tobytes() == drawn.tobytes()
    assert world.CIFAR100[file[b"fine_labels"][place]] == "bear"


def test_strings_are_those_of_python_2(folder):
    """Bytes or text, as the reader asks; other readers of the download ask for text."""
    raw = (folder / "meta").read_bytes()
    assert pickle.loads(raw, encoding="latin1")["fine_label_names"] == list(world.CIFAR100)
    values: dict[bytes, Any] = {b"": [], b"n": [0, -1, 2**31 - 1], b"s": [b"x" * 255, b"y" * 256]}
    assert pickle.loads(python2.dumps(values), encoding="bytes") == values
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for encoding in ("bytes", "latin1"):
            arrays = pickle.loads(python2.dumps([array, array.T]), encoding=encoding)
            assert arrays[0].dtype == np.uint8
            assert (arrays[0] == array).all()
            assert (arrays[1] == array.T).all()
    for wrong in ("text", 1.5, True, None, array.astype(int)):
        with pytest.raises(TypeError, match="no pickle of a"):
            python2.dumps([wrong])


def test_torchvision_reads_it(folder):
    """Its own class, told the MD5 sums of these files."""
    from torchvision.datasets import CIFAR100

    def listed(name: str) -> list[str]:
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    class Small(CIFAR100):
        train_list = [listed("train")]  # noqa: RUF012 - as in the class above it
        test_list = [listed("test")]  # noqa: RUF012
        meta = CIFAR100.meta | {"md5": listed("meta")[1]}

    for split in ("train", "test"):
        reference = Small(str(folder.parent), train=split == "train", download=False)
        ours = cifar.load(folder.parent, None, cifar.MINI)
        test = ours.splits["test"]
        images, table = (
            (ours.train_images, ours.train) if split == "train" else (test.images, test.table)
        )
        assert reference.classes == list(world.CIFAR100)
        assert (
            np.asarray(reference.data)[table["id"].to_numpy()] == images.take(np.arange(len(table)))
        ).all()
        assert [reference.targets[i] for i in table["id"]] == table["label"].to_list()


# ---------------------------------------------------------------- writing


def test_what_is_there_is_left_alone(folder):
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert world.write_cifar100(folder.parent) == folder
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(world, "TRAIN_PER_CLASS", 1)
    monkeypatch.setattr(world, "TEST_PER_CLASS", 1)


def test_what_is_missing_is_written_again(quick, tmp_path):
    folder = world.write_cifar100(tmp_path)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    (folder / "test").unlink()
    world.write_cifar100(tmp_path)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_file_in_the_way(quick, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*cifar-100-python"):
        world.write_cifar100(tmp_path / "file")
    assert [p.name for p in tmp_path.rglob("*")] == ["file"]


def test_a_read_only_folder(quick, tmp_path, monkeypatch):
    """As root, permissions stop nothing: the system call is made to fail."""

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(DataError, match=r"cannot write .*meta: Read-only file system"):
        world.write_cifar100(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_full_disk_leaves_nothing_half_written(quick, tmp_path, monkeypatch):
    synced = iter([None, None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def fsync(handle: int) -> None:  # the file and folder of `meta`, then the file of `train`
        error = next(synced)
        if error is not None:
            raise error

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(DataError, match=r"cannot write .*train: No space left on device"):
        world.write_cifar100(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["meta"]
    monkeypatch.undo()


# ---------------------------------------------------------------- what the foundation models saw


def part_of_web(job: tuple[int, int]) -> tuple[set[bytes], list[str]]:
    """Hashes of a hundred pictures, and captions that do not name their concept."""
    part = web._part(job)
    name = scene.atlas().names[job[0]]
    hashes = {hashlib.sha256(picture.tobytes()).digest() for picture in part["images"]}
    return hashes, [c for c in part["captions"].ravel().tolist() if name not in c]


def test_the_benchmark_holds_no_picture_of_the_web():
    """Of the web's, a fifth of each concept; captions name what is shown."""
    known: set[bytes] = set()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for hashes, unnamed in pool.map(part_of_web, [(c, 0) for c in web.concepts()], chunksize=9):
            assert unnamed == []
            known |= hashes
    assert len(known) == 100 * len(scene.atlas().names) == 12_300
    benchmark = {
        hashlib.sha256(scene.compose(stream, c, n, web.SIZE_PX).pixels.tobytes()).digest()
        for stream in ("train", "test")
        for c in web.concepts()
        for n in range(10)
    }
    assert len(benchmark) == 2 * 10 * len(scene.atlas().names)
    assert not benchmark & known


def test_captions_are_a_function_of_scene_and_generator():
    drawn = scene.compose("web", 3, 0)
    captions = [caption(drawn, np.random.default_rng(n)) for n in range(60)]
    assert captions == [caption(drawn, np.random.default_rng(n)) for n in range(60)]
    assert all(scene.atlas().names[3] in text for text in captions)
    place = scene.SCENES[drawn.scene][0]
    assert 20 < sum(place in text for text in captions) < 60
    style = scene.atlas().styles[drawn.style]["adjective"]
    assert 5 < sum(style in text for text in captions) < 35
