"""ImageNet-LT: the lists, what they may hold, its rules and recipes."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import official_files
import polars as pl
import pytest
from official_files import edit

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.metrics import groups
from harness.core.metrics import metrics as scored
from harness.core.specs import Mixture
from harness.datasets import imagenet_lt as imagenet
from harness.datasets import prompts
from harness.datasets.base import Dataset
from harness.training import augmentation

MINI, PAPER = imagenet.RECIPES["mini"], imagenet.RECIPES["paper"]
TINY = replace(MINI, view_px=8)  # the side of the pictures that tests write
TRAIN, VAL, TEST = (f"ImageNet_LT_{split}.txt" for split in ("train", "val", "test"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return official_files.write_imagenet_lt(tmp_path)


# ---------------------------------------------------------------- reading


def test_what_the_lists_say(root: Path) -> None:
    data = imagenet.load(root, None, MINI)
    assert (data.name, data.imbalance) == ("imagenet-lt", None)
    assert data.classes == ["tench", "goldfish", "great white shark"]
    assert data.counts == (3, 2, 1)
    assert data.train.schema == {
        "image": pl.Int64,
        "id": pl.Int64,
        "label": pl.Int32,
        "count": pl.Int32,
        "path": pl.Utf8,
        "location": pl.Int32,
    }
    # by path, "_10026" before "_190" before "_571"; ids are lines of the list, from 0
    n0, n1, n2 = (
        "train/n01440764/n01440764",
        "train/n01443537/n01443537",
        "train/n01484850/n01484850",
    )
    assert data.train.drop("location").rows() == [
        (0, 1, 0, 3, f"{n0}_10026.JPEG"),
        (1, 0, 0, 3, f"{n0}_190.JPEG"),
        (2, 2, 0, 3, f"{n0}_571.JPEG"),
        (3, 4, 1, 2, f"{n1}_1170.JPEG"),
        (4, 3, 1, 2, f"{n1}_16403.JPEG"),
        (5, 5, 2, 1, f"{n2}_1476.JPEG"),
    ]
    assert data.train["location"].null_count() == 6
    assert list(data.splits) == ["val", "test"]
    test = data.splits["test"].table
    assert test.columns == ["id", "label", "path", "location"]
    assert test["id"].to_list() == [2, 1, 3, 0]
    assert test["label"].to_list() == [0, 0, 1, 2]


def test_pictures_go_with_their_rows(root: Path) -> None:
    data = imagenet.load(root, None, MINI)
    for first, table, images in (
        (0, data.train, data.train_images),
        (10, data.splits["val"].table, data.splits["val"].images),
        (20, data.splits["test"].table, data.splits["test"].images),
    ):
        found = images.take(np.arange(len(images)))
        assert len(images) == len(table)
        for row, picture in zip(table.iter_rows(named=True), found, strict=True):
            # the pictures were written in the order of the list
            assert (
                np.abs(picture.astype(int) - official_files.pixels(first + row["id"])).mean() < 12
            )


def test_sources_are_the_files_of_these_rows_only(root: Path) -> None:
    data = imagenet.load(root, None, MINI)
    for row in data.train.iter_rows(named=True):
        if row["label"] != 1:
            (root / row["path"]).unlink()
    rows = data.train.filter(pl.col("label") == 1)
    expected = [hashlib.sha256((root / p).read_bytes()).hexdigest() for p in rows["path"]]
    assert data.sources(rows) == expected


def test_index_hash(root: Path) -> None:
    """Over path, label and count of each training row, by path."""
    data = imagenet.load(root, None, MINI)
    lines = sorted(official_files.TRAIN.splitlines())
    text = "".join(f"{line} {3 - int(line[-1])}\n" for line in lines)
    assert data.index_hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: [official_files.disguise(path) for path in root.glob("*.txt")],
        lambda root: [shuffle(root / name) for name in (TRAIN, VAL, TEST)],
        lambda root: (root / TRAIN).write_text(official_files.TRAIN.rstrip()),
        lambda root: (root / "classnames.txt").write_text(
            "n01440764 tench\nn01443537 goldfish\nn01484850 great white shark"
        ),
    ],
    ids=["windows", "shuffled", "no last line end", "names with synsets"],
)
def test_what_changes_nothing(root: Path, change: Callable[[Path], Any]) -> None:
    before = official_files.say(imagenet.load(root, None, MINI))
    change(root)
    assert official_files.say(imagenet.load(root, None, MINI)) == before


def shuffle(path: Path) -> None:
    lines = path.read_text().splitlines()
    random.Random(1).shuffle(lines)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_ids_number_the_lines_of_the_file(root: Path) -> None:
    shuffle(root / TEST)
    lines = (root / TEST).read_text().splitlines()
    for row in imagenet.load(root, None, MINI).splits["test"].table.iter_rows(named=True):
        assert lines[row["id"]] == f"{row['path']} {row['label']}"


# ---------------------------------------------------------------- what is refused

LINE3 = "train/n01440764/n01440764_571.JPEG 0"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (LINE3, LINE3[:-1] + "3", r"line 3: label 3, expected 0 to 2 \(3 classes\)"),
        (LINE3, LINE3[:-1] + "-1", "line 3: label '-1', expected a whole number from 0"),
        (LINE3, LINE3[:-1] + "1.0", r"line 3: label '1\.0', expected a whole number"),
        (LINE3, LINE3[:-1] + "1_0", "line 3: label '1_0'"),
        (LINE3, LINE3[:-1] + "٣", "line 3: label '٣'"),
        (LINE3, LINE3[:-1] + "9" * 30, "line 3: label '999"),
        (LINE3, LINE3[:-2], r"line 3: 1 fields in .*, expected 'relative/path label'"),
        (LINE3, LINE3 + " 100 3", "line 3: 4 fields"),
        (LINE3, "", "line 3: blank"),
        (LINE3, "../n01440764_571.JPEG 0", r"line 3: path '\.\./n01440764_571\.JPEG', expected"),
        (LINE3, "train/../../etc/passwd 0", r"line 3: path 'train/\.\./\.\./etc/passwd'"),
        (LINE3, "/etc/passwd 0", "line 3: path '/etc/passwd'"),
        (LINE3, "train//x.JPEG 0", "line 3: path 'train//x"),
        (LINE3, "./train/x.JPEG 0", r"line 3: path '\./train"),
        (LINE3, "train\\x.JPEG 0", "line 3: path 'train"),
        (
            LINE3,
            "train/n01440764/n01440764_190.JPEG 1",
            r"line 3: path 'train/n01440764/n01440764_190\.JPEG' is that of .*line 1 too",
        ),
        ("1476.JPEG 2", "1476.JPEG 1", "no training image of class 2, expected some of all 3"),
    ],
)
def test_wrong_lines(root: Path, old: str, new: str, says: str) -> None:
    edit(root / TRAIN, old, new)
    with pytest.raises(DataError, match=f"{TRAIN}.*{says}"):
        imagenet.load(root, None, MINI)


def test_the_first_wrong_line_is_named(root: Path) -> None:
    edit(root / TEST, "JPEG 0", "JPEG 7")
    with pytest.raises(DataError, match=f"{TEST}, line 2: label 7"):
        imagenet.load(root, None, MINI)


@pytest.mark.parametrize("name", [TRAIN, VAL, TEST])
def test_missing_and_empty_lists(root: Path, name: str) -> None:
    (root / name).write_text("\n\n")
    with pytest.raises(DataError, match=f"{name}: empty, expected lines 'relative/path label'"):
        imagenet.load(root, None, MINI)
    (root / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file; expected lines"):
        imagenet.load(root, None, MINI)


def test_no_text(root: Path) -> None:
    (root / TRAIN).write_bytes(b"train/a.JPEG 0\ntrain/\xff.JPEG 0\n")
    with pytest.raises(DataError, match=f"{TRAIN}, line 2: not UTF-8"):
        imagenet.load(root, None, MINI)
    (root / TRAIN).unlink()
    (root / TRAIN).mkdir()
    with pytest.raises(DataError, match=f"{TRAIN}: is a folder, expected lines"):
        imagenet.load(root, None, MINI)


@pytest.mark.parametrize("name", ["n01440764 ", "___", "--"])
def test_no_class_name(root: Path, name: str) -> None:
    edit(root / "classnames.txt", "goldfish", name)
    with pytest.raises(DataError, match=r"classnames\.txt, line 2: .* is no class name"):
        imagenet.load(root, None, MINI)


def test_no_imbalance(root: Path) -> None:
    with pytest.raises(UsageError, match="comes long-tailed: it has no imbalance 100"):
        imagenet.load(root, 100, MINI)


# ---------------------------------------------------------------- at full size


def class_sizes() -> list[int]:
    """1,000 sizes with what is known of the official ones; which class has which is made up.

    5 to 1,280; 385 classes above 100 with 88,693 images in all, 479 of 20 to 100 with 25,510, 10
    of them with exactly 20 and 6 with exactly 100, and 136 below 20 with 1,643.
    """

    def filled(n: int, total: int, low: int, high: int) -> list[int]:
        sizes = [low] * n
        for i in range(n):
            sizes[i] += min(high - low, total - sum(sizes))
        assert sum(sizes) == total
        return sizes

    many = [1280, *filled(384, 88_693 - 1280, 101, 1000)]
    medium = [20] * 10 + [100] * 6 + filled(463, 25_510 - 200 - 600, 21, 99)
    few = [5, *filled(135, 1_643 - 5, 6, 19)]
    sizes = many + medium + few
    random.Random(0).shuffle(sizes)
    return sizes


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full")
    official_files.write_long_lists(root, class_sizes(), val=20, test=50)
    return root


@pytest.fixture(scope="module")
def data(full: Path) -> Dataset:
    return imagenet.load(full, None, PAPER)


def test_official_size(data: Dataset) -> None:
    assert (len(data.train), len(data.classes), sum(data.counts)) == (115_846, 1000, 115_846)
    assert {name: len(split.table) for name, split in data.splits.items()} == {
        "val": 20_000,
        "test": 50_000,
    }
    assert (min(data.counts), max(data.counts)) == (5, 1280)
    assert list(data.counts) == class_sizes()
    of_rows = data.train.group_by("label").agg(pl.len(), pl.col("count").unique().first())
    assert (of_rows["len"] == of_rows["count"]).all()


def test_names_are_those_of_imagenet_where_none_are_given(data: Dataset) -> None:
    """The first and last synsets, and one whose name CLIP's authors made clearer."""
    classes = data.classes
    assert (classes[0], classes[999]) == ("tench", "toilet paper")
    assert (classes[134], classes[517]) == ("crane bird", "construction crane")
    assert not any("_" in name for name in classes)


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [
        ("A", [385, 479, 136]),
        ("B", [391, 473, 136]),
        ("C", [385, 469, 146]),
        ("D", [391, 463, 146]),
    ],
)
def test_groups_have_the_published_sizes(data: Dataset, rule: str, sizes: list[int]) -> None:
    assert [len(group) for group in groups(data.counts, rule)] == sizes


