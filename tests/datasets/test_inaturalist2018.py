"""iNaturalist 2018: its JSON files, what they may hold, its rules and recipes."""

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import official_files
import polars as pl
import pytest

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.specs import Mixture
from harness.datasets import inaturalist2018 as inat
from harness.datasets import unpacking
from harness.datasets.base import Source
from harness.training import augmentation

MINI, PAPER = inat.RECIPES["mini"], inat.RECIPES["paper"]
TINY = replace(MINI, view_px=8)  # the side of the pictures that tests write
TRAIN, VAL, NAMES = "train2018.json", "val2018.json", "categories.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return official_files.write_inaturalist2018(tmp_path)


def change(path: Path, how: Callable[[Any], Any]) -> None:
    """Change the value in a file in place."""
    value = json.loads(path.read_text())
    how(value)
    path.write_text(json.dumps(value))


# ---------------------------------------------------------------- reading


def test_what_the_files_say(root: Path) -> None:
    data = inat.load(root, None, MINI)
    assert (data.name, data.imbalance) == ("inaturalist2018", None)
    assert data.classes == ["Sphaeralcea ambigua", "Danaus plexippus", "Acanthis flammea"]
    assert data.counts == (1, 1, 3)
    # by path: Aves before Insecta before Plantae, and by the hash within a folder
    path = "train_val2018"
    assert data.train.drop("location").rows() == [
        (0, 5, 2, 3, f"{path}/Aves/2/1bfb1b3ddbcb4d8ba7c1b2b8bd0d5ee2.jpg"),
        (1, 3, 2, 3, f"{path}/Aves/2/9f8ecb39e5f767e39e9b28e34488f179.jpg"),
        (2, 1, 2, 3, f"{path}/Aves/2/fb1b1b3ddbcb4d8ba7c1b2b8bd0d5ee1.jpg"),
        (3, 4, 1, 1, f"{path}/Insecta/1/cb75e788cfe2bfe52485a7d146bf1494.jpg"),
        (4, 2, 0, 1, f"{path}/Plantae/0/0a5ad8ee3bcc3d3b2b7a3f5a6f8b0d4c.jpg"),
    ]
    test = data.splits["test"].table
    assert list(data.splits) == ["test"]
    assert sorted(zip(test["id"], test["label"], strict=True)) == [(6, 0), (7, 1), (8, 2)]
    assert inat.VAL is None


def test_pictures_go_with_their_rows(root: Path) -> None:
    data = inat.load(root, None, MINI)
    found = data.train_images.take(np.arange(5))
    for number, picture in zip(data.train["id"], found, strict=True):
        # see official_files.write_inaturalist2018
        assert np.abs(picture.astype(int) - official_files.pixels(number)).mean() < 12


def test_index_hash(root: Path) -> None:
    rows = inat.load(root, None, MINI).train
    text = "".join(f"{r['path']} {r['label']} {r['count']}\n" for r in rows.to_dicts())
    assert inat.load(root, None, MINI).index_hash == hashlib.sha256(text.encode()).hexdigest()


def shuffled(value: dict[str, Any]) -> None:
    order = list(range(len(value["images"])))
    random.Random(3).shuffle(order)
    for part in ("images", "annotations"):
        value[part][:] = [value[part][i] for i in order]


@pytest.mark.parametrize(
    "how",
    [
        lambda root: [official_files.disguise(path) for path in root.glob("*.json")],
        lambda root: [change(root / name, shuffled) for name in (TRAIN, VAL)],
        lambda root: (root / TRAIN).write_text(
            json.dumps(json.loads((root / TRAIN).read_text()), indent=2, ensure_ascii=False)
        ),
        lambda root: change(root / TRAIN, lambda value: value.pop("licenses")),
    ],
    ids=["windows", "shuffled", "indented", "without licences"],
)
def test_what_changes_nothing(root: Path, how: Callable[[Path], Any]) -> None:
    before = official_files.say(inat.load(root, None, MINI))
    ids = sorted(inat.load(root, None, MINI).train["id"])
    how(root)
    after = inat.load(root, None, MINI)
    assert official_files.say(after) == before
    assert sorted(after.train["id"]) == ids


