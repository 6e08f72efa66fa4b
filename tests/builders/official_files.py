"""Small data sets in the official formats, written by hand, with tiny pictures beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.datasets.base import Dataset
from harness.datasets.pictures import Files


def pixels(number: int, height: int = 8, width: int = 8) -> np.ndarray:
    """A picture of its own for every number, smooth enough for JPEG."""
    y, x = np.mgrid[:height, :width] / 8
    waves = [np.sin(x * a + y * b + number) for a, b in ((1, 2), (2, 1), (3, 3))]
    return np.uint8(127.5 + 120 * np.stack(waves, axis=-1))


def encoded(picture: np.ndarray, form: str = "JPEG", mode: str = "RGB", **settings: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(out, form, **settings)
    return out.getvalue()


def write_pictures(root: Path, paths: Iterable[str], first: int = 0) -> None:
    for number, path in enumerate(paths, first):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(pixels(number)))


# ---------------------------------------------------------------- ImageNet-LT

# As in the official lists: no header, one blank, the synset's number in alphabetical order.
TRAIN = """\
train/n01440764/n01440764_190.JPEG 0
train/n01440764/n01440764_10026.JPEG 0
train/n01440764/n01440764_571.JPEG 0
train/n01443537/n01443537_16403.JPEG 1
train/n01443537/n01443537_1170.JPEG 1
train/n01484850/n01484850_1476.JPEG 2
"""
VAL = """\
train/n01440764/n01440764_762.JPEG 0
train/n01443537/n01443537_13317.JPEG 1
train/n01484850/n01484850_1849.JPEG 2
"""
TEST = """\
val/n01484850/ILSVRC2012_val_00002338.JPEG 2
val/n01440764/ILSVRC2012_val_00017700.JPEG 0
val/n01440764/ILSVRC2012_val_00003014.JPEG 0
val/n01443537/ILSVRC2012_val_00000236.JPEG 1
"""
NAMES = "tench\ngoldfish\ngreat_white shark\n"


def write_imagenet_lt(root: Path) -> Path:
    files = {"train": TRAIN, "val": VAL, "test": TEST}
    for nth, (split, text) in enumerate(files.items()):
        (root / f"ImageNet_LT_{split}.txt").write_text(text)
        write_pictures(root, [line.split()[0] for line in text.splitlines()], 10 * nth)
    (root / "classnames.txt").write_text(NAMES)
    return root


def write_long_lists(root: Path, counts: Sequence[int], val: int, test: int) -> None:
    """Lists of that many training images by class, without pictures; val and test of each class."""
    for split, folder, sizes in (
        ("train", "train", counts),
        ("val", "train", [val] * len(counts)),
        ("test", "val", [test] * len(counts)),
    ):
        lines = (
            f"{folder}/n{label:08d}/{split}_{i}.JPEG {label}\n"
            for label, size in enumerate(sizes)
            for i in range(size)
        )
        (root / f"ImageNet_LT_{split}.txt").write_text("".join(lines))


# ---------------------------------------------------------------- iNaturalist 2018

SPECIES = (
    ("Plantae", "Sphaeralcea ambigua"),
    ("Insecta", "Danaus plexippus"),
    ("Aves", "Acanthis flammea"),
)
# image id, category, hash of the name
TRAIN_2018 = (
    (1, 2, "fb1b1b3ddbcb4d8ba7c1b2b8bd0d5ee1"),
    (2, 0, "0a5ad8ee3bcc3d3b2b7a3f5a6f8b0d4c"),
    (3, 2, "9f8ecb39e5f767e39e9b28e34488f179"),
    (4, 1, "cb75e788cfe2bfe52485a7d146bf1494"),
    (5, 2, "1bfb1b3ddbcb4d8ba7c1b2b8bd0d5ee2"),
)
VAL_2018 = (
    (6, 0, "cfb9ca114758b134ae2fa2139a2f30d7"),
    (7, 1, "994fa5b03db0e57d9f1e360d34aae943"),
    (8, 2, "4af0d3da8aa2a7d1d1da5fa74ff290eb"),
)


def coco(rows: Sequence[tuple[int, int, str]]) -> dict[str, Any]:
    """The value of a file, with names obfuscated as in the official ones."""
    images, annotations = [], []
    for number, label, name in rows:
        file = f"train_val2018/{SPECIES[label][0]}/{label}/{name}.jpg"
        images.append(
            {"id": number, "width": 800, "height": 600, "file_name": file, "license": 3}
            | {"rights_holder": "Jürgen Müller"}
        )
        annotations.append({"id": number, "image_id": number, "category_id": label})
    categories = [
        {"id": i, "name": f"{i:04d}", "supercategory": kind, "kingdom": "", "phylum": ""}
        | {"class": "", "order": "", "family": "", "genus": ""}
        for i, (kind, _) in enumerate(SPECIES)
    ]
    info = {"year": 2018, "version": "", "description": "", "contributor": "", "url": ""}
    licenses = [{"id": 3, "name": "Attribution-NonCommercial License", "url": ""}]
    return {
        "info": info | {"date_created": "2018-02-10"},
        "images": images,
        "categories": categories,
        "annotations": annotations,
        "licenses": licenses,
    }


def real_names() -> list[dict[str, Any]]:
    return [
        {"id": i, "name": name, "supercategory": kind, "genus": name.split()[0]}
        for i, (kind, name) in enumerate(SPECIES)
    ]


def write_inaturalist2018(root: Path) -> Path:
    for file, rows in (("train2018.json", TRAIN_2018), ("val2018.json", VAL_2018)):
        value = coco(rows)
        (root / file).write_text(json.dumps(value))
        write_pictures(root, [image["file_name"] for image in value["images"]], rows[0][0])
    (root / "categories.json").write_text(json.dumps(real_names()))
    return root


# ---------------------------------------------------------------- iWildCam 2.0

METADATA = """\
,split,location_remapped,location,sequence_remapped,seq_id,y,category_id,datetime,filename,image_id
0,train,7,218,0,7f3a,0,0,2013-03-08 09:24:22.000,8b31d3be.jpg,8b31d3be
1,train,7,218,0,7f3a,2,24,2013-03-08 09:24:23.000,91d2c1e0.jpg,91d2c1e0
2,train,9,300,1,81bc,1,9,2013-05-01 22:10:01.000,8cf202be.jpg,8cf202be
3,train,9,300,1,81bc,2,24,2013-05-01 22:10:03.000,95a1d1f0.jpg,95a1d1f0
4,val,3,101,2,c1aa,2,24,2013-06-10 04:13:00.000,8a1f3f10.jpg,8a1f3f10
5,test,5,144,3,d0e9,1,9,2014-01-11 17:00:09.000,900ab22c.jpg,900ab22c
6,test,5,144,4,d0ea,0,0,2014-01-12 17:00:09.000,8e7700aa.jpg,8e7700aa
7,id_val,7,218,5,e5d1,0,0,2013-04-02 10:42:30.000,87022118.jpg,87022118
8,id_test,9,300,6,f8b4,2,24,2013-05-20 23:59:59.000,99136aa6.jpg,99136aa6
"""
CATEGORIES = """\
y,category_id,name
0,0,empty
1,9,dasypus novemcinctus
2,24,genetta_genetta
99999,71,ovis aries
"""
LABELS = """\
y,category_id,name,english
0,0,empty,empty
1,9,dasypus novemcinctus,Nine-banded armadillo
2,24,genetta genetta,common Genet
99999,71,ovis aries,Sheep
"""


def write_iwildcam(root: Path, labels: bool = True) -> Path:
    folder = root / "iwildcam_v2.0"
    folder.mkdir(parents=True)
    (folder / "metadata.csv").write_text(METADATA)
    (folder / "categories.csv").write_text(CATEGORIES)
    (folder / "RELEASE_v2.0.txt").write_text("")
    if labels:
        (folder / "labels.csv").write_text(LABELS)
    names = [line.split(",")[9] for line in METADATA.splitlines()[1:]]
    write_pictures(folder, [f"train/{name}" for name in names])
    return root


# ---------------------------------------------------------------- what tests do with them


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that occurs in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def disguise(path: Path) -> None:
    """A byte order mark, Windows line ends, and blank lines at the end."""
    text = path.read_text().replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")


def say(data: Dataset) -> dict[str, Any]:
    """All that a data set says, ids apart, for comparisons."""
    tables = {"train": data.train} | {name: split.table for name, split in data.splits.items()}
    images = {"train": data.train_images}
    images |= {name: split.images for name, split in data.splits.items()}
    files = {name: some for name, some in images.items() if isinstance(some, Files)}
    return {
        "classes": data.classes,
        "counts": data.counts,
        "hash": data.index_hash,
        "tables": {name: table.drop("id").rows() for name, table in tables.items()},
        "files": {name: list(some.paths) for name, some in files.items()},
    }