def test_images_per_group(data: Dataset) -> None:
    counts = data.counts
    assert [sum(counts[c] for c in g) for g in groups(counts)] == [88_693, 25_510, 1_643]


@pytest.mark.parametrize(("tail", "images"), [("<20", 1643), ("<=20", 1843)])
def test_hard_images(data: Dataset, tail: str, images: int) -> None:
    found = imagenet.hard(data, replace(PAPER, tail=tail), None)
    assert len(found) == images
    assert found.columns == data.train.columns
    assert found["image"].is_sorted()
    assert found["count"].max() == (19 if tail == "<20" else 20)


def test_unknown_tail_rule(data: Dataset) -> None:
    with pytest.raises(UsageError, match="'<21' is not allowed"):
        imagenet.hard(data, replace(PAPER, tail="<21"))


def test_paper_wants_the_official_sizes(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"imagenet-lt: 3 classes, but profile paper needs .* 1000"):
        imagenet.load(root, None, PAPER)
    sizes = class_sizes()
    sizes[0] += 1
    official_files.write_long_lists(tmp_path, sizes, val=20, test=50)
    (tmp_path / "classnames.txt").unlink()
    with pytest.raises(DataError, match=r"115847 images in train, .* 115846"):
        imagenet.load(tmp_path, None, PAPER)