def test_common_names_are_taken_where_there_are_some(root: Path) -> None:
    change(root / NAMES, lambda value: value[1].update(common_name="Monarch_butterfly"))
    assert inat.load(root, None, MINI).classes[:2] == ["Sphaeralcea ambigua", "Monarch butterfly"]


# ---------------------------------------------------------------- what is refused


def setting(part: str, name: str, value: object) -> Callable[[Any], Any]:
    return lambda whole: whole[part][2].__setitem__(name, value)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            setting("annotations", "category_id", 3),
            r"images\[2\], annotations\[2\]: label 3, expected 0 to 2 \(3 classes\)",
        ),
        (
            setting("annotations", "category_id", -1),
            r"annotations\[2\]: category_id -1, expected a whole number from 0",
        ),
        (setting("annotations", "category_id", 2.0), r"annotations\[2\]: category_id 2\.0"),
        (setting("annotations", "category_id", True), r"annotations\[2\]: category_id True"),
        (setting("annotations", "category_id", "2"), r"annotations\[2\]: category_id '2'"),
        (setting("annotations", "id", 9), r"annotations\[2\]: id 9, expected 3 as of images\[2\]"),
        (setting("annotations", "image_id", 1), r"annotations\[2\]: image_id 1, expected 3"),
        (setting("images", "id", 2**63), r"images\[2\]: id 9223372036854775808, expected a whole"),
        (setting("images", "file_name", None), r"images\[2\]: file_name None, expected a text"),
        (setting("images", "file_name", "\ud800.jpg"), r"images\[2\]: file_name .*, expected a t"),
        (setting("images", "file_name", "../a.jpg"), r"images\[2\], .*: path '\.\./a\.jpg', exp"),
        (setting("images", "file_name", ""), r"images\[2\], .*: path ''"),
        (
            lambda whole: whole["images"][2].pop("file_name"),
            r"images\[2\]: no field 'file_name' among id, width, height",
        ),
        (
            lambda whole: whole["images"][4].update(file_name=whole["images"][1]["file_name"]),
            r"images\[4\], .* is that of .*images\[1\], annotations\[1\] too",
        ),
        (
            lambda whole: [
                whole[p][3].update(id=1, **({"image_id": 1} if p == "annotations" else {}))
                for p in ("images", "annotations")
            ],
            r"images\[3\], .*: id 1 is that of .*images\[0\]",
        ),
        (lambda whole: whole["images"].__setitem__(2, []), r"images\[2\]: a list, expected an ob"),
        (lambda whole: whole["annotations"].pop(), "5 images and 4 annotations, expected one"),
        (lambda whole: whole.pop("annotations"), "annotations nothing, expected a list"),
        (lambda whole: whole.update(images={"id": 1}), "images dict, expected a list"),
        (lambda whole: whole["images"].clear(), "images nothing, expected a list"),
        (
            lambda whole: [whole[part].pop(1) for part in ("images", "annotations")],
            "no training image of class 0, expected some of all 3",
        ),
    ],
)
def test_wrong_entries(root: Path, how: Callable[[Any], Any], says: str) -> None:
    change(root / TRAIN, how)
    with pytest.raises(DataError, match=f"{TRAIN}.*{says}"):
        inat.load(root, None, MINI)


