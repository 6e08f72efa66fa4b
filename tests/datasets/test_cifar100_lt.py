"""The long-tailed CIFAR-100: profiles, the draw, the reader, and what it refuses."""

import contextlib
import hashlib
import io
import math
import os
import pickle
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from cifar_files import dump, official, write_world

from harness.core.errors import DataError, UsageError
from harness.datasets import cifar100_lt as cifar
from harness.datasets import longtail, subsets
from harness.datasets.unpickle import load as unpickle

MINI, PAPER = cifar.RECIPES["mini"], cifar.RECIPES["paper"]
TOTALS = {10: 19_573, 50: 12_608, 100: 10_847, 200: 9_502}

# The first images of class 0 that the protocol draws from the real file (indices into it).
DRAWN = [9470, 27272, 30172, 43691, 45171, 1979, 32714, 48715, 16637, 16352]


# ---------------------------------------------------------------- small official files


def spoil(path: Path, **entries: object) -> None:
    """Replaces entries of a file; None removes one."""
    content = pickle.loads(path.read_bytes())
    content.update({name.encode(): value for name, value in entries.items()})
    dump(path, {k: v for k, v in content.items() if v is not None})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_world(tmp_path)


# ---------------------------------------------------------------- class sizes


@pytest.mark.parametrize(("imbalance", "total"), TOTALS.items())
def test_floor_profile_has_the_published_totals(imbalance: int, total: int) -> None:
    counts = subsets.class_counts(500, 100, imbalance)
    assert sum(counts) == total
    assert (counts[0], counts[-1]) == (500, 500 // imbalance)


@pytest.mark.parametrize("imbalance", TOTALS)
def test_floor_profile_equals_the_formula_in_floats(imbalance: int) -> None:
    by_float = tuple(int(500 * (1 / imbalance) ** (i / 99)) for i in range(100))
    assert subsets.class_counts(500, 100, imbalance) == by_float


@pytest.mark.parametrize(("imbalance", "total", "last"), [(100, 10_846, 4), (50, 12_607, 9)])
def test_multiplicative_profile(imbalance: int, total: int, last: int) -> None:
    counts = subsets.class_counts(500, 100, imbalance, "multiplicative")
    assert (sum(counts), counts[-1]) == (total, last)


@pytest.mark.parametrize("imbalance", TOTALS)
def test_multiplicative_profile_is_a_root_rounded_down(imbalance: int) -> None:
    mu = (1 / imbalance) ** (1 / 99)
    while Fraction(mu) ** 99 * imbalance > 1:
        mu = math.nextafter(mu, 0)
    expected = tuple(int(500 * Fraction(mu) ** i) for i in range(100))
    assert subsets.class_counts(500, 100, imbalance, "multiplicative") == expected


def test_floor_is_exact_where_the_power_is_a_whole_number() -> None:
    # 1000 * (1 / 1000) ** (1 / 3) is 100.00000000000001 or 99.99999999999999 in floats
    assert subsets.class_counts(1000, 4, 1000) == (1000, 100, 10, 1)
    assert subsets.class_counts(3**20, 21, 3**20) == tuple(3 ** (20 - i) for i in range(21))


def test_other_sizes_than_the_official_ones() -> None:
    counts = subsets.class_counts(200, 50, 100)
    assert len(counts) == 50
    assert (counts[0], counts[-1]) == (200, 2)
    assert list(counts) == sorted(counts, reverse=True)
    assert subsets.class_counts(200, 50, 1) == (200,) * 50


@pytest.mark.parametrize("imbalance", [0, -1, 501])
def test_impossible_imbalance(imbalance: int) -> None:
    with pytest.raises(UsageError, match="expected a whole number from 1 to 500"):
        subsets.class_counts(500, 100, imbalance)
    with pytest.raises(UsageError, match="expected a whole number from 1 to 499"):
        subsets.class_counts(500, 100, 500, "multiplicative")


def test_unknown_count_profile() -> None:
    with pytest.raises(UsageError, match="'floor', 'multiplicative'"):
        subsets.class_counts(500, 100, 100, "exponential")


@pytest.mark.parametrize(
    ("profile", "tail", "imbalance", "hard"),
    [
        ("floor", "<20", 100, 305),
        ("floor", "<=20", 100, 325),
        ("floor", "<20", 50, 249),
        ("floor", "<=20", 50, 269),
        ("multiplicative", "<=20", 100, 324),
        ("multiplicative", "<=20", 50, 268),
    ],
)
def test_number_of_hard_images(profile: str, tail: str, imbalance: int, hard: int) -> None:
    counts = subsets.class_counts(500, 100, imbalance, profile)
    limit = 20 if tail == "<20" else 21
    assert sum(n for n in counts if n < limit) == hard


# ---------------------------------------------------------------- the draw


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(7).permutation(np.repeat(np.arange(100), 500))


def test_imbalance_100_is_contained_in_50(labels: np.ndarray) -> None:
    small = subsets.select(labels, subsets.class_counts(500, 100, 100))
    large = subsets.select(labels, subsets.class_counts(500, 100, 50))
    assert (len(small), len(large)) == (10_847, 12_608)
    assert len(set(small)) == 10_847
    assert set(small) < set(large)


def test_draw_is_sorted_by_class_and_has_its_counts(labels: np.ndarray) -> None:
    counts = subsets.class_counts(500, 100, 100)
    drawn = labels[subsets.select(labels, counts)]
    assert (np.diff(drawn) >= 0).all()
    assert tuple(np.bincount(drawn)) == counts


def ranks(labels: np.ndarray, counts: tuple[int, ...]) -> list[list[int]]:
    """Positions of the drawn images among their class's ascending indices."""
    kept = subsets.select(labels, counts)
    groups = [kept[labels[kept] == c] for c in range(len(counts))]
    return [np.searchsorted(np.flatnonzero(labels == c), g).tolist() for c, g in enumerate(groups)]


def test_ranks_within_a_class_do_not_depend_on_the_labels(labels: np.ndarray) -> None:
    counts = subsets.class_counts(500, 100, 100)
    other = np.random.default_rng(8).permutation(labels)
    assert ranks(labels, counts) == ranks(other, counts)


def test_ranks_agree_with_the_published_indices(labels: np.ndarray) -> None:
    """A class's images ascend with their rank, 100 apart on average, in the official file."""
    drawn = ranks(labels, (500,) * 100)[0][:10]
    assert np.argsort(drawn).tolist() == np.argsort(DRAWN).tolist()
    assert max(abs(np.array(drawn) - np.array(DRAWN) / 100)) < 30


def test_draw_leaves_numpys_global_generator_alone(labels: np.ndarray) -> None:
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    subsets.select(labels, (3,) * 100)
    assert (np.random.get_state(legacy=False)["state"]["key"] == before).all()  # noqa: NPY002


@pytest.mark.skipif("CIFAR100" not in os.environ, reason="CIFAR100=<folder> names the real data")
@pytest.mark.parametrize(("imbalance", "total"), [(100, 10_847), (50, 12_608)])
def test_real_data(imbalance: int, total: int) -> None:
    data = cifar.load(Path(os.environ["CIFAR100"]), imbalance, PAPER)
    assert data.train["id"][:10].to_list() == DRAWN
    assert data.train.height == total
    assert (data.classes[0], data.classes[1]) == ("apple", "aquarium fish")


# ---------------------------------------------------------------- reading


def test_load(root: Path) -> None:
    data = cifar.load(root, 10, MINI)
    assert (data.name, data.imbalance) == ("cifar100-lt", 10)
    assert data.classes == ["aquarium fish", "apple", "thing 2", "thing 3"]
    assert data.counts == (30, 13, 6, 3)
    assert data.train.schema == {
        "image": pl.Int64,
        "id": pl.Int64,
        "label": pl.Int32,
        "count": pl.Int32,
        "path": pl.Utf8,
        "location": pl.Int32,
    }
    assert data.train["image"].to_list() == list(range(52))
    assert tuple(data.train["label"].value_counts(sort=True)["count"]) == data.counts
    assert data.train["count"].to_list() == [30] * 30 + [13] * 13 + [6] * 6 + [3] * 3
    test = data.splits["test"]
    assert test.table.columns == ["id", "label", "path", "location"]
    assert test.table["id"].to_list() == list(range(12))
    assert test.images.take(np.arange(12)).shape == (12, 32, 32, 3)


def test_pixels_belong_to_their_rows(root: Path) -> None:
    raw = pickle.loads((root / "cifar-100-python/train").read_bytes())
    data = cifar.load(root, 10, MINI)
    images = data.train_images.take(np.arange(52))
    sources = data.sources(data.train)
    for row in data.train.iter_rows(named=True):
        image = images[row["image"]]
        red, green, blue = raw[b"data"][row["id"]].reshape(3, 32, 32)
        assert (image == np.stack([red, green, blue], axis=-1)).all()
        assert row["label"] == raw[b"fine_labels"][row["id"]]
        assert sources[row["image"]] == hashlib.sha256(image.tobytes()).hexdigest()


def test_no_imbalance_means_all_images(root: Path) -> None:
    data = cifar.load(root, None, MINI)
    assert data.counts == (30,) * 4
    assert sorted(data.train["id"]) == list(range(120))


def test_index_hash_changes_with_rows_and_pixels(root: Path, tmp_path: Path) -> None:
    one = cifar.load(root, 10, MINI).index_hash
    assert one == cifar.load(root, 10, MINI).index_hash
    assert one != cifar.load(root, 5, MINI).index_hash
    train = root / "cifar-100-python/train"
    pixels = pickle.loads(train.read_bytes())[b"data"].copy()
    pixels[cifar.load(root, 10, MINI).train["id"][0], 0] ^= 1
    spoil(train, data=pixels)
    assert one != cifar.load(root, 10, MINI).index_hash


def test_hard(tmp_path: Path) -> None:
    data = cifar.load(write_world(tmp_path, classes=3, size=40), 4, MINI)
    assert data.counts == (40, 20, 10)
    assert set(cifar.hard(data, MINI)["label"]) == {2}
    assert set(cifar.hard(data, replace(MINI, tail="<=20"))["label"]) == {1, 2}
    assert cifar.hard(data, MINI).columns == data.train.columns
    with pytest.raises(UsageError, match="Available: <20, <=20"):
        cifar.hard(data, replace(MINI, tail="20"))


def test_paper_profile_asks_for_the_official_files(root: Path) -> None:
    with pytest.raises(DataError, match=r"4 classes, 120 training and 12 test images.*100, 50000"):
        cifar.load(root, 10, PAPER)


# ---------------------------------------------------------------- what the reader refuses


@pytest.mark.parametrize(
    ("file", "entries", "says"),
    [
        ("train", {"fine_labels": [0] * 119}, "119 fine_labels for 120 images"),
        ("train", {"fine_labels": [0] * 119 + [4]}, "holds 4, expected whole numbers from 0 to 3"),
        ("train", {"fine_labels": [0] * 119 + [-1]}, "holds -1, expected"),
        ("train", {"fine_labels": [0] * 119 + [0.0]}, "holds 0.0, expected"),
        ("train", {"fine_labels": [0, 2, 3] * 40}, "no image of class 1"),
        ("train", {"fine_labels": None}, "expected an entry b'fine_labels'"),
        ("test", {"data": None}, "expected an entry b'data'"),
        ("test", {"data": b"abc"}, "b'data' is a bytes, expected a ndarray"),
        ("test", {"data": np.zeros((12, 100), np.uint8)}, r"shape \(12, 100\), expected \(N, 3072"),
        ("test", {"data": np.zeros((11, 3072), np.uint8)}, "12 fine_labels for 11 images"),
        ("test", {"data": np.zeros((12, 3072), np.float32)}, "type 'f4', expected uint8"),
        ("test", {"data": np.array([{}, {}], dtype=object)}, "type 'O8', expected uint8"),
        ("meta", {"fine_label_names": [b"one"]}, "expected two or more names"),
        ("meta", {"fine_label_names": ["a", "b"]}, "expected two or more names in bytes"),
    ],
)
def test_wrong_content(root: Path, file: str, entries: dict[str, object], says: str) -> None:
    path = root / "cifar-100-python" / file
    spoil(path, **entries)
    with pytest.raises(DataError, match=says) as caught:
        cifar.load(root, 10, MINI)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_class_that_is_too_small(root: Path) -> None:
    path = root / "cifar-100-python/train"
    labels = pickle.loads(path.read_bytes())[b"fine_labels"]
    spoil(
        path, fine_labels=[0 if label == 1 and i > 20 else label for i, label in enumerate(labels)]
    )
    with pytest.raises(DataError, match="images of class 1, expected at least"):
        cifar.load(root, 2, MINI)


@pytest.mark.parametrize("file", ["train", "test", "meta"])
def test_missing_file(root: Path, file: str) -> None:
    path = root / "cifar-100-python" / file
    path.unlink()
    with pytest.raises(DataError, match="no such file") as caught:
        cifar.load(root, 10, MINI)
    assert str(path) in str(caught.value)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        unpickle(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 10, 1000, -1])
