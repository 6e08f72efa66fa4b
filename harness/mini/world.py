"""Writes the built-in world's data sets in the official on-disk formats."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np

from harness.core.files import write_atomic
from harness.core.progress import ProgressBar
from harness.mini import python2, scene
from harness.mini.writing import AT_ONCE, each, list_files

# The CIFAR-100 classes whose sprites can be told apart at 32 px.
CIFAR100 = (
    "apple aquarium_fish baby bear bed bee beetle bicycle bottle bus butterfly camel castle cattle "
    "chair clock crab crocodile cup dinosaur dolphin elephant fox house kangaroo keyboard leopard "
    "lion lobster motorcycle mountain mouse mushroom orange palm_tree pear pickup_truck pine_tree "
    "rabbit raccoon rocket rose shark skunk snail snake spider squirrel streetcar sunflower "
    "sweet_pepper telephone television tiger tractor train tulip turtle whale wolf"
).split()
FILES = ("train", "test", "meta")
TRAIN_PER_CLASS = 200
TEST_PER_CLASS = 100


@cache
def rows_of_cifar100() -> tuple[int, ...]:
    """Atlas rows of the classes, in label order."""
    by_name = {c["cifar100"]: i for i, c in enumerate(scene.atlas().concepts)}
    return tuple(by_name[name] for name in CIFAR100)


def write_cifar100(root: Path) -> Path:
    """Write `root`/cifar-100-python/{train,test,meta} as CIFAR-100's python version has them.

    Same keys, types and kind of pickle as the download; 60 classes, 200 training and 100
    test pictures each, in shuffled order. Files that are all there already are left alone. Returns
    the folder. Raises DataError when it cannot be written.
    """
    folder = root / "cifar-100-python"
    if all((folder / name).is_file() for name in FILES):
        list_files(folder, FILES, unless_listed=True)
        return folder
    concepts = [scene.atlas().concepts[i] for i in rows_of_cifar100()]
    coarse = sorted({c["group"] for c in concepts})
    coarse_of = [coarse.index(c["group"]) for c in concepts]
    names = {b"fine_label_names": [n.encode() for n in CIFAR100]}
    names |= {b"coarse_label_names": [c.encode() for c in coarse]}
    write_atomic(folder / "meta", python2.dumps(names))
    for split, count in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        write_atomic(folder / split, python2.dumps(_batch(split, count, coarse_of)))
    list_files(folder, FILES)
    return folder


def _batch(split: str, per_class: int, coarse_of: list[int]) -> dict[bytes, object]:
    rows = rows_of_cifar100()
    order = np.random.Generator(np.random.PCG64([scene.STREAMS[split], 100]))
    members = [(label, n) for label in range(len(rows)) for n in range(per_class)]
    members = [members[i] for i in order.permutation(len(members))]
    pixels = _pixels(split, [(rows[label], n) for label, n in members])
    data = np.stack(pixels).transpose(0, 3, 1, 2).reshape(len(members), -1)
    names = [f"{CIFAR100[label]}_s_{n:06d}.png".encode() for label, n in members]
    return {
        b"filenames": names,
        b"batch_label": f"{split}ing batch 1 of 1".encode(),
        b"fine_labels": [label for label, _ in members],
        b"coarse_labels": [coarse_of[label] for label, _ in members],
        b"data": np.ascontiguousarray(data),
    }


def _pixels(split: str, scenes: list[tuple[int, int]]) -> list[np.ndarray]:
    """The pictures of (concept, number), in their order, on all cores where there are many."""
    parts = [(first, scenes[first : first + AT_ONCE]) for first in range(0, len(scenes), AT_ONCE)]
    drawn: dict[int, list[np.ndarray]] = {}
    draw = partial(_draw, split)
    with ProgressBar(total=len(scenes), desc=f"index, {split}", unit="picture") as bar:
        for (first, _), pictures in each(draw, parts, len(scenes)):
            drawn[first] = pictures
            bar.update(len(pictures))
    return [picture for first in sorted(drawn) for picture in drawn[first]]


def _draw(split: str, part: tuple[int, list[tuple[int, int]]]) -> list[np.ndarray]:
    return [scene.compose(split, concept, number).pixels for concept, number in part[1]]
