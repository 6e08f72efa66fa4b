"""Lists of the four data sets in the official formats and sizes, over a few hundred pictures.

Every name of a list leads, by a link to a folder or to a file, to one of PICTURES pictures of the
built-in world, brought to a usual size of that data set.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from harness.core import registry
from harness.datasets import cifar
from harness.mini import python2, scene
from harness.pipeline.workspace import DATASETS, Workspace
from harness.planning.calibration import USUAL_PX
from harness.planning.dataset_sizes import facts

PICTURES = 200
CONCEPTS = 60


def write(name: str, root: Path) -> Path:
    """The data set's files below root/<name>, unless they are there."""
    folder = root / name
    done = folder / "written"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        WRITERS[name](folder)
        done.write_text("")
    return folder


def _pixels(number: int, height: int, width: int) -> np.ndarray:
    drawn = scene.compose("train", number % CONCEPTS, number // CONCEPTS, 64).pixels
    return np.asarray(Image.fromarray(drawn).resize((width, height), Image.Resampling.BICUBIC))


def _pictures(folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(PICTURES):
        path = folder / f"picture_{number}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(_pixels(number, *USUAL_PX[name]), 92))
        paths.append(path)
    return paths


def _counts(name: str) -> tuple[int, ...]:
    return facts(Workspace(name, "paper"), None).counts


def digest_of_counts(name: str) -> str:
    """As OFFICIAL_COUNTS of a data set's module says it of the official class sizes."""
    return hashlib.sha256(",".join(map(str, _counts(name))).encode()).hexdigest()


def _linked_folders(root: Path, name: str, folders: list[str], files: list[str]) -> None:
    """Each folder is a link to one in which each file is a link to a picture."""
    pictures = _pictures(root / "pictures", name)
    shared = root / "shared"
    shared.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        (shared / file).symlink_to(pictures[number % PICTURES])
    for folder in folders:
        path = root / folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(shared)


def _files_of(split: str, most: int) -> list[str]:
    return [f"{split}_{i:05d}.jpg" for i in range(most)]


# ---------------------------------------------------------------- the four formats


def imagenet_lt(root: Path) -> None:
    """Three lists `relative/path label`."""
    module = registry.find(DATASETS, "imagenet-lt")
    counts = _counts("imagenet-lt")
    per_class = {split: module.OFFICIAL[split] // len(counts) for split in ("val", "test")}
    sizes = {"train": counts} | {s: (n,) * len(counts) for s, n in per_class.items()}
    folders = [f"{top}/n{label:08d}" for top in ("train", "val") for label in range(len(counts))]
    files = [file for split, some in sizes.items() for file in _files_of(split, max(some))]
    _linked_folders(root, "imagenet-lt", folders, files)
    for split, some in sizes.items():
        top = "val" if split == "test" else "train"
        lines = (
            f"{top}/n{label:08d}/{file} {label}\n"
            for label, count in enumerate(some)
            for file in _files_of(split, count)
        )
        (root / module.LISTS[split]).write_text("".join(lines))


def inaturalist2018(root: Path) -> None:
    """Two files as COCO's, and the names."""
    module = registry.find(DATASETS, "inaturalist2018")
    counts = _counts("inaturalist2018")
    sizes = {"train": counts, "test": (module.OFFICIAL["test"] // len(counts),) * len(counts)}
    folders = [f"{module.PICTURES}/Plantae/{label}" for label in range(len(counts))]
    files = [file for split, some in sizes.items() for file in _files_of(split, max(some))]
    _linked_folders(root, "inaturalist2018", folders, files)
    first = 0
    for split, some in sizes.items():
        names = [
            (label, f"{folders[label]}/{file}")
            for label, count in enumerate(some)
            for file in _files_of(split, count)
        ]
        (root / module.LISTS[split]).write_text(json.dumps(_coco(names, len(counts), first)))
        first += len(names)
    real = [{"id": i, "name": f"Genus species{i}"} for i in range(len(counts))]
    (root / module.NAMES).write_text(json.dumps(real))


def _coco(names: list[tuple[int, str]], classes: int, first: int) -> dict[str, Any]:
    numbered = list(enumerate(names, first))
    return {
        "info": {"year": 2018},
        "images": [
            {"id": i, "file_name": path, "width": 800, "height": 600} for i, (_, path) in numbered
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": label} for i, (label, _) in numbered
        ],
        "categories": [{"id": i, "name": f"{i:04d}"} for i in range(classes)],
        "licenses": [],
    }


def iwildcam(root: Path) -> None:
    """metadata.csv and categories.csv; all pictures in one folder."""
    module = registry.find(DATASETS, "iwildcam")
    classes, top = module.OFFICIAL["classes"], root / "iwildcam_v2.0"
    pictures = _pictures(root / "pictures", "iwildcam")
    (top / "train").mkdir(parents=True, exist_ok=True)
    with open(top / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ",split,location_remapped,location,sequence_remapped,seq_id,y,category_id,datetime,"
            "filename,image_id".split(",")
        )
        for row in _traps(module.OFFICIAL, classes):
            table.writerow(row)
            (top / "train" / row[9]).symlink_to(pictures[row[0] % PICTURES])
    lines = (f"{y},{y},species {y}\n" for y in range(classes))
    (top / "categories.csv").write_text("y,category_id,name\n" + "".join(lines))


def _traps(sizes: dict[str, int], classes: int) -> Iterator[list[Any]]:
    """Rows of metadata.csv, classes in turn, the rarer the higher their number."""
    number, begin = 0, datetime(2013, 3, 1)
    shares = np.geomspace(1, 1e-3, classes)
    for split in ("train", "val", "test", "id_val", "id_test"):
        counts = np.maximum(1, np.floor(sizes[split] * shares / shares.sum())).astype(int)
        counts[0] += sizes[split] - counts.sum()
        places = 300 if split in ("val", "test") else 0
        for y in np.repeat(np.arange(classes), counts).tolist():
            place, time = places + number % 30, begin + timedelta(minutes=number)
            name = f"{number:08x}-rehearsal.jpg"
            yield [
                number, split, place, place, number, f"s{number}", y, y, f"{time}.000", name,
                name[:-4],
            ]  # fmt: skip
            number += 1


def cifar100_lt(root: Path) -> None:
    """Three pickles of Python 2."""
    classes, train, test = cifar.OFFICIAL
    few = np.stack([_pixels(n, 32, 32) for n in range(PICTURES)]).transpose(0, 3, 1, 2)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True, exist_ok=True)
    names = {b"fine_label_names": [f"thing_{i}".encode() for i in range(classes)]}
    (folder / "meta").write_bytes(python2.dumps(names | {b"coarse_label_names": [b"things"]}))
    for split, count in (("train", train), ("test", test)):
        labels = [i % classes for i in range(count)]
        pixels = few[np.arange(count) % PICTURES].reshape(count, -1)
        content: dict[bytes, Any] = {
            b"filenames": [f"thing_s_{i:06d}.png".encode() for i in range(count)],
            b"batch_label": f"{split}ing batch 1 of 1".encode(),
            b"fine_labels": labels,
            b"coarse_labels": [0] * count,
            b"data": np.ascontiguousarray(pixels),
        }
        (folder / split).write_bytes(python2.dumps(content))


WRITERS: dict[str, Callable[[Path], None]] = {
    "cifar100-lt": cifar100_lt,
    "imagenet-lt": imagenet_lt,
    "inaturalist2018": inaturalist2018,
    "iwildcam": iwildcam,
}
