"""iWildCam: its tables, what they may hold, macro F1, hard images, recipes."""

import hashlib
import random
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import official_files
import polars as pl
import pytest
from official_files import edit

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.specs import key
from harness.datasets import iwildcam
from harness.datasets.base import Dataset, index_hash
from harness.datasets.pictures import Files
from harness.pipeline.workspace import Workspace
from harness.training import augmentation

MINI, SMOKE, PAPER = (iwildcam.RECIPES[profile] for profile in ("mini", "smoke", "paper"))
FOLDER = "iwildcam_v2.0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return official_files.write_iwildcam(tmp_path)


# ---------------------------------------------------------------- reading


def test_what_the_tables_say(root: Path) -> None:
    data = iwildcam.load(root, None, MINI)
    assert (data.name, data.imbalance) == ("iwildcam", None)
    assert data.classes == ["empty", "nine-banded armadillo", "common genet"]
    assert data.counts == (1, 1, 2)
    # by file name; ids are rows of metadata.csv, from 0
    assert data.train.rows() == [
        (0, 0, 0, 1, "train/8b31d3be.jpg", 7),
        (1, 2, 1, 1, "train/8cf202be.jpg", 9),
        (2, 1, 2, 2, "train/91d2c1e0.jpg", 7),
        (3, 3, 2, 2, "train/95a1d1f0.jpg", 9),
    ]
    assert {name: split.table.rows() for name, split in data.splits.items()} == {
        "id_val": [(7, 0, "train/87022118.jpg", 7)],
        "id_test": [(8, 2, "train/99136aa6.jpg", 9)],
        "val": [(4, 2, "train/8a1f3f10.jpg", 3)],
        "test": [(6, 0, "train/8e7700aa.jpg", 5), (5, 1, "train/900ab22c.jpg", 5)],
    }
    assert (iwildcam.TEST, iwildcam.VAL) == ("test", "id_val")


def test_the_root_may_be_the_folder_itself(root: Path) -> None:
    inner = iwildcam.load(root / FOLDER, None, MINI)
    assert official_files.say(inner) == official_files.say(iwildcam.load(root, None, MINI))


def test_pictures_go_with_their_rows(root: Path) -> None:
    data = iwildcam.load(root, None, MINI)
    tables = [(data.train, data.train_images)]
    tables += [(split.table, split.images) for split in data.splits.values()]  # type: ignore[misc]
    for table, images in tables:
        for number, picture in zip(table["id"], images.take(np.arange(len(table))), strict=True):
            # row 0 was written first: see official.write_pictures
            assert np.abs(picture.astype(int) - official_files.pixels(number)).mean() < 12


def test_sources_and_hash(root: Path) -> None:
    data = iwildcam.load(root, None, MINI)
    paths = [root / FOLDER / path for path in data.train["path"]]
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert data.sources(data.train) == expected
    text = (
        "train/8b31d3be.jpg 0 1\ntrain/8cf202be.jpg 1 1\n"
        "train/91d2c1e0.jpg 2 2\ntrain/95a1d1f0.jpg 2 2\n"
    )
    assert data.index_hash == hashlib.sha256(text.encode()).hexdigest()


def test_without_english_names_the_scientific_ones_are_taken(tmp_path: Path) -> None:
    root = official_files.write_iwildcam(tmp_path, labels=False)
    data = iwildcam.load(root, None, MINI)
    assert data.classes == ["empty", "dasypus novemcinctus", "genetta genetta"]
    assert "scientific names of the classes, from categories.csv" in iwildcam.check(root, MINI)


def shuffle(path: Path) -> None:
    header, *rows = path.read_text().splitlines()
    random.Random(5).shuffle(rows)
    path.write_text("".join(f"{line}\n" for line in (header, *rows)))


def columns_reversed(path: Path) -> None:
    rows = [line.split(",")[::-1] for line in path.read_text().splitlines()]
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def quoted(path: Path) -> None:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows))


