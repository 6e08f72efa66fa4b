"""Pictures from files: decoding, order, threads, memory, and what is refused."""

import hashlib
import io
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from official_files import encoded, pixels, write_pictures
from PIL import Image

from harness.core.errors import DataError
from harness.datasets import pictures
from harness.datasets.pictures import Block, Files

ROW = 8 * 8 * 3  # bytes of a tiny picture
GIB = 2**30


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    names = [f"{i % 3}/{i}.jpg" for i in range(10)]
    write_pictures(tmp_path, names)
    return names


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("form", "mode", "settings"),
    [
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
    ],
)
def test_any_usual_picture_comes_as_rgb(form: str, mode: str, settings: dict[str, object]) -> None:
    data = encoded(pixels(3, 24, 16), form, mode, **settings)
    found = pictures.decode(data)
    assert found.dtype == np.uint8
    assert found.shape == (24, 16, 3)
    assert np.abs(found.astype(int) - by_pillow(data)).max() <= 1  # CMYK is rounded differently


def test_jpeg_with_bytes_between_markers_is_read_all_the_same() -> None:
    data = encoded(pixels(1))
    scan = data.index(b"\xff\xda")
    assert np.array_equal(
        pictures.decode(data[:scan] + b"\x00\x01\x02" + data[scan:]), by_pillow(data)
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_cut_off_pictures_are_refused(form: str, keep: float) -> None:
    data = encoded(pixels(0, 64, 64), form)
    with pytest.raises(DataError, match=r"^fox\.jpg: .*expected a"):
        pictures.decode(data[: int(keep * len(data))], "fox.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_damage_is_a_data_error_or_a_picture(form: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(pixels(0, 16, 16), form)
    refused = 0
    for _ in range(200):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            spoilt[place] = rng.integers(256)
        try:
            assert pictures.decode(bytes(spoilt)).dtype == np.uint8
        except DataError:
            refused += 1
    assert refused > 0


def test_a_text_is_no_picture() -> None:
    with pytest.raises(
        DataError, match=r"picture: 42 bytes that begin b.%!PS-Ado., expected a whole JPEG or PNG"
    ):
        pictures.decode(b"%!PS-Adobe-3.0 EPSF-3.0 which Pillow knows")


# ---------------------------------------------------------------- taking


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("budget", [0.0, 1.0])
def test_order_and_repetition(
    tmp_path: Path, paths: list[str], workers: int, budget: float
) -> None:
    files = Files(tmp_path, paths, budget, workers)
    for ids in ([7, 0, 3, 3], [9, 8, 7, 0, 1, 2, 3, 4, 5, 6], [5]):
        found = files.take(np.array(ids))
        expected = np.stack([by_pillow((tmp_path / paths[i]).read_bytes()) for i in ids])
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, expected)
    assert len(files) == 10
    assert len(files.take(np.array([], int))) == 0


def test_files_are_read_once_when_they_fit(tmp_path: Path, paths: list[str]) -> None:
    files = Files(tmp_path, paths)
    first = files.take(np.arange(10))
    for path in paths:
        (tmp_path / path).unlink()
    assert np.array_equal(files.take(np.arange(10)), first)
    files.take(np.array([4]))[0, 0] = 0  # what is given out is a copy
    assert np.array_equal(files.take(np.arange(10)), first)


@pytest.mark.parametrize(("pictures_that_fit", "kept"), [(10, True), (9, False)])
def test_budget(tmp_path: Path, paths: list[str], pictures_that_fit: int, kept: bool) -> None:
    files = Files(tmp_path, paths, pictures_that_fit * ROW / GIB)
    files.take(np.arange(10))
    (tmp_path / paths[2]).unlink()
    if kept:
        assert len(files.take(np.array([2]))) == 1
    else:
        with pytest.raises(DataError, match=r"2/2\.jpg: no such file"):
            files.take(np.array([2]))


def test_a_kept_block_is_no_larger_than_the_budget(tmp_path: Path, paths: list[str]) -> None:
    files = Files(tmp_path, paths, 10 * ROW / GIB)
    files.take(np.array([0]))
    assert files._block is not None
    assert files._block.nbytes == 10 * ROW


def test_sizes_that_differ_come_as_a_list(tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / paths[6]).write_bytes(encoded(pixels(6, 9, 7)))
    files = Files(tmp_path, paths)
    assert isinstance(files.take(np.array([0, 1])), np.ndarray)  # so far all have one size
    found = files.take(np.array([1, 6, 0]))
    assert [p.shape for p in found] == [(8, 8, 3), (9, 7, 3), (8, 8, 3)]
    assert np.array_equal(found[2], by_pillow((tmp_path / paths[0]).read_bytes()))
    assert files._block is None  # and nothing is kept from then on
    assert isinstance(files.take(np.array([0, 1])), np.ndarray)
    assert files._block is None


def test_several_threads_may_take_at_once(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(60)]
    write_pictures(tmp_path, names)
    expected = Files(tmp_path, names, 0).take(np.arange(60))
    files, wrong = Files(tmp_path, names, workers=2), []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            ids = rng.integers(0, 60, 16)
            if not np.array_equal(files.take(ids), expected[ids]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_another_process_gets_names_and_not_pixels(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(60)]
    write_pictures(tmp_path, names)
    files = Files(tmp_path, names, workers=2)
    found = files.take(np.arange(60))
    sent = pickle.dumps(files)
    assert len(sent) < 60 * ROW / 4
    assert np.array_equal(pickle.loads(sent).take(np.arange(60)), found)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_wrong_is_named(tmp_path: Path, paths: list[str], workers: int) -> None:
    files = Files(tmp_path, paths, workers=workers)
    data = (tmp_path / paths[4]).read_bytes()
    (tmp_path / paths[4]).write_bytes(data[: len(data) // 2])
    (tmp_path / paths[5]).unlink()
    (tmp_path / paths[7]).unlink()
    (tmp_path / paths[7]).mkdir()
    for number, says in (
        (4, r"1/4\.jpg: \d+ bytes that no decoder reads .*[tT]runcated"),
        (5, r"2/5\.jpg: no such file"),
        (7, r"1/7\.jpg: is a folder, expected a picture"),
        (10, r"picture 0 or 10 is not in 0\.\.9"),
    ):
        with pytest.raises(DataError, match=says):
            files.take(np.array([0, 1, 2, 3, number]))
    with pytest.raises(DataError, match=r"picture -1 or 0 is not in"):
        files.take(np.array([0, -1]))
    with pytest.raises(DataError, match=r"2/5\.jpg: no such file"):
        files.digests(np.array([5]))


def test_digests_are_those_of_the_files(tmp_path: Path, paths: list[str]) -> None:
    expected = [
        hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in reversed(paths)
    ]
    assert Files(tmp_path, paths, workers=2).digests(np.arange(10)[::-1]) == expected


def test_threads_are_as_many_as_the_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert pictures.threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert pictures.threads() == pictures.cores()


# ---------------------------------------------------------------- in memory


def test_block() -> None:
    block = Block(np.stack([pixels(i) for i in range(4)]))
    assert len(block) == 4
    assert np.array_equal(block.take(np.array([2, 0])), np.stack([pixels(2), pixels(0)]))
    assert block.digests(np.array([3])) == [hashlib.sha256(pixels(3).tobytes()).hexdigest()]
    with pytest.raises(DataError, match=r"not in 0\.\.3"):
        block.take(np.array([4]))
    with pytest.raises(DataError, match="float64"):
        Block(np.zeros((1, 8, 8, 3)))
