"""What a later stage would refuse is refused by the check: all of it at once, a line each."""

import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import official_files
import pytest
from cifar_files import write_world
from official_files import edit, encoded, pixels
from PIL import Image

from harness.cli.main import main
from harness.core.draws import Draws
from harness.core.errors import DataError, UsageError
from harness.core.registry import function_names
from harness.datasets import cifar as cifar_files
from harness.datasets import cifar100_lt, imagenet_lt, inaturalist2018, iwildcam, picture_check
from harness.datasets.offences import SHOWN, Faults, Offences, of_all
from harness.training import augmentation

MINI = replace(imagenet_lt.MINI, view_px=8)  # the side of the pictures that tests write
ANY = replace(MINI, augment="imagenet", test_view="centre")  # views of any size
TRAIN = "ImageNet_LT_train.txt"
TENCH, FISH = "train/n01440764/n01440764_190.JPEG", "train/n01443537/n01443537_1170.JPEG"
TEST = "val/n01443537/ILSVRC2012_val_00000236.JPEG"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return official_files.write_imagenet_lt(tmp_path)


def offences(check: Callable[..., Any], *arguments: Any, **settings: Any) -> list[str]:
    with pytest.raises(Offences) as caught:
        check(*arguments, **settings)
    assert caught.value.count == len(caught.value.lines)
    return list(caught.value.lines)


# ---------------------------------------------------------------- collecting


def test_at_most_twenty_lines_and_a_count() -> None:
    faults = Faults()
    for number in range(SHOWN + 5):
        faults.add(f"file {number}")
    with pytest.raises(Offences) as caught:
        faults.refuse()
    lines = str(caught.value).splitlines()
    assert lines == [*(f"file {n}" for n in range(SHOWN)), "and 5 more", "25 offences"]
    both = Faults()
    both.take(DataError("first"))
    both.take(caught.value)
    assert (both.count, len(both.lines), both.lines[0]) == (26, SHOWN, "first")


def test_one_offence_is_one_line() -> None:
    faults = Faults()
    faults.refuse()
    faults.add("file")
    with pytest.raises(Offences, match=r"^file$"):
        faults.refuse()


def test_all_readers_are_heard() -> None:
    def fails() -> int:
        raise DataError("b is damaged")

    assert of_all({"a": lambda: 1}) == {"a": 1}
    assert offences(of_all, {"a": lambda: 1, "b": fails, "c": fails}) == ["b is damaged"] * 2


# ---------------------------------------------------------------- lists


def test_every_entry_at_fault_is_named(root: Path) -> None:
    """Of several lists, and files that are missing as well."""
    edit(root / TRAIN, f"{FISH} 1", f"{FISH} 7")
    edit(root / "ImageNet_LT_val.txt", "n01440764_762.JPEG 0", "n01440764_762.JPEG x")
    edit(root / "ImageNet_LT_test.txt", TEST, "val/n01443537/._236.JPEG")
    (root / TENCH).unlink()
    assert offences(imagenet_lt.check, root, MINI) == [
        f"{root / TRAIN}, line 5: label 7, expected 0 to 2 (3 classes)",
        f"{root}/ImageNet_LT_val.txt, line 1: label 'x', expected a whole number from 0",
        f"{root}/ImageNet_LT_test.txt, line 4: path 'val/n01443537/._236.JPEG', expected no "
        "hidden file",
        f"{root / TRAIN}, line 1: no such file {root / TENCH}",
    ]


def test_damaged_lists_are_named_together(root: Path) -> None:
    (root / TRAIN).unlink()
    (root / "ImageNet_LT_val.txt").write_text("")
    lines = offences(imagenet_lt.check, root, MINI)
    assert [re.sub("[:;].*", "", line) for line in lines] == [
        str(root / TRAIN),
        f"{root}/ImageNet_LT_val.txt",
    ]


def test_every_id_that_is_there_twice(tmp_path: Path) -> None:
    root = official_files.write_inaturalist2018(tmp_path)
    value = json.loads((root / "train2018.json").read_text())
    for number in (2, 4):
        value["images"][number]["id"] = value["annotations"][number]["id"] = 1
        value["annotations"][number]["image_id"] = 1
    (root / "train2018.json").write_text(json.dumps(value))
    lines = offences(inaturalist2018.check, root, MINI)
    assert [line.rpartition(": ")[2] for line in lines] == [
        f"id 1 is that of {root}/train2018.json, images[0], annotations[0] too, expected each once"
    ] * 2