@pytest.mark.parametrize("how", [official_files.disguise, shuffle, columns_reversed, quoted])
def test_what_changes_nothing(root: Path, how: Callable[[Path], None]) -> None:
    before = official_files.say(iwildcam.load(root, None, MINI))
    for path in (root / FOLDER).glob("*.csv"):
        how(path)
    assert official_files.say(iwildcam.load(root, None, MINI)) == before


# ---------------------------------------------------------------- what is refused

ROW = "2,train,9,300,1,81bc,1,9,2013-05-01 22:10:01.000,8cf202be.jpg,8cf202be"


def row(**changes: str) -> str:
    names = official_files.METADATA.splitlines()[0].split(",")
    return ",".join(changes.get(n, v) for n, v in zip(names, ROW.split(","), strict=True))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (row(y="3"), r"line 4: label 3, expected 0 to 2 \(3 classes\)"),
        (row(y="99999"), "line 4: label 99999, expected 0 to 2"),
        (row(y="-1"), "line 4: y '-1', expected a whole number from 0"),
        (row(y="1.0"), r"line 4: y '1\.0', expected a whole number from 0"),
        (row(y=""), "line 4: y '', expected a whole number from 0"),
        (row(location_remapped="nan"), "line 4: location_remapped 'nan'"),
        (row(location_remapped="3000000000"), "line 4: location 3000000000, expected 0 to 21474"),
        (row(split="trian"), "line 4: split 'trian'; there are train, id_val, id_test, val, test"),
        (row(filename="../8cf202be.jpg"), r"line 4: path 'train/\.\./8cf202be\.jpg', expected"),
        (row(filename=""), "line 4: path 'train/', expected"),
        (row(filename="91d2c1e0.jpg"), "line 4: path .* is that of .*metadata.csv, line 3 too"),
        (ROW.rsplit(",", 1)[0], "line 4: 10 fields, expected 11 as in the header"),
        (ROW + ",", "line 4: 12 fields, expected 11"),
        ("", "line 4: blank, with rows after it"),
        ('2,"train', "line 10: unexpected end of data"),
    ],
)
def test_wrong_rows(root: Path, new: str, says: str) -> None:
    edit(root / FOLDER / "metadata.csv", ROW, new)
    with pytest.raises(DataError, match=rf"metadata\.csv.*{says}"):
        iwildcam.load(root, None, MINI)


def test_a_picture_in_two_splits(root: Path) -> None:
    edit(root / FOLDER / "metadata.csv", "99136aa6.jpg", "8cf202be.jpg")
    with pytest.raises(DataError, match=r"line 10: path .* is that of .*line 4 too"):
        iwildcam.load(root, None, MINI)


@pytest.mark.parametrize("split", ["val", "test", "id_val", "id_test", "train"])
def test_a_split_without_pictures(root: Path, split: str) -> None:
    path = root / FOLDER / "metadata.csv"
    lines = [line for line in path.read_text().splitlines() if f",{split}," not in line]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"no picture of split {split}, expected some of all five"):
        iwildcam.load(root, None, MINI)


def test_a_class_without_training_pictures(root: Path) -> None:
    edit(root / FOLDER / "metadata.csv", ROW, row(y="0"))
    with pytest.raises(DataError, match="no training image of class 1, expected some of all 3"):
        iwildcam.load(root, None, MINI)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",split,", ",splits,", "line 1: no column 'split'; did you mean 'splits'"),
        (",filename,", ",", "line 1: no column 'filename'"),
        (",split,", ",y,", "line 1: no column 'split'"),
        (",category_id,", ",y,", "line 1: more than one column 'y'"),
    ],
)
def test_wrong_headers(root: Path, old: str, new: str, says: str) -> None:
    edit(root / FOLDER / "metadata.csv", old, new)
    with pytest.raises(DataError, match=rf"metadata\.csv, {says}"):
        iwildcam.load(root, None, MINI)