def test_imagenets_names_need_its_order(tmp_path: Path) -> None:
    official_files.write_long_lists(tmp_path, [2] * 1000, val=1, test=1)
    edit(tmp_path / TRAIN, "train/n00000007/train_0.JPEG 7", "train/n00000008/other.JPEG 7")
    says = f"{TRAIN}, line 15: label 7 for n00000008, expected n00000007; .*classnames.txt"
    with pytest.raises(DataError, match=says):
        imagenet.load(tmp_path, None, MINI)
    (tmp_path / "classnames.txt").write_text("".join(f"thing {i}\n" for i in range(1000)))
    assert imagenet.load(tmp_path, None, MINI).classes[7] == "thing 7"


MAPPING = """\
n01440764 tench, Tinca tinca
n01443537 goldfish, Carassius auratus
n01484850 great white shark, white shark, man-eater
"""


def test_names_of_kaggles_mapping(root: Path) -> None:
    before = official_files.say(imagenet.load(root, None, MINI))
    (root / "classnames.txt").unlink()
    (root / "LOC_synset_mapping.txt").write_text(MAPPING)
    assert official_files.say(imagenet.load(root, None, MINI)) == before
    official_files.disguise(root / "LOC_synset_mapping.txt")
    assert official_files.say(imagenet.load(root, None, MINI)) == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("n01443537 ", "n01443537", r"synset_mapping\.txt, line 2: 'n01443537goldfish.*expected"),
        ("goldfish,", "_,", r"synset_mapping\.txt, line 2"),
        ("n01443537", "n01443538", f"{TRAIN}, line 4: label 1 for n01443537, expected n01443538"),
    ],
)
def test_wrong_mappings(root: Path, old: str, new: str, says: str) -> None:
    (root / "classnames.txt").unlink()
    (root / "LOC_synset_mapping.txt").write_text(MAPPING)
    edit(root / "LOC_synset_mapping.txt", old, new)
    with pytest.raises(DataError, match=says):
        imagenet.load(root, None, MINI)