def test_truncated_file(root: Path, keep: int) -> None:
    path = root / "cifar-100-python/train"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged or truncated") as caught:
        cifar.load(root, 10, MINI)
    assert str(path) in str(caught.value)


def test_damaged_bytes_never_escape_as_other_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = pickle.dumps(official(np.arange(2), rng), protocol=2)
    path = tmp_path / "train"
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(0, 400, 3):  # names and structure; pixels may be anything
            bad[place] = rng.integers(256)
        path.write_bytes(bad)
        with contextlib.suppress(DataError):
            unpickle(path)


class Evil:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.system, ("touch {}",)), (eval, ("open({!r}, 'w')",)), (exec, ("open({!r}, 'w')",))],
)
def test_code_in_a_pickle_is_refused(root: Path, function: object, arguments: tuple[str]) -> None:
    trace = root / "trace"
    path = root / "cifar-100-python/train"
    spoil(path, filenames=Evil(function, *(a.format(str(trace)) for a in arguments)))
    with pytest.raises(DataError, match="refused, the pickle holds the name") as caught:
        cifar.load(root, 10, MINI)
    assert str(path) in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"cnumpy\nload\n.", b"cnumpy.core.multiarray\nscalar\n.", b"c_codecs\ndecode\n."]
)
def test_only_the_needed_names_are_admitted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "meta"
    path.write_bytes(content)
    with pytest.raises(DataError, match="refused"):
        unpickle(path)