@pytest.mark.parametrize("name", ["metadata.csv", "categories.csv", "labels.csv"])
def test_damaged_tables(root: Path, name: str) -> None:
    path = root / FOLDER / name
    header = path.read_text().splitlines()[0]
    path.write_text(header)
    with pytest.raises(DataError, match=f"{name}: no row below the header"):
        iwildcam.load(root, None, MINI)
    path.write_text("")
    with pytest.raises(DataError, match=f"{name}, line 1: no column"):
        iwildcam.load(root, None, MINI)
    path.write_bytes(header.encode() + b"\n\xff\n")
    with pytest.raises(DataError, match=f"{name}, line 2: not UTF-8"):
        iwildcam.load(root, None, MINI)
    path.unlink()
    if name != "labels.csv":
        with pytest.raises(DataError, match=f"{name}: no such file; expected the"):
            iwildcam.load(root, None, MINI)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("categories.csv", "2,24,", "3,24,", "categories.csv: no label 2, expected 0, 1, 2"),
        ("categories.csv", "2,24,", "1,24,", "categories.csv, line 4: label 1 again"),
        ("categories.csv", "empty", "_", "categories.csv, line 2: '_' is no class name"),
        ("labels.csv", "2,24,", "99999,24,", "labels.csv: 2 labels, expected 3 as in categories"),
        ("labels.csv", "1,9,", "1,10,", "label 1 is category 10, and in categories.csv category 9"),
        ("labels.csv", ",english", ",englsh", "line 1: no column 'english'; did you mean 'englsh'"),
    ],
)
def test_wrong_categories(root: Path, name: str, old: str, new: str, says: str) -> None:
    edit(root / FOLDER / name, old, new)
    with pytest.raises(DataError, match=says):
        iwildcam.load(root, None, MINI)


def test_no_imbalance(root: Path) -> None:
    with pytest.raises(UsageError, match="it has no imbalance 2"):
        iwildcam.load(root, 2, MINI)


# ---------------------------------------------------------------- at full size