def test_a_whole_mapping_changes_no_names(full: Path, data: Dataset) -> None:
    """With Kaggle's archive or without it, the prompts are the same."""
    path = full / "LOC_synset_mapping.txt"
    path.write_text("".join(f"n{i:08d} crane, and others\n" for i in range(1000)))
    assert imagenet.load(full, None, PAPER).classes == data.classes
    path.unlink()


# ---------------------------------------------------------------- check and fetch


def test_check_says_what_it_saw(root: Path) -> None:
    assert imagenet.check(root, TINY, decode=True) == [
        "3 classes of 1 to 3 training images; 6 train, 3 val, 4 test",
        "train and test share no picture",
        "train and val share no picture",
        "13 pictures are there",
        "the pictures have 8x8 px, as view crop-flip needs",
        "13 pictures decode",
    ]


def test_check_names_all_missing_pictures(root: Path) -> None:
    (root / "train/n01443537/n01443537_1170.JPEG").unlink()
    (root / "train/n01440764/n01440764_571.JPEG").unlink()
    with pytest.raises(
        DataError,
        match=rf"(?s)^\S+{TRAIN}, line 3: no such file .*_571\.JPEG\n.*, line 5: .*\n2 offences$",
    ):
        imagenet.check(root, TINY)
    for path in (root / "train/n01440764").iterdir():
        path.unlink()
    (root / "train/n01440764").rmdir()
    with pytest.raises(DataError, match=rf"{TRAIN}, line 1: .*_190\.JPEG(\n.*)*\n5 offences$"):
        imagenet.check(root, TINY)