def test_all_rows_of_a_table(tmp_path: Path) -> None:
    root = official_files.write_iwildcam(tmp_path)
    table = root / "iwildcam_v2.0/metadata.csv"
    edit(table, ",train,9,", ",trian,x,")
    lines = [
        line.partition(", ")[2] for line in offences(iwildcam.check, root, iwildcam.RECIPES["mini"])
    ]
    assert lines == [
        f"line {n}: location_remapped 'x', expected a whole number from 0" for n in (4, 5)
    ]


def test_official_sizes_are_all_compared(root: Path) -> None:
    paper = imagenet_lt.RECIPES["paper"]
    lines = offences(imagenet_lt.check, root, paper)
    assert [line.split()[1:3] for line in lines] == [
        ["3", "classes,"], ["6", "images"], ["3", "images"], ["4", "images"],
    ]  # fmt: skip


def test_names_that_labels_share_are_told(root: Path) -> None:
    (root / "classnames.txt").write_text("missile\ngoldfish\nmissile\n")
    assert "2 labels are called missile: 0, 2" in imagenet_lt.check(root, MINI)


# ---------------------------------------------------------------- files


def test_missing_empty_and_foreign_files(root: Path) -> None:
    (root / FISH).write_bytes(b"")
    (root / TENCH).unlink()
    (root / TENCH).symlink_to("nowhere")
    (root / TEST).unlink()
    (root / TEST).mkdir()
    assert offences(imagenet_lt.check, root, ANY) == [
        f"{root / TRAIN}, line 1: no such file {root / TENCH}, only a link to it",
        f"{root / TRAIN}, line 5: {root / FISH} is empty, expected a picture",
        f"{root}/ImageNet_LT_test.txt, line 4: {root / TEST} is a folder, expected a picture",
    ]


def test_files_in_no_list_are_told_and_hidden_ones_are_none(root: Path) -> None:
    before = imagenet_lt.check(root, ANY)
    for name in (".DS_Store", "._x.JPEG", "Thumbs.db", ".ipynb_checkpoints/x.JPEG"):
        path = root / "train/n01440764" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (root / "train/.ipynb_checkpoints").mkdir()
    shutil.copy(root / TENCH, root / "train/.ipynb_checkpoints/x.JPEG")
    assert imagenet_lt.check(root, ANY) == before
    (root / "train/n01440764/more.JPEG").write_bytes(b"")
    (root / "train/n99999999/deep").mkdir(parents=True)
    (root / "train/n99999999/deep/x.JPEG").write_bytes(b"")
    (root / "train/n99999999/.x.JPEG").write_bytes(b"")
    told = [line for line in imagenet_lt.check(root, ANY) if line not in before]
    assert told == ["2 files below train are in no list, for example train/n01440764/more.JPEG"]


def test_an_unpacking_cut_short_is_refused(tmp_path: Path) -> None:
    root = official_files.write_inaturalist2018(tmp_path)
    (root / "train_val2018.tar.gz.unpacking").touch()
    for downloads in (True, False):
        assert offences(inaturalist2018.check, root, MINI, downloads=downloads) == [
            f"{root}/train_val2018.tar.gz: unpacking was cut short; run `harness data fetch` again"
        ]


# ---------------------------------------------------------------- sizes


def test_views_of_one_size_refuse_other_pictures(root: Path) -> None:
    (root / FISH).write_bytes(encoded(pixels(1, 8, 10)))
    (root / TEST).write_bytes(encoded(pixels(2, 9, 9)))
    train = f"{root / TRAIN}, line 5: {root / FISH} has 10x8 px; view {{}} needs 8x8"
    test = f"{root}/ImageNet_LT_test.txt, line 4: {root / TEST} has 9x9 px; view none needs 8x8"
    assert offences(imagenet_lt.check, root, MINI) == [train.format("crop-flip"), test]
    cropped = replace(MINI, test_view="centre")
    assert offences(imagenet_lt.check, root, cropped) == [train.format("crop-flip")]
    assert "13 pictures are there" in imagenet_lt.check(root, ANY)


def test_no_picture_is_opened_where_any_size_will_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.datasets.pictures._bytes", None)
    assert "13 pictures are there" in imagenet_lt.check(root, ANY)


