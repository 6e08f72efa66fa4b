"""The built-in iNaturalist 2018: the living things of the built-in world.

<root>/train2018.json and val2018.json in COCO's form with pictures in
train_val2018/<supercategory>/<category id>/, and categories.json. As in the download, the two lists
hold codes in place of the categories' names, and categories.json the names. There each category
has one field more than in 2018, `common_name`, which the competition of 2021 has: the small
language model of this world knows no scientific names.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.mini import scene, writing
from harness.mini.taxonomy import SPECIES, Species

LARGEST, SMALLEST = 132, 3  # training pictures of a class; officially 1,000 and 2
VAL_PER_CLASS = 75  # officially 3, which among so few classes would leave too much to chance
LOOK = scene.FIELD
PLACES = ("sky", "grass", "sand", "snow", "water", "night", "forest", "sunset")
RANKS = ("kingdom", "phylum", "class_", "order", "family", "genus", "name")


def write_inaturalist(root: Path, *, share: float = 1.0, workers: int | None = None) -> Path:
    """Write the files below `root`; files that are all there are left alone. Returns `root`.

    Pictures of 64 px. share: of the pictures, at least one per class and list, for tests. Raises
    DataError when it cannot be written.
    """
    pictures: dict[str, tuple[str, str, int]] = {}
    lists = {"categories.json": _json([_category(i, s) for i, s in enumerate(species())])}
    before = 0  # image ids count on from one list to the other
    for split, counts in (
        ("train", class_counts()),
        ("val", (VAL_PER_CLASS,) * len(SPECIES)),
    ):
        members = [
            (label, n) for label, c in enumerate(counts) for n in range(writing.shrunk(c, share))
        ]
        order = writing.rng_of("inaturalist2018", "order", split).permutation(len(members))
        members = [members[i] for i in order]
        paths = [_path(split, label, n) for label, n in members]
        labels = [label for label, _ in members]
        lists[f"{split}2018.json"] = _json(_listing(split, paths, labels, before))
        for path, (label, n) in zip(paths, members, strict=True):
            pictures[path] = (split, species()[label].common, n)
        before += len(members)
    writing.write(Path(root), pictures, picture, lists, workers)
    return Path(root)


def picture(split: str, common: str, number: int) -> np.ndarray:
    """Picture `number` of a species in a list, uint8 (64, 64, 3)."""
    row = scene.atlas().names.index(common)
    rng = writing.rng_of("inaturalist2018", split, common, number)
    return writing.photo(row, LOOK, PLACES, rng)


@cache
def species() -> tuple[Species, ...]:
    """In the order of their category ids: by kingdom, phylum and so on, as in the download."""
    return tuple(sorted(SPECIES.values(), key=lambda s: [getattr(s, rank) for rank in RANKS]))


def class_counts() -> tuple[int, ...]:
    """Training pictures by category id: from LARGEST down to SMALLEST by a constant factor."""
    last = len(SPECIES) - 1
    sizes = [round(LARGEST * (SMALLEST / LARGEST) ** (i / last)) for i in range(len(SPECIES))]
    order = writing.rng_of("inaturalist2018", "sizes").permutation(len(SPECIES))
    return tuple(sizes[i] for i in order)


def _path(split: str, label: int, number: int) -> str:
    kind = species()[label]
    name = writing.digest("inaturalist2018", split, kind.common, number).hex()[:32]
    return f"train_val2018/{kind.supercategory}/{label}/{name}.jpg"


def _listing(split: str, paths: list[str], labels: list[int], first: int) -> dict[str, Any]:
    side = {"width": writing.SIDE_PX, "height": writing.SIDE_PX}
    numbered = list(enumerate(zip(paths, labels, strict=True), first))
    return {
        "info": {
            "year": 2018,
            "version": "embedded world 1",
            "description": f"Drawn pictures in the format of iNaturalist 2018 ({split})",
            "contributor": "harness.mini",
            "url": "",
            "date_created": "2018-01-01 00:00:00.000000",
        },
        "images": [
            {"id": i, **side, "file_name": path, "license": 1, "rights_holder": "harness.mini"}
            for i, (path, _) in numbered
        ],
        "categories": [_coded(i, s) for i, s in enumerate(species())],
        "annotations": [
            {"id": i, "image_id": i, "category_id": label} for i, (_, label) in numbered
        ],
        "licenses": [{"id": 1, "name": "See sprites/CREDITS.md", "url": ""}],
    }


def _category(number: int, kind: Species) -> dict[str, Any]:
    ranks = {rank.rstrip("_"): getattr(kind, rank) for rank in RANKS[:-1]}
    names = {"name": kind.name, "common_name": kind.common}
    return {"id": number, **names, "supercategory": kind.supercategory, **ranks}


def _coded(number: int, kind: Species) -> dict[str, Any]:
    """A category whose names on all ranks but the supercategory are replaced by codes."""
    whole = _category(number, kind)
    del whole["common_name"]
    secret = {rank.rstrip("_") for rank in RANKS}
    return {k: _code(k, str(v)) if k in secret else v for k, v in whole.items()}


def _code(rank: str, name: str) -> str:
    return writing.digest("inaturalist2018", "code", rank, name).hex()[:8]


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