def test_official_sizes(tmp_path: Path) -> None:
    """Tables of the official sizes pass as profile paper; one row less does not."""
    sizes = {"train": 129_809, "val": 14_961, "test": 42_791, "id_val": 7_314, "id_test": 8_154}
    assert sum(sizes.values()) == 203_029
    lines = [",split,location_remapped,y,filename"]
    for split, size in sizes.items():
        lines += [f"{i},{split},{i % 9},{i % 182},{split}-{i}.jpg" for i in range(size)]
    categories = ["y,category_id,name", *(f"{y},{3 * y},genus species{y}" for y in range(182))]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    (tmp_path / "categories.csv").write_text("\n".join(categories))
    data = iwildcam.load(tmp_path, None, PAPER)
    assert len(data.train) == 129_809
    assert {name: len(s.table) for name, s in data.splits.items()} | {"train": 129_809} == sizes
    (tmp_path / "metadata.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="8153 images in id_test, but profile paper needs"):
        iwildcam.load(tmp_path, None, PAPER)


# ---------------------------------------------------------------- check and fetch


def test_check_says_what_it_saw(root: Path) -> None:
    assert iwildcam.check(root, MINI, decode=True) == [
        "3 classes of 1 to 2 training images; 4 train, 1 id_val, 1 id_test, 1 val, 2 test",
        "no picture is in two splits",
        "common names of the classes, from labels.csv",
        "val and test are of locations that are not in train",
        "9 pictures are there",
        "9 pictures decode",
    ]


def test_check_finds_what_is_wrong(root: Path) -> None:
    picture = root / FOLDER / "train/900ab22c.jpg"
    picture.write_bytes(picture.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"metadata\.csv, line 7: .*900ab22c\.jpg: \d+ bytes that"):
        iwildcam.check(root, MINI, decode=True)
    picture.unlink()
    with pytest.raises(DataError, match=r"line 7: no such file .*900ab22c\.jpg$"):
        iwildcam.check(root, MINI)
    edit(root / FOLDER / "metadata.csv", ",test,5,", ",test,9,")
    with pytest.raises(DataError, match="location 9 is in train and in test"):
        iwildcam.check(root, MINI)


def test_fetch_asks_wilds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    package = types.ModuleType("wilds")
    package.get_dataset = lambda **settings: asked.append(settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wilds", package)
    iwildcam.fetch(tmp_path)
    assert asked == [
        {"dataset": "iwildcam", "version": "2.0", "download": True, "root_dir": str(tmp_path)}
    ]

    def fails(**settings: object) -> None:
        raise OSError("certificate has expired")

    package.get_dataset = fails  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"cannot fetch iwildcam \(certificate.*by hand: download"):
        iwildcam.fetch(tmp_path)


def test_fetch_without_wilds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wilds", None)
    with pytest.raises(UsageError, match=r"`pip install wilds`; or, by hand: .*12 GB"):
        iwildcam.fetch(tmp_path)


def test_the_built_in_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fiftieth of its pictures, at least one of each class and split."""
    monkeypatch.setattr("harness.datasets.longtail.SHARES", {"smoke": 0.02})
    iwildcam.write_built_in(tmp_path, "smoke")
    assert "decode" in iwildcam.check(tmp_path, iwildcam.RECIPES["smoke"], decode=True)[-1]
    data = iwildcam.load(tmp_path, None, iwildcam.RECIPES["smoke"])
    pictures = data.train_images.take(np.arange(len(data.train)))
    assert isinstance(pictures, np.ndarray)  # all of one size, the one that the network wants
    assert pictures.shape[1:] == (MINI.view_px, MINI.view_px, 3)


# ---------------------------------------------------------------- macro F1


def test_macro_f1_by_hand() -> None:
    """Classes 0, 1 and 3 occur, with F1 of 2*1/(2+1), 0 and 2*2/(2+3); 2 is only guessed."""
    labels, guesses = np.array([0, 0, 1, 3, 3]), np.array([0, 2, 3, 3, 3])
    assert iwildcam.macro_f1(labels, guesses) == pytest.approx((2 / 3 + 0 + 4 / 5) / 3)
    assert iwildcam.macro_f1(np.array([5]), np.array([5])) == 1
    assert iwildcam.macro_f1(np.array([5]), np.array([7])) == 0
    with pytest.raises(DataError, match="macro F1 of no labels"):
        iwildcam.macro_f1(np.array([], int), np.array([], int))


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_agrees_with_sklearn(seed: int) -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 183))
    n = int(rng.integers(1, 500))
    labels = (classes * rng.random(n) ** 3).astype(np.int32)  # a long tail: many do not occur
    wild = rng.integers(0, classes, n)
    guesses = np.where(rng.random(n) < 0.6, labels, wild).astype(np.int32)
    expected = f1_score(labels, guesses, labels=np.unique(labels), average="macro", zero_division=0)
    assert iwildcam.macro_f1(labels, guesses) == pytest.approx(expected, abs=1e-15)
    assert iwildcam.metric(labels, guesses) == iwildcam.macro_f1(labels, guesses)


def predicted() -> pl.DataFrame:
    """Four splits that all number their images from 0, each with its own share of right guesses."""
    parts = []
    for split, right in (("test", 1), ("id_test", 2), ("val", 3), ("id_val", 4)):
        guesses = [0] * right + [1] * (4 - right)
        rows = {"id": range(4), "label": [0] * 4, "prediction": guesses}
        parts.append(pl.DataFrame(rows).with_columns(pl.lit(split).alias("split")))
    return pl.concat(parts)


def test_metrics() -> None:
    """k of 4 right: recall k/4 and precision 1, so F1 = 2k / (4 + k)."""
    found = iwildcam.metrics(predicted(), (9, 9))
    expected = {"ood": 1, "id": 2, "ood_val": 3, "id_val": 4}
    assert {name: scores["accuracy"] for name, scores in found.items()} == {
        name: k / 4 for name, k in expected.items()
    }
    for name, k in expected.items():
        assert found[name]["macro_f1"] == pytest.approx(2 * k / (4 + k))
    assert iwildcam.headline(found) == found["ood"]["macro_f1"]


def test_metrics_are_where_the_published_table_looks_for_them() -> None:
    from harness.results import published

    found = iwildcam.metrics(predicted(), (9, 9))
    for column in published.read(published.of("iwildcam")).columns:
        split, name = column.path.split(".")
        assert type(found[split][name]) is float


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (predicted().filter(pl.col("split") != "val"), "none of split 'val'"),
        (predicted().drop("split"), "no column split"),
        (predicted().with_columns(prediction=pl.lit(2)), r"prediction holds other .* 0\.\.1"),
        (predicted().with_columns(label=pl.lit(-1)), "label holds other"),
        (predicted().with_columns(label=pl.lit(0.0)), "label holds other"),
        (predicted().with_columns(prediction=pl.lit(None, pl.Int32)), "prediction holds other"),
        (predicted().with_columns(id=pl.lit(1)), "predictions of test: an id is missing or rep"),
    ],
)
def test_wrong_predictions(rows: pl.DataFrame, says: str) -> None:
    with pytest.raises(DataError, match=says):
        iwildcam.metrics(rows, (9, 9))


# ---------------------------------------------------------------- hard images


def made_up(labels: list[int], ids: list[int] | None = None) -> Dataset:
    """A data set with that training table and no pictures."""
    n = len(labels)
    train = pl.DataFrame(
        {
            "image": range(n),
            "id": ids or range(n),
            "label": labels,
            "count": [labels.count(label) for label in labels],
            "path": [f"train/{i:06d}.jpg" for i in range(n)],
            "location": [0] * n,
        }
    )
    counts = tuple(labels.count(label) for label in sorted(set(labels)))
    files = Files(Path(), train["path"].to_list())
    names = [str(label) for label in sorted(set(labels))]
    return Dataset("iwildcam", None, names, counts, train, files, {}, index_hash(train))


def test_hard_images_by_hand() -> None:
    """A tenth of 38 rows: 4 (3.8 rounded). Row 0 is empty, so the next least probable ones."""
    p = np.full(38, 0.9)
    p[[0, 31, 7, 12, 20]] = [0.0, 0.1, 0.2, 0.3, 0.4]
    found = iwildcam.hard(made_up([0] * 5 + [1] * 33), SMOKE, p)
    assert found["image"].to_list() == [7, 12, 20, 31]
    assert found.columns == made_up([0]).train.columns


def test_equal_probabilities_go_to_lower_ids() -> None:
    ids = list(range(40))[::-1]
    found = iwildcam.hard(made_up([1] * 40, ids), SMOKE, np.full(40, 0.25, np.float32))
    assert sorted(found["id"]) == [0, 1, 2, 3]
    assert found["image"].to_list() == [36, 37, 38, 39]


def test_as_many_as_the_paper_has() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 182, 129_809)
    p = rng.random(129_809).astype(np.float32)
    data = made_up_fast(labels)
    for recipe, wanted in ((PAPER, 8_260), (MINI, 25_962)):  # the mini one is a fifth
        found = iwildcam.hard(data, recipe, p)
        assert len(found) == wanted
        chosen = np.zeros(len(p), bool)
        chosen[found["image"].to_numpy()] = True
        assert labels[chosen].min() > 0
        assert p[chosen].max() <= p[~chosen & (labels > 0)].min()


def made_up_fast(labels: np.ndarray) -> Dataset:
    n = len(labels)
    train = pl.DataFrame(
        {"image": np.arange(n), "id": np.arange(n), "label": labels.astype(np.int32)}
    )
    files = Files(Path(), [])
    return Dataset("iwildcam", None, [], (), train, files, {}, "")


@pytest.mark.parametrize(
    ("p", "error", "says"),
    [
        (None, UsageError, r"need p\(true class\) of 40 images, not None"),
        (np.zeros(39), UsageError, r"of 40 images, not \(39,\)"),
        (np.full(40, np.nan), DataError, r"is not in \[0, 1\]"),
        (np.full(40, 1.5), DataError, r"is not in \[0, 1\]"),
    ],
)
def test_wrong_probabilities(p: np.ndarray | None, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        iwildcam.hard(made_up([1] * 40), MINI, p)


def test_too_few_animals() -> None:
    with pytest.raises(DataError, match="2 training images show an animal; 8 hard ones asked"):
        iwildcam.hard(made_up([0] * 38 + [1] * 2), MINI, np.full(40, 0.5))


# ---------------------------------------------------------------- words and recipes


def test_words() -> None:
    """The released code's prompt, FLYP's templates, ALIA's settings."""
    for recipe in (MINI, PAPER):
        assert iwildcam.prompt("ocelot", 10, recipe) == "a photo of ocelot in the wild"
    assert iwildcam.score_prompt("ocelot") == "a photo of ocelot in the wild"
    assert iwildcam.captions("ocelot") == ("a photo of ocelot.", "ocelot in the wild.")
    assert len(iwildcam.EDITS) == 4
    for text in iwildcam.EDITS:
        assert "of ocelot " in text.format(name="ocelot").replace("a ocelot", "ocelot")
    assert (iwildcam.EDIT_CHECK[0], len(iwildcam.EDIT_CHECK)) == ("a wildlife photo", 6)


def test_edits_of_the_built_in_world_are_captions_it_has() -> None:
    from harness.mini.captions import WITH_SCENE
    from harness.mini.scene import SCENES

    forms = {form.format(subject="{name}", place="{place}") for form in WITH_SCENE}
    places = {phrase for phrase, *_ in SCENES.values()}
    known = {form.replace("{place}", place) for form in forms for place in places}
    assert set(iwildcam.BUILT_IN_EDITS) <= known
    assert len(iwildcam.BUILT_IN_EDITS) == len(iwildcam.EDITS)


def test_recipe_of_the_paper() -> None:
    """Table 9 and FLYP's code."""
    scratch = PAPER.scratch
    assert (PAPER.backbone, PAPER.pretrained) == ("ViT-B-16", "ViT-B-16-quickgelu:openai")
    assert (scratch.optimiser, scratch.lr, scratch.weight_decay, scratch.batch) == (
        "adamw", 1e-5, 0.2, 256,
    )  # fmt: skip
    assert (scratch.epochs, scratch.decay, scratch.warmup_steps) == (20, "cosine", 500)
    assert (PAPER.onward, PAPER.mixture, PAPER.curriculum_epochs) == (None, None, 15)
    assert (PAPER.levels, len(PAPER.pool_seeds), PAPER.threshold) == ((0.5, 0.7, 0.9), 8, 0.25)
    assert (PAPER.probe_images, PAPER.probe_train) == (2000, 30_000)
    assert (PAPER.view_px, PAPER.augment, PAPER.test_view) == (
        224, "image-text", "image-text-centre",
    )  # fmt: skip
    assert (PAPER.steps, PAPER.text_guidance) == (50, 10.0)


def test_colours_are_those_clip_was_trained_with() -> None:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    assert (iwildcam.MEAN, iwildcam.STD) == (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)


@pytest.mark.parametrize("profile", ["mini", "smoke", "paper"])
def test_extending_name_views_that_exist(profile: str) -> None:
    recipe = iwildcam.RECIPES[profile]
    assert recipe.profile == profile
    assert recipe.curriculum_epochs < recipe.scratch.epochs
    registry.function(augmentation, recipe.augment)
    registry.function(augmentation, recipe.test_view)


def test_nobody_but_the_paper_is_asked_for_the_papers_number() -> None:
    data: Any = made_up([1] * 100)
    for recipe, wanted in ((SMOKE, 10), (MINI, 20)):
        assert len(iwildcam.hard(data, recipe, np.full(100, 0.5))) == wanted


def test_how_many_are_hard_and_by_which_method_are_parameters(tmp_path: Path) -> None:
    data, p = made_up([1] * 40), np.linspace(0, 1, 40)
    assert len(iwildcam.hard(data, replace(MINI, hard_images=7), p)) == 7
    assert key(replace(MINI, hard_images=0, hard_by=None)) == key(MINI)
    settings = (("hard_by", "LP-FT"), ("hard_images", 12))
    workspace = Workspace("iwildcam", "smoke", tmp_path, settings=settings)
    assert (workspace.hard_by, workspace.recipe.hard_images) == ("LP-FT", 12)
    assert Workspace("iwildcam", "smoke", tmp_path).hard_by == "FLYP"
    assert Workspace("cifar100-lt", "smoke", tmp_path, settings=settings).hard_by is None
