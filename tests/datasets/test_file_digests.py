"""Digests of a data set's own files: what is listed, and what is refused from then on."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import official_files
import pytest
from cifar_files import write_world

from harness.cli.main import main
from harness.core import registry
from harness.core.digests import LISTING, read_listing
from harness.core.errors import DataError
from harness.datasets import pictures


def imagenet(root: Path) -> Path:
    return official_files.write_imagenet_lt(root)


def inaturalist(root: Path) -> Path:
    return official_files.write_inaturalist2018(root)


def iwildcam(root: Path) -> Path:
    return official_files.write_iwildcam(root) / "iwildcam_v2.0"


def cifar(root: Path) -> Path:
    return write_world(root) / "cifar-100-python"


SETS: dict[str, Callable[[Path], Path]] = {
    "cifar100-lt": cifar,
    "imagenet-lt": imagenet,
    "inaturalist2018": inaturalist,
    "iwildcam": iwildcam,
}
LISTS = {
    "cifar100-lt": {"train", "test", "meta"},
    "imagenet-lt": {"classnames.txt", *(f"ImageNet_LT_{s}.txt" for s in ("train", "val", "test"))},
    "inaturalist2018": {"train2018.json", "val2018.json", "categories.json"},
    "iwildcam": {"metadata.csv", "categories.csv", "labels.csv", "RELEASE_v2.0.txt"},
}


def command(action: str, name: str, root: Path) -> int:
    return main(["data", action, "--dataset", name, "--root", str(root)])


def flip(path: Path) -> None:
    """Change one bit in the middle, which a picture may decode in spite of."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def read_all(name: str, root: Path) -> list[Any]:
    """Every picture, as the stages read them."""
    module = registry.find("harness.datasets", name)
    data = module.load(root, None, module.RECIPES["mini"])
    every = [data.train_images, *(split.images for split in data.splits.values())]
    return [images.take(np.arange(len(images))) for images in every]


@pytest.fixture(params=SETS)
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path]:
    """A data set's name, its root, and its folder with a listing."""
    folder = SETS[request.param](tmp_path)
    assert command("digests", request.param, tmp_path) == 0
    return request.param, tmp_path, folder


def test_every_picture_and_list_is_named(listed: tuple[str, Path, Path]) -> None:
    name, root, folder = listed
    found = read_listing(folder / LISTING, "")
    there = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != LISTING
    }
    assert {*found} == there
    assert {file for file in found if "/" not in file} == LISTS[name]
    done = subprocess.run(["sha256sum", "-c", "--quiet", LISTING], cwd=folder)
    assert done.returncode == 0
    read_all(name, root)  # as they are, they are read
    before = (folder / LISTING).read_bytes()
    assert command("digests", name, root) == 0
    assert (folder / LISTING).read_bytes() == before


def test_a_changed_file_is_refused_by_name(
    listed: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    name, root, folder = listed
    for file in [*sorted(LISTS[name] - {"RELEASE_v2.0.txt"}), *_pictures(folder)]:
        sound = (folder / file).read_bytes()
        flip(folder / file)
        with pytest.raises(DataError) as caught:
            read_all(name, root)
        assert file in str(caught.value)
        assert len(str(caught.value)) <= 300 + len(str(folder))
        assert command("digests", name, root) == 1, file
        assert file in capsys.readouterr().out
        (folder / file).write_bytes(sound)
    read_all(name, root)


def _pictures(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.[jJ][pP]*"))][::3]


def test_nothing_is_written_where_a_picture_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = imagenet(tmp_path)
    cut = [folder / file for file in _pictures(folder)[:2]]
    for path in cut:
        path.write_bytes(path.read_bytes()[:100])
    assert command("digests", "imagenet-lt", tmp_path) == 1
    printed = capsys.readouterr()
    assert all(str(path) in printed.out for path in cut)
    assert "2 offences" in printed.err
    assert not (folder / LISTING).exists()


def test_large_and_hidden_files_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = imagenet(tmp_path)
    for name in (".DS_Store", "ILSVRC2012_img_val.tar"):
        (folder / name).write_bytes(b"x" * 4096)
    monkeypatch.setattr("harness.datasets.file_digests.LARGEST_MIB", 4000 / 2**20)
    assert command("digests", "imagenet-lt", tmp_path) == 0
    names = {file for file in read_listing(folder / LISTING, "") if "/" not in file}
    assert names == LISTS["imagenet-lt"]


def test_digests_are_of_the_bytes_however_exif_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = imagenet(tmp_path)
    monkeypatch.setenv(pictures.EXIF_VARIABLE, "ignore")
    assert command("digests", "imagenet-lt", tmp_path) == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", LISTING], cwd=folder).returncode == 0