def test_check_decodes_if_asked(root: Path) -> None:
    path = root / "val/n01440764/ILSVRC2012_val_00003014.JPEG"
    path.write_bytes(path.read_bytes()[:-20])
    assert "13 pictures are there" in imagenet.check(root, TINY)
    with pytest.raises(DataError, match=rf"{TEST}, line 3: .*00003014\.JPEG: \d+ bytes that no"):
        imagenet.check(root, TINY, decode=True)


def test_check_finds_test_pictures_among_the_training_ones(root: Path) -> None:
    edit(root / TEST, "val/n01484850/ILSVRC2012_val_00002338", "train/n01484850/n01484850_1476")
    with pytest.raises(DataError, match=f"{TEST}, line 1: .* is in train and in test"):
        imagenet.check(root, TINY)


def test_check_compares_downloads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ILSVRC2012_img_val.tar").write_bytes(b"pictures")
    with pytest.raises(DataError, match=r"img_val\.tar: md5 [0-9a-f]{32}, but the published one"):
        imagenet.check(root, TINY)
    md5 = "md5:" + hashlib.md5(b"pictures").hexdigest()
    source = imagenet.Source("ILSVRC2012_img_val.tar", "", "", md5, "")
    monkeypatch.setattr(imagenet, "SOURCES", (source,))
    assert imagenet.check(root, TINY)[-1].startswith("ILSVRC2012_img_val.tar: md5")


def test_check_of_the_paper_compares_class_sizes(full: Path) -> None:
    """Sizes that agree with all published sums are not enough."""
    with pytest.raises(DataError, match=f"{TRAIN}: the class sizes have SHA-256 .*93782c2e7eda"):
        imagenet.check(full, PAPER)