def test_array_with_a_false_size_is_refused(tmp_path: Path) -> None:
    class Array:
        def __reduce__(self) -> Any:
            array: Any = np.zeros(3, np.uint8)
            function, arguments, state = array.__reduce__()
            return function, arguments, (state[0], (10**12,), *state[2:])

    path = tmp_path / "train"
    dump(path, {b"data": Array()})
    with pytest.raises(DataError, match="with 3 bytes"):
        unpickle(path)


@pytest.mark.parametrize("content", [[1, 2], b"text", 3])
def test_pickle_without_a_dictionary(tmp_path: Path, content: object) -> None:
    path = tmp_path / "meta"
    dump(path, content)
    with pytest.raises(DataError, match="expected a dictionary"):
        unpickle(path)


def test_fortran_order(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    dump(tmp_path / "x", {b"data": array})
    assert (unpickle(tmp_path / "x")[b"data"] == array).all()


_Pickler: Any = pickle._Pickler


class Python2Pickler(_Pickler):
    """Writes bytes as Python 2 wrote its strings, and the module name that numpy 1 had."""

    dispatch: ClassVar[dict[type, Any]] = dict(_Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        if len(value) < 256:
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    def save_text(self, value: str) -> None:
        self.save_bytes(value.encode())

    dispatch[bytes], dispatch[str] = save_bytes, save_text


def test_pickles_of_python_2(root: Path) -> None:
    """The official files were written by Python 2, where text and bytes are one."""
    path = root / "cifar-100-python/train"
    before = cifar.load(root, 10, MINI)
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(pickle.loads(path.read_bytes()))
    old = out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert b"cnumpy.core.multiarray\n_reconstruct" in old
    assert b"_codecs" not in old
    path.write_bytes(old)
    after = cifar.load(root, 10, MINI)
    assert after.index_hash == before.index_hash
    assert after.sources(after.train) == before.sources(before.train)


# ---------------------------------------------------------------- prompts and recipes


def test_a_prompt_may_come_from_sentences() -> None:
    told = {"apple": [f"an apple, scene {n}" for n in range(10)]}
    drawn = {cifar.prompt("apple", seed, PAPER, told) for seed in range(60)}
    assert {text.partition(": ")[2] for text in drawn} == set(told["apple"])
    assert all(text.startswith("a 8k real photo: ") for text in drawn)


def test_prompt_is_stable_and_varies() -> None:
    assert cifar.prompt("apple", 10, PAPER) == "a photo of a apple on yellow sand"
    drawn = {cifar.prompt("apple", seed, PAPER) for seed in range(100)}
    assert drawn == {form.format(name="apple") for form in cifar.TEMPLATES}
    assert len(drawn) == 10
    built_in = {cifar.prompt("apple", seed, MINI) for seed in range(400)}
    assert built_in == {f"a photo of a {text}" for text in longtail.built_in_scenes("apple")}
    assert len(built_in) == 40  # in three art styles and in none
    assert all("aquarium fish" in cifar.prompt("aquarium fish", seed, MINI) for seed in range(20))
    assert cifar.score_prompt("apple") == "a photo of apple"


def test_built_in_generator_was_trained_on_the_words_of_the_prompts() -> None:
    from harness.mini.captions import WITH_SCENE
    from harness.mini.scene import SCENES

    form = next(f for f in WITH_SCENE if f.startswith("a photo of a"))
    known = {form.format(subject="{name}", place=place) for place, *_ in SCENES.values()}
    assert set(cifar.TEMPLATES) == known


def test_paper_recipe() -> None:
    assert (PAPER.backbone, PAPER.width) == ("resnet10", 64)
    scratch, onward = PAPER.scratch, PAPER.onward
    assert (scratch.optimiser, scratch.lr, scratch.momentum, scratch.weight_decay) == (
        "sgd",
        0.1,
        0.9,
        2e-4,
    )
    assert (scratch.batch, scratch.epochs, scratch.warmup, scratch.gamma) == (128, 200, 5, 0.01)
    assert scratch.milestones == (160, 180)
    assert (onward.optimiser, onward.lr, onward.weight_decay, onward.decay) == (
        "adam",
        1e-3,
        1e-5,
        "cosine",
    )
    assert (onward.batch, onward.epochs, PAPER.curriculum_epochs) == (128, 65, 60)
    assert PAPER.levels == (0.5, 0.7, 0.9)
    assert len(PAPER.pool_seeds) == 8


@pytest.mark.parametrize("name", ["mini", "smoke", "paper"])
def test_extending_hang_together(name: str) -> None:
    recipe = cifar.RECIPES[name]
    assert recipe.profile == name
    assert list(recipe.levels) == sorted(recipe.levels)
    assert recipe.curriculum_epochs <= recipe.onward.epochs
    assert recipe.curriculum_epochs >= len(recipe.levels) + 1
    assert all(0 < m < recipe.scratch.epochs for m in recipe.scratch.milestones)


def test_smoke_is_mini_cut_down() -> None:
    smoke = cifar.RECIPES["smoke"]
    cut = (
        "profile",
        "scratch",
        "onward",
        "curriculum_epochs",
        "pool_seeds",
        "steps",
        "run_seeds",
        "imbalances",
    )
    assert replace(smoke, **{name: getattr(MINI, name) for name in cut}) == MINI
    assert (smoke.run_seeds, smoke.imbalances, len(smoke.pool_seeds)) == ((0,), (100,), 1)
    assert smoke.steps == 6