@pytest.mark.parametrize("name", [TRAIN, VAL, NAMES])
def test_damaged_files(root: Path, name: str) -> None:
    text = (root / name).read_text()
    (root / name).write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=rf"{name}: damaged [a-z]+, not JSON .*line 1 column \d+"):
        inat.load(root, None, MINI)
    (root / name).write_text("[" * 100_000)
    with pytest.raises(DataError, match=rf"{name}: damaged [a-z]+, nested too deeply"):
        inat.load(root, None, MINI)
    (root / name).write_text('"images"')
    with pytest.raises(DataError, match=f"{name}: .*expected"):
        inat.load(root, None, MINI)
    (root / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file; expected"):
        inat.load(root, None, MINI)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda value: value.reverse(), "ids are not 0, 1, 2"),
        (lambda value: value[1].update(id=0), "ids are not 0, 1, 2"),
        (lambda value: value[1].update(name=" _"), r"\[1\]: ' _' is no class name"),
        (lambda value: value[1].pop("name"), r"\[1\]: no field 'name' among id"),
    ],
)
def test_wrong_categories(root: Path, how: Callable[[Any], Any], says: str) -> None:
    change(root / NAMES, how)
    with pytest.raises(DataError, match=f"{NAMES}.*{says}"):
        inat.load(root, None, MINI)


def test_no_imbalance(root: Path) -> None:
    with pytest.raises(UsageError, match="it has no imbalance 50"):
        inat.load(root, 50, MINI)


def test_paper_wants_the_official_sizes(root: Path) -> None:
    with pytest.raises(DataError, match=r"3 classes, but profile paper needs .* 8142"):
        inat.load(root, None, PAPER)


# ---------------------------------------------------------------- check and fetch


def test_check_says_what_it_saw(root: Path) -> None:
    (root / "train2018.json.tar.gz").unlink(missing_ok=True)
    assert inat.check(root, TINY, decode=True) == [
        "3 classes of 1 to 3 training images; 5 train, 3 test",
        "every picture lies in the folder of its category",
        "train and test share no picture",
        "8 pictures are there",
        "the pictures have 8x8 px, as view crop-flip needs",
        "8 pictures decode",
    ]