def test_check_of_the_paper_with_the_official_class_sizes(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the class sizes, it looks for pictures."""
    joined = ",".join(str(n) for n in class_sizes())
    sha = hashlib.sha256(joined.encode()).hexdigest()
    monkeypatch.setattr(imagenet, "OFFICIAL_COUNTS", sha)
    with pytest.raises(DataError, match=r"line 1: no such file .*(\n.*)*\n185846 offences"):
        imagenet.check(full, PAPER)


def test_fetch_explains(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs an account") as error:
        imagenet.fetch(tmp_path)
    for word in ("ILSVRC2012_img_train.tar", "image-net.org", TRAIN, str(tmp_path)):
        assert word in str(error.value)


def test_checksums_are_those_torchvision_asks_for() -> None:
    from torchvision.datasets.imagenet import ARCHIVE_META

    known = {source.file: source.digest for source in imagenet.SOURCES}
    for file, md5 in ARCHIVE_META.values():
        assert known[file] == f"md5:{md5}"


def test_the_built_in_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fiftieth of its pictures, at least one of each class and split."""
    monkeypatch.setattr("harness.datasets.longtail.SHARES", {"smoke": 0.02})
    imagenet.write_built_in(tmp_path, "smoke")
    assert "decode" in imagenet.check(tmp_path, imagenet.RECIPES["smoke"], decode=True)[-1]
    data = imagenet.load(tmp_path, None, imagenet.RECIPES["smoke"])
    pictures = data.train_images.take(np.arange(len(data.train)))
    assert isinstance(pictures, np.ndarray)  # all of one size, the one that the network wants
    assert pictures.shape[1:] == (MINI.view_px, MINI.view_px, 3)


# ---------------------------------------------------------------- words, scores, recipes


def test_prompts_of_the_paper() -> None:
    found = {imagenet.prompt("tench", seed, PAPER) for seed in range(50)}
    assert found <= {f"a 8k real photo: {scene}" for scene in prompts.scenes("tench")}
    assert len(found) > 5
    assert imagenet.prompt("tench", 10, PAPER) == imagenet.prompt("tench", 10, PAPER)
    given = {"tench": ("A tench on a table.",)}
    assert imagenet.prompt("tench", 3, PAPER, given) == "a 8k real photo: A tench on a table."
    with pytest.raises(DataError, match="no sentence of class 'goldfish'"):
        imagenet.prompt("goldfish", 3, PAPER, given)


def test_prompts_of_the_built_in_world() -> None:
    """In the words of captions that its generator was shown: see harness.mini.captions."""
    from harness.mini.captions import WITH_SCENE
    from harness.mini.scene import SCENES, atlas

    form = next(form for form in WITH_SCENE if "8k" in form)
    styles = ["", *(f"{style['adjective']} " for style in atlas().styles)]
    known = {
        form.format(subject=f"{style}fox", place=phrase)
        for style in styles
        for phrase, *_ in SCENES.values()
    }
    assert {imagenet.prompt("fox", seed, MINI) for seed in range(2000)} == known


def test_other_words() -> None:
    assert imagenet.score_prompt("great white shark") == "a photo of great white shark"
    assert imagenet.captions("fox") == ("a photo of fox.", "fox in the wild.")


def test_metrics_are_of_the_test_split() -> None:
    test = pl.DataFrame({"id": [0, 1, 2], "label": [0, 1, 2], "prediction": [0, 1, 1]})
    val = pl.DataFrame({"id": [0, 1, 2], "label": [0, 1, 2], "prediction": [2, 2, 2]})
    both = pl.concat(
        [val.with_columns(split=pl.lit("val")), test.with_columns(split=pl.lit("test"))]
    )
    counts = (200, 50, 5)
    assert imagenet.metrics(both, counts) == scored(test, counts)
    assert imagenet.headline(imagenet.metrics(both, counts)) == 2 / 3
    with pytest.raises(DataError, match="none of split 'test'; there are those of val"):
        imagenet.metrics(both.filter(pl.col("split") == "val"), counts)
    with pytest.raises(DataError, match="no column split among id, label, prediction"):
        imagenet.metrics(test, counts)
    assert imagenet.metric(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 1])) == 0.5


def test_recipe_of_the_paper() -> None:
    """Table 9 and the released codes, number by number."""
    said = asdict(PAPER)
    assert {k: said[k] for k in ("backbone", "width", "threshold", "steps", "text_guidance")} == {
        "backbone": "resnet10", "width": 64, "threshold": 0.30, "steps": 50, "text_guidance": 10.0,
    }  # fmt: skip
    assert PAPER.levels == (0.0, 0.1, 0.3, 0.5)
    assert len(PAPER.pool_seeds) == 8
    assert PAPER.mixture == Mixture(keep=0.3, tail_fraction=0.136)
    assert (PAPER.view_px, PAPER.augment, PAPER.test_view) == (224, "imagenet", "centre")
    assert PAPER.curriculum_epochs == 60
    scratch, onward = PAPER.scratch, PAPER.onward
    assert (scratch.optimiser, scratch.lr, scratch.momentum, scratch.nesterov) == (
        "sgd", 0.1, 0.9, True,
    )  # fmt: skip
    assert (scratch.weight_decay, scratch.batch, scratch.epochs) == (2e-4, 128, 100)
    assert (scratch.warmup, scratch.milestones, scratch.gamma) == (5, (60, 80), 0.1)
    assert onward is not None
    assert (onward.optimiser, onward.lr, onward.weight_decay) == ("adam", 1e-3, 1e-5)
    assert (onward.batch, onward.epochs, onward.decay) == (128, 65, "cosine")


@pytest.mark.parametrize("profile", ["mini", "smoke", "paper"])
def test_extending_name_views_that_exist(profile: str) -> None:
    recipe = imagenet.RECIPES[profile]
    assert recipe.profile == profile
    registry.function(augmentation, recipe.augment)
    registry.function(augmentation, recipe.test_view)