@pytest.mark.parametrize("name", function_names("harness.training.augmentation"))
def test_views_say_which_sizes_they_take(name: str) -> None:
    view = getattr(augmentation, name.replace("-", "_"))
    mixed = [np.zeros((12, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)]
    draws = Draws((0,), 0, 2)
    if name in picture_check.SIZED_VIEWS:
        with pytest.raises(UsageError, match="images are 12x8 px and the network wants 8"):
            view(mixed, draws, 8)
        mixed = mixed[1:] * 2
    assert view(mixed, draws, 8).shape == (2, 8, 8, 3)


# ---------------------------------------------------------------- contents


def test_every_damaged_picture_is_named(root: Path) -> None:
    for path in (TENCH, TEST):
        (root / path).write_bytes((root / path).read_bytes()[:-20])
    assert "13 pictures are there" in imagenet_lt.check(root, MINI)
    lines = offences(imagenet_lt.check, root, MINI, decode=True)
    assert [line.partition(": ")[0] for line in lines] == [
        f"{root / TRAIN}, line 1",
        f"{root}/ImageNet_LT_test.txt, line 4",
    ]


def test_nothing_is_decoded_while_files_are_missing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.datasets.pictures.examined", None)
    (root / TENCH).unlink()
    assert len(offences(imagenet_lt.check, root, MINI, decode=True)) == 1


def test_one_picture_in_two_classes(root: Path) -> None:
    shutil.copy(root / TENCH, root / FISH)
    imagenet_lt.check(root, MINI)
    assert offences(imagenet_lt.check, root, MINI, decode=True) == [
        f"{root / TRAIN}, line 5: {FISH} (class 1) has the content of {TENCH} (class 0; "
        f"{TRAIN}, line 1), expected each picture in one class"
    ]


def test_pictures_that_are_there_twice_are_told(root: Path) -> None:
    other = "train/n01440764/n01440764_571.JPEG"
    shutil.copy(root / TENCH, root / other)
    shutil.copy(root / FISH, root / TEST)
    assert imagenet_lt.check(root, MINI, decode=True)[-2:] == [
        "1 training pictures are there before, in the same class: "
        f"{other} has the content of {TENCH}",
        f"warning: 1 pictures of test are in train, too: {TEST} has the content of {FISH}",
    ]


# ---------------------------------------------------------------- CIFAR


def test_cifar_checksums_come_before_any_unpickling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar_files, "unpickle", None)
    folder = tmp_path / cifar_files.FOLDER
    folder.mkdir()
    for name in ("train", "test"):
        (folder / name).write_bytes(b"pickle")
    lines = offences(cifar100_lt.check, tmp_path, cifar100_lt.PAPER)
    assert [line.split(": ")[0] for line in lines] == [
        str(folder / name) for name in ("train", "test", "meta")
    ]
    assert "the official file has" in lines[0]
    assert "cannot be read" in lines[2]


def test_cifar_compares_pixels(tmp_path: Path) -> None:
    write_world(tmp_path, classes=4, size=30)
    recipe = replace(cifar100_lt.MINI, imbalances=(10, 2))
    assert cifar100_lt.check(tmp_path, recipe, decode=True) == [
        "4 classes, 120 training and 12 test pictures, all decoded",
        "imbalance 10: 52 training pictures",
        "imbalance 2: 86 training pictures",
    ]
    path = tmp_path / cifar_files.FOLDER / "train"
    content = pickle.loads(path.read_bytes())
    first, second = content[b"fine_labels"].index(0), content[b"fine_labels"].index(1)
    later = max(first, second)
    content[b"data"][second] = content[b"data"][first]
    path.write_bytes(pickle.dumps(content, protocol=2))
    (line,) = offences(cifar100_lt.check, tmp_path, recipe, decode=True)
    assert line.startswith(f"train[{later}]: train[{later}] (class ")
    assert line.endswith("expected each picture in one class")
    assert len(cifar100_lt.check(tmp_path, recipe)) == 3


# ---------------------------------------------------------------- commands


def run(action: str, root: Path, home: Path, *more: str) -> int:
    where = ("--dataset", "imagenet-lt", "--profile", "smoke", "--home", str(home))
    return main([*action.split(), *where, "--root", str(root), "--set", "view_px=8", *more])


def test_commands_refuse_the_same(
    root: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path_factory.mktemp("home")
    assert run("data check", root, home, "--decode") == 0
    assert run("index", root, home) == 0
    (root / TENCH).unlink()
    (root / FISH).write_bytes(b"")
    capsys.readouterr()
    assert run("data check", root, home) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == f"harness: 2 offences below {root}\n"
    assert run("index", root, home) == 1
    said = capsys.readouterr().err.removeprefix("harness: ").splitlines()
    assert said == [*out.splitlines(), "2 offences"]
    (root / "classnames.txt").write_bytes(b"\xff")
    assert run("data check", root, home) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == f"harness: 1 offence below {root}\n"


def test_mixed_sizes_are_refused_before_training(
    root: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pixels(0, 8, 9)).save(root / TENCH, "JPEG")
    assert run("index", root, tmp_path_factory.mktemp("home")) == 1
    assert "has 9x8 px; view crop-flip needs 8x8" in capsys.readouterr().err