def test_check_finds_what_is_wrong(root: Path) -> None:
    lost = root / "train_val2018/Aves/2/9f8ecb39e5f767e39e9b28e34488f179.jpg"
    data = lost.read_bytes()
    lost.write_bytes(data[:-100])
    with pytest.raises(DataError, match=rf"{TRAIN}, images\[2\], annotations\[2\]: .* bytes that"):
        inat.check(root, TINY, decode=True)
    lost.unlink()
    with pytest.raises(DataError, match=rf"images\[2\], annotations\[2\]: no such file .*{lost}"):
        inat.check(root, TINY)
    lost.write_bytes(data)
    (root / "val2018.json.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"val2018\.json\.tar\.gz: md5 d41d8cd98f00b204e9800998ecf"):
        inat.check(root, TINY)
    change(root / VAL, lambda whole: whole["annotations"][0].update(category_id=1))
    with pytest.raises(DataError, match=r"images\[0\].*Plantae/0/.* is not in the folder .*, 1\n"):
        inat.check(root, TINY)


def pack(root: Path, archive: str, files: dict[str, bytes]) -> Source:
    with tarfile.open(root / archive, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    md5 = "md5:" + hashlib.md5((root / archive).read_bytes()).hexdigest()
    return Source(archive, f"https://example.invalid/{archive}", "", md5, "")


PICTURES = {f"pictures/{n}/{n}.jpg": bytes([n]) * 100 for n in range(5)}


def test_fetch_asks_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives that are unpacked are not asked for again, even when they were deleted."""
    asked: list[tuple[str, str | None]] = []

    def transfer(url: str, root: str, filename: str, md5: str | None) -> None:
        asked.append((url, md5))
        pack(Path(root), filename, {filename.removesuffix(".tar.gz"): b"there"})

    monkeypatch.setattr("torchvision.datasets.utils.download_url", transfer)
    inat.fetch(tmp_path)
    base = "https://ml-inat-competition-datasets.s3.amazonaws.com/2018/"
    expected = [
        (f"{base}train2018.json.tar.gz", "bfa29d89d629cbf04d826a720c0a68b0"),
        (f"{base}val2018.json.tar.gz", "f2ed8bfe3e9901cdefceb4e53cd3775d"),
        (f"{base}categories.json.tar.gz", None),
        (f"{base}train_val2018.tar.gz", "b1c6952ce38f31868cc50ea72d066cc3"),
    ]
    assert asked == expected
    for archive in tmp_path.glob("*.tar.gz"):
        archive.unlink()
    inat.fetch(tmp_path)
    assert asked == expected
    (tmp_path / "train2018.json").unlink()
    inat.fetch(tmp_path)
    assert asked == [*expected, expected[0]]


def test_fetch_unpacks_what_is_downloaded(tmp_path: Path) -> None:
    """Without a network: torchvision compares an archive that is there."""
    inat.fetch(tmp_path, (pack(tmp_path, "a.tar.gz", PICTURES),))
    assert {f: (tmp_path / f).read_bytes() for f in PICTURES} == PICTURES
    assert (tmp_path / "a.tar.gz.unpacked").is_file()
    assert not (tmp_path / "a.tar.gz.unpacking").exists()


def test_an_unpacking_that_was_cut_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pack(tmp_path, "a.tar.gz", PICTURES)
    extract, left = tarfile.TarFile.extract, [3]

    def stopping(tar: Any, member: Any, *rest: Any, **settings: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        extract(tar, member, *rest, **settings)

    monkeypatch.setattr(tarfile.TarFile, "extract", stopping)
    with pytest.raises(KeyboardInterrupt):
        inat.fetch(tmp_path, (source,))
    assert (tmp_path / "pictures").is_dir()
    with pytest.raises(DataError, match="unpacking was cut short; run `harness data fetch` again"):
        unpacking.check(tmp_path, "a.tar.gz")
    (tmp_path / "pictures/1/1.jpg").write_bytes(b"half")
    left[0] = 3  # the two that are there in full are not written again
    inat.fetch(tmp_path, (source,))
    assert {f: (tmp_path / f).read_bytes() for f in PICTURES} == PICTURES
    unpacking.check(tmp_path, "a.tar.gz")


def test_what_was_unpacked_is_looked_at_before_use(tmp_path: Path) -> None:
    source = pack(tmp_path, "a.tar.gz", PICTURES)
    (tmp_path / "pictures").mkdir()  # no sign that all is there
    inat.fetch(tmp_path, (source,))
    (tmp_path / "pictures/2/2.jpg").write_bytes(b"half")
    with pytest.raises(DataError, match="5 files of 404 bytes, expected 5 of 500 as unpacked from"):
        unpacking.check(tmp_path, "a.tar.gz")
    inat.fetch(tmp_path, (source,))
    assert (tmp_path / "pictures/2/2.jpg").read_bytes() == PICTURES["pictures/2/2.jpg"]
    (tmp_path / "a.tar.gz.unpacked").write_text("{}")
    with pytest.raises(DataError, match="damaged marker"):
        unpacking.check(tmp_path, "a.tar.gz")


def test_an_archive_stays_below_its_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    source = pack(root, "a.tar.gz", {"../a.jpg": b"x"})
    with pytest.raises(DataError, match=r"a\.tar\.gz: cannot be unpacked"):
        inat.fetch(root, (source,))
    assert not (tmp_path / "a.jpg").exists()


def test_damaged_archives(tmp_path: Path) -> None:
    source = pack(tmp_path, "a.tar.gz", PICTURES)
    (tmp_path / "a.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be unpacked"):
        inat.fetch(tmp_path, (replace(source, digest=None),))
    assert not unpacking.done(tmp_path, "a.tar.gz")


def test_fetch_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def transfer(*args: object, **settings: object) -> None:
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", transfer)
    with pytest.raises(DataError, match=r"train2018\.json\.tar\.gz \(File not found or corrupted"):
        inat.fetch(tmp_path)


def test_checksum_of_the_pictures_is_torchvisions() -> None:
    from torchvision.datasets.inaturalist import DATASET_MD5, DATASET_URLS

    pictures = inat.SOURCES[-1]
    assert (pictures.url, pictures.digest) == (DATASET_URLS["2018"], f"md5:{DATASET_MD5['2018']}")


def test_the_built_in_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fiftieth of its pictures, at least one of each class and split."""
    monkeypatch.setattr("harness.datasets.longtail.SHARES", {"smoke": 0.02})
    inat.write_built_in(tmp_path, "smoke")
    assert "decode" in inat.check(tmp_path, inat.RECIPES["smoke"], decode=True)[-1]
    data = inat.load(tmp_path, None, inat.RECIPES["smoke"])
    pictures = data.train_images.take(np.arange(len(data.train)))
    assert isinstance(pictures, np.ndarray)  # all of one size, the one that the network wants
    assert pictures.shape[1:] == (MINI.view_px, MINI.view_px, 3)


# ---------------------------------------------------------------- rules and recipes


def test_hard_images_by_class_size(tmp_path: Path) -> None:
    """Classes of 19, 20 and 21 images."""
    rows = [(n, label, f"{n:032x}") for n, label in enumerate([0] * 19 + [1] * 20 + [2] * 21)]
    (tmp_path / TRAIN).write_text(json.dumps(official_files.coco(rows)))
    (tmp_path / VAL).write_text(
        json.dumps(official_files.coco([(100 + n, n, "f" * 32) for n in range(3)]))
    )
    (tmp_path / NAMES).write_text(json.dumps(official_files.real_names()))
    data = inat.load(tmp_path, None, MINI)
    assert set(inat.hard(data, MINI)["label"]) == {0}
    assert len(inat.hard(data, MINI)) == 19


def test_metrics_are_of_the_test_split() -> None:
    rows = pl.DataFrame({"id": [6, 7, 8], "label": [0, 1, 2], "prediction": [0, 2, 2]})
    found = inat.metrics(rows.with_columns(split=pl.lit("test")), (150, 20, 7))
    assert found["overall"] == 2 / 3
    assert found["rules"]["A"] == {"many": 1.0, "medium": 0.0, "few": 1.0, "classes": [1, 1, 1]}
    assert inat.headline(found) == 2 / 3


def test_recipe_of_the_paper() -> None:
    """CUDA's recipe for CE, and DisCL's for what follows, as on ImageNet-LT."""
    scratch, onward = PAPER.scratch, PAPER.onward
    assert (scratch.optimiser, scratch.lr, scratch.momentum, scratch.nesterov) == (
        "sgd", 0.1, 0.9, False,
    )  # fmt: skip
    assert (scratch.weight_decay, scratch.batch, scratch.epochs) == (2e-4, 512, 100)
    assert (scratch.warmup, scratch.milestones, scratch.gamma) == (5, (60, 80), 0.1)
    assert onward is not None
    assert (onward.optimiser, onward.lr, onward.batch, onward.epochs) == ("adam", 1e-3, 128, 65)
    assert PAPER.pool_seeds == (10, 20, 30, 40)
    assert (PAPER.levels, PAPER.threshold) == ((0.0, 0.1, 0.3, 0.5), 0.30)
    assert PAPER.mixture == Mixture(keep=0.3, tail_fraction=None)
    assert (PAPER.view_px, PAPER.augment, PAPER.test_view) == (224, "inaturalist", "centre")
    assert inat.MEAN == (0.466, 0.471, 0.380)
    assert inat.STD == (0.195, 0.194, 0.192)


def test_the_mixture_has_room_for_the_tail() -> None:
    """3,224 of 8,142 classes are tail, with at most 19 images each; ImageNet-LT's share has none.

    The tail's K = f / (1 - f) * kept places must hold all of its real images, 44,956 by the paper.
    """
    assert PAPER.mixture is not None
    kept, tail = int(PAPER.mixture.keep * (437_513 - 44_956)), 3224 / 8142
    assert tail / (1 - tail) * kept > 44_956
    assert 0.136 / 0.864 * kept < 44_956


@pytest.mark.parametrize("profile", ["mini", "smoke", "paper"])
def test_extending_name_views_that_exist(profile: str) -> None:
    recipe = inat.RECIPES[profile]
    assert recipe.profile == profile
    registry.function(augmentation, recipe.augment)
    registry.function(augmentation, recipe.test_view)
