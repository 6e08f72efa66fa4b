"""The built-in versions of ImageNet-LT, iNaturalist 2018 and iWildCam.

Files are parsed by hand here, by what the official ones look like, not by the harness's readers.
"""

import csv
import hashlib
import io
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core import files
from harness.core.digests import LISTING
from harness.core.errors import DataError
from harness.mini import habitat, imagenet, inaturalist, scene, trap, wildcam, writing
from harness.mini.taxonomy import SPECIES

SHARE = 0.02  # of the pictures, one per class and list where that would be none
WRITERS: dict[str, Callable[..., Path]] = {
    "imagenet-lt": imagenet.write_imagenet_lt,
    "inaturalist2018": inaturalist.write_inaturalist,
    "iwildcam": wildcam.write_iwildcam,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of three small data sets."""
    roots = {name: tmp_path_factory.mktemp(name) for name in WRITERS}
    return {name: write(roots[name], share=SHARE) for name, write in WRITERS.items()}


def all_files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def pictures(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.suffix in (".jpg", ".JPEG"))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


# ---------------------------------------------------------------- ImageNet-LT


def test_imagenet_sizes():
    """Groups by the rule > 100, 20 to 100, < 20."""
    counts = imagenet.class_counts()
    assert (len(counts), sum(counts), max(counts), min(counts)) == (60, 2849, 210, 5)
    groups = [sum(n > 100 for n in counts), sum(n < 20 for n in counts)]
    assert groups == [9, 26]  # 43 % are few
    assert {20, 100} <= set(counts)  # so the other rules group them otherwise
    assert list(counts) != sorted(counts, reverse=True)
    # A Pareto tail of power 6: size ** (-1 / 6) grows evenly with the rank, up to rounding.
    roots = np.linspace(210 ** (-1 / 6), 5 ** (-1 / 6), 60)
    assert np.abs(np.sort(counts)[::-1] - roots**-6.0).max() <= 0.5


def test_imagenet_files(small):
    root = small["imagenet-lt"]
    names = (root / "LOC_synset_mapping.txt").read_text().splitlines()
    ids = [line.split(" ", 1)[0] for line in names]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"n9\d{7}", i) for i in ids)
    spoken = [line.split(" ", 1)[1].split(",")[0] for line in names]
    assert len(spoken) == 60
    assert set(spoken) <= set(scene.atlas().names)
    assert names[spoken.index("bear")].endswith(" bear, Ursus arctos")
    listed: dict[str, list[str]] = {}
    for split, form in (
        ("train", r"train/(n\d{8})/\1_\d+\.JPEG (\d+)"),
        ("val", r"train/(n\d{8})/\1_\d+\.JPEG (\d+)"),
        ("test", r"val/(n\d{8})/ILSVRC2012_val_\d{8}\.JPEG (\d+)"),
    ):
        text = (root / f"ImageNet_LT_{split}.txt").read_text()
        assert text.endswith("\n")
        matches = [re.fullmatch(form, line) for line in text.splitlines()]
        assert all(matches)
        assert all(m is not None and ids[int(m[2])] == m[1] for m in matches)
        counts = Counter(int(m[2]) for m in matches if m is not None)
        if split == "train":
            assert counts == {
                i: max(1, round(SHARE * n)) for i, n in enumerate(imagenet.class_counts())
            }
        else:
            each = {"val": imagenet.VAL_PER_CLASS, "test": imagenet.TEST_PER_CLASS}[split]
            assert counts == dict.fromkeys(range(60), max(1, round(SHARE * each)))
        listed[split] = [line.split()[0] for line in text.splitlines()]
    every = [path for paths in listed.values() for path in paths]
    assert len(every) == len(set(every))
    assert sorted(every) == [str(p.relative_to(root)) for p in pictures(root)]
    numbers = [int(path[-13:-5]) for path in listed["test"]]
    assert len(set(numbers)) == 60 * max(1, round(SHARE * imagenet.TEST_PER_CLASS))
    assert numbers != sorted(numbers)


def test_imagenet_lists_in_full():
    """Without drawing: the lists that a whole data set has."""
    written: dict[str, Any] = {}

    def keep(root: Path, drawn: Any, draw: Any, lists: Any, workers: int) -> None:
        written.update(pictures=drawn, lists=lists)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write", keep)
        imagenet.write_imagenet_lt(Path("nowhere"))
    lengths = {name: data.count(b"\n") for name, data in written["lists"].items()}
    assert lengths == {
        "LOC_synset_mapping.txt": 60,
        "ImageNet_LT_train.txt": 2849,
        "ImageNet_LT_val.txt": 300,
        "ImageNet_LT_test.txt": 6000,
    }
    assert len(written["pictures"]) == 2849 + 300 + 6000


# ---------------------------------------------------------------- iNaturalist 2018


def test_inaturalist_sizes():
    counts = inaturalist.class_counts()
    assert (len(counts), sum(counts), max(counts), min(counts)) == (82, 2831, 132, 3)
    assert [sum(n > 100 for n in counts), sum(n < 20 for n in counts)] == [6, 41]  # half are few
    assert {20, 100} <= set(counts)
    assert list(counts) != sorted(counts, reverse=True)


def test_inaturalist_files(small):
    root = small["inaturalist2018"]
    names = json.loads((root / "categories.json").read_text())
    ranks = ["supercategory", "kingdom", "phylum", "class", "order", "family", "genus"]
    assert [c["id"] for c in names] == list(range(82))
    for c in names:
        assert c.keys() == {"id", "name", "common_name", *ranks}
        assert all(re.fullmatch(r"[A-Z][a-z]+", c[rank]) for rank in ranks)
        assert re.fullmatch(r"[A-Z][a-z]+ [a-z]+", c["name"])
        assert c["name"].split()[0] == c["genus"]
    assert len({c["name"] for c in names}) == 82
    order = [[c[r] for r in [*ranks[1:], "name"]] for c in names]
    assert order == sorted(order)
    supers = Counter(c["supercategory"] for c in names)
    assert len(supers) >= 9
    assert supers["Mammalia"] == max(supers.values())
    ids: list[int] = []
    for split, per_class in (("train", None), ("val", round(SHARE * inaturalist.VAL_PER_CLASS))):
        content = json.loads((root / f"{split}2018.json").read_text())
        assert content.keys() == {"info", "images", "categories", "annotations", "licenses"}
        info = {"year", "version", "description", "contributor", "url", "date_created"}
        assert content["info"].keys() == info
        assert [x.keys() for x in content["licenses"]] == [{"id", "name", "url"}]
        images, annotations = content["images"], content["annotations"]
        ids += [x["id"] for x in images]
        fields = {"id", "width", "height", "file_name", "license", "rights_holder"}
        assert all(x.keys() == fields for x in images)
        assert [x["id"] for x in images] == [x["image_id"] for x in annotations]
        assert [x["id"] for x in images] == [x["id"] for x in annotations]
        for image, annotation in zip(images, annotations, strict=True):
            label = annotation["category_id"]
            form = rf"train_val2018/{names[label]['supercategory']}/{label}/[0-9a-f]{{32}}\.jpg"
            assert re.fullmatch(form, image["file_name"])
            with Image.open(root / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"]) == (64, 64)
        labels = [x["category_id"] for x in annotations]
        assert labels != sorted(labels)
        expected = {
            i: per_class or max(1, round(SHARE * n))
            for i, n in enumerate(inaturalist.class_counts())
        }
        assert Counter(labels) == expected
        # The lists hold codes: nothing but the supercategory is told, but equals stay equal.
        for coded, named in zip(content["categories"], names, strict=True):
            assert coded.keys() == named.keys() - {"common_name"}
            assert (coded["id"], coded["supercategory"]) == (named["id"], named["supercategory"])
            assert coded["name"] != named["name"]
        families = Counter(c["family"] for c in content["categories"])
        assert sorted(families.values()) == sorted(Counter(c["family"] for c in names).values())
    assert ids == list(range(len(ids)))
    assert len(ids) == len(pictures(root))


def test_species_are_those_of_the_atlas():
    """Where the atlas names a species and not a wider group, it is this one."""
    concepts = {c["name"]: c for c in scene.atlas().concepts}
    animals = {name for name, c in concepts.items() if c["animal"]}
    assert animals - set(SPECIES) == {"dinosaur"}
    assert set(SPECIES) <= set(concepts)
    for name, kind in SPECIES.items():
        scientific = concepts[name]["scientific"]
        assert scientific is None or " " not in scientific or scientific == kind.name
        assert kind.genus == kind.name.split()[0]


# ---------------------------------------------------------------- iWildCam


def test_iwildcam_sizes():
    rows = wildcam.plan()
    splits = {"train": 1500, "val": 400, "test": 4000, "id_val": 400, "id_test": 3000}
    assert Counter(r.split for r in rows) == splits
    counts = Counter((r.split, r.y) for r in rows)
    by_split = {s: [counts[s, y] for y in range(34)] for s in splits}
    assert {s: n[0] for s, n in by_split.items()} == {
        "train": 267, "val": 72, "test": 680, "id_val": 72, "id_test": 540,
    }  # fmt: skip
    fewest = {s: min(n[1:]) for s, n in by_split.items()}
    assert fewest == {"train": 4, "val": 3, "test": 37, "id_val": 3, "id_test": 24}
    assert max(by_split["train"][1:]) > 15 * min(by_split["train"][1:])
    # The same mixture on other days, another one at other locations.
    share = {s: np.array(n) / sum(n) for s, n in by_split.items()}
    near, far = (np.abs(share[s] - share["train"]).sum() for s in ("id_test", "test"))
    assert near < 0.2  # the fewest of the rare kinds are more than their share
    assert far > 2 * near
    assert len({r.image_id for r in rows}) == len(rows)
    night = np.mean([r.sequence.hour in trap.NIGHT for r in rows])
    assert 0.3 < night < 0.5


def test_iwildcam_splits():
    """OOD locations are nowhere else; ID splits share locations and no day."""
    where, days, classes = defaultdict(set), defaultdict(set), defaultdict(set)
    for r in wildcam.plan():
        where[r.split].add(r.location)
        days[r.split].add(r.time.date())
        classes[r.seq_id].add((r.split, r.location, r.y, r.time.date()))
    assert {s: len(w) for s, w in where.items()} == {
        "train": 12, "val": 8, "test": 24, "id_val": 12, "id_test": 12,
    }  # fmt: skip
    assert where["train"] == where["id_val"] == where["id_test"]
    assert not where["train"] & (where["val"] | where["test"])
    assert not where["val"] & where["test"]
    assert where["train"] | where["val"] | where["test"] == set(range(44))
    assert not days["train"] & (days["id_val"] | days["id_test"])
    assert not days["id_val"] & days["id_test"]
    assert all(len(s) == 1 for s in classes.values())
    # Kinds differ from location to location.
    mixtures = defaultdict(Counter)
    for r in wildcam.plan():
        mixtures[r.location][r.y] += 1
    rare = [sum(m[y] == 0 for y in range(34)) for m in mixtures.values()]
    assert min(rare) >= 5


def test_iwildcam_files(small):
    root = small["iwildcam"]
    assert root.name == "iwildcam_v2.0"
    names = ["RELEASE_v2.0.txt", "categories.csv", "files.sha256"]
    names += ["labels.csv", "metadata.csv", "train"]
    assert sorted(p.name for p in root.iterdir()) == names
    labels, categories = rows_of(root / "labels.csv"), rows_of(root / "categories.csv")
    assert list(labels[0]) == ["y", "category_id", "name", "english"]
    assert [{k: r[k] for k in ("y", "category_id", "name")} for r in labels] == categories
    known = [r for r in labels if r["y"] != "99999"]
    assert [int(r["y"]) for r in known] == list(range(34))
    assert known[0] == {"y": "0", "category_id": "0", "name": "empty", "english": "empty"}
    assert len(labels) - len(known) == 9
    numbers = [int(r["category_id"]) for r in labels]
    assert numbers == sorted(set(numbers))
    assert all(r["name"] == r["name"].lower() for r in labels)
    assert len({r["english"].lower() for r in labels}) == len(labels)
    assert {r["english"].lower() for r in labels[1:]} <= set(scene.atlas().names)
    assert any(r["english"] != r["english"].lower() for r in labels)

    rows = rows_of(root / "metadata.csv")
    assert list(rows[0]) == [
        "", "split", "location_remapped", "location", "sequence_remapped", "seq_id", "y",
        "category_id", "datetime", "filename", "image_id",
    ]  # fmt: skip
    assert [int(r[""]) for r in rows] == list(range(len(rows)))
    # What WILDS asserts of the official file.
    for column in ("y", "sequence_remapped"):
        assert {int(r[column]) for r in rows} == set(range(1 + max(int(r[column]) for r in rows)))
    category = {r["y"]: r["category_id"] for r in known}
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    for r in rows:
        assert r["category_id"] == category[r["y"]]
        assert re.fullmatch(uuid, r["image_id"])
        assert re.fullmatch(uuid, r["seq_id"])
        assert r["filename"] == f"{r['image_id']}.jpg"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000", r["datetime"])
    assert len({(r["location_remapped"], r["location"]) for r in rows}) == len(
        {r["location"] for r in rows}
    )
    assert [f"train/{n}" for n in sorted(r["filename"] for r in rows)] == [
        str(p.relative_to(root)) for p in pictures(root)
    ]
    per_class = Counter((r["split"], r["y"]) for r in rows)
    assert len(per_class) == 5 * 34  # each class in each split, however small


def test_iwildcam_sequences():
    """One to three pictures of one animal, seconds apart."""
    sequences = defaultdict(list)
    for r in wildcam.plan(0.2):
        sequences[r.seq_id].append(r)
    lengths = Counter(map(len, sequences.values()))
    assert set(lengths) == {1, 2, 3}
    for rows in sequences.values():
        assert [r.frame for r in rows] == list(range(len(rows)))
        gaps = [(b.time - a.time).total_seconds() for a, b in itertools.pairwise(rows)]
        assert set(gaps) <= {1.0, 2.0}
        assert rows[0].time.hour == rows[0].sequence.hour


def test_iwildcam_pictures(small):
    """At night all is grey and darker; by day there are colours."""
    root = small["iwildcam"]
    spread: dict[bool, list[float]] = {True: [], False: []}
    for row in rows_of(root / "metadata.csv"):
        with Image.open(root / "train" / row["filename"]) as picture:
            assert (picture.size, picture.mode) == ((64, 64), "RGB")
            pixels = np.asarray(picture, np.float32)
        dark = datetime.fromisoformat(row["datetime"]).hour in trap.NIGHT
        spread[dark].append(float(np.ptp(pixels, axis=2).mean()))
    assert max(spread[True]) < 3 < min(spread[False])


def test_an_animal_is_seen_and_walks_on():
    fox = scene.atlas().names.index("fox")
    empty = trap.Sequence(3, "meadow", None, 1.0, 12, "walk")
    changed = []
    for n in range(30):
        sequence = trap.Sequence(3, "meadow", fox, 1.0, 12, f"walk{n}")
        first, second = trap.picture(sequence, 0), trap.picture(sequence, 1)
        assert (first != second).any()
        changed.append(np.abs(first.astype(int) - trap.picture(empty, 0)).max(2) > 60)
    assert np.median([c.mean() for c in changed]) > 0.03


def test_locations_look_different():
    """No two views are nearly the same, though of the same biome."""
    sites = {n: b for where in wildcam.places().values() for n, b in where.items()}
    views = np.stack([habitat.habitat(n, b).view for n, b in sorted(sites.items())])
    apart = np.abs(views[:, None] - views[None]).mean((2, 3, 4))
    assert apart[~np.eye(len(views), dtype=bool)].min() > 8  # grey levels
    for split in ("train", "test"):
        assert set(wildcam.places()[split].values()) == set(habitat.BIOMES)


# ---------------------------------------------------------------- the pictures as such

GOLDEN: list[tuple[Callable[[], np.ndarray], str]] = [
    (lambda: imagenet.picture("train", 7, 3), "a75e20bb80fc6929"),
    (lambda: imagenet.picture("test", 59, 19), "fc843b3bad7ff52e"),
    (lambda: inaturalist.picture("train", "fox", 0), "4062bfcdd292847e"),
    (lambda: inaturalist.picture("val", "tulip", 14), "938739b23513b31d"),
    (
        lambda: trap.picture(trap.Sequence(5, "savanna", 43, 1.3, 12, "golden"), 0),
        "131a738aef848b34",
    ),
    (lambda: trap.picture(trap.Sequence(5, "snow", 119, 1.0, 2, "golden"), 2), "5fd1d5beec77d2fd"),
    (
        lambda: trap.picture(trap.Sequence(0, "riverbank", None, 1.0, 6, "golden"), 1),
        "3fb924b47e4533a1",
    ),
]

# Of the small data sets.
GOLDEN_LISTS = {
    "imagenet-lt/ImageNet_LT_test.txt": "e278dd97a233a776",
    "imagenet-lt/ImageNet_LT_train.txt": "8400dbb91b3fbb39",
    "imagenet-lt/ImageNet_LT_val.txt": "fc2931bb19eae13a",
    "imagenet-lt/LOC_synset_mapping.txt": "1eb0203861db987c",
    "inaturalist2018/categories.json": "02bcca55091a4257",
    "inaturalist2018/train2018.json": "668ad769e18bed5e",
    "inaturalist2018/val2018.json": "c71e8e644da9f88d",
    "iwildcam/categories.csv": "41a68ba4c6da1e45",
    "iwildcam/labels.csv": "32f223b252167873",
    "iwildcam/metadata.csv": "82dadd7b1047c2e7",
}


@pytest.mark.parametrize(("draw", "expected"), GOLDEN)
def test_pictures_stay_as_they_are(draw, expected):
    """SHA-256 of pixels. A new value here means: results are those of another world."""
    pixels = draw()
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    assert sha(pixels.tobytes()) == expected


def test_lists_stay_as_they_are(small):
    lists = {
        f"{name}/{path.name}": sha(path.read_bytes())
        for name, root in small.items()
        for path in sorted(root.iterdir())
        if path.is_file() and path.stat().st_size and path.name != LISTING
    }
    assert lists == GOLDEN_LISTS


def test_no_picture_is_in_two_places(small):
    """Nor in a stream that other data sets or the foundation models are made of."""
    every = [p for root in small.values() for p in pictures(root)]
    assert len(every) > 500
    hashes = {sha(p.read_bytes()) for p in every}
    assert len(hashes) == len(every)
    drawn = [sha(imagenet.picture(s, 9, n).tobytes()) for s in ("train", "val") for n in range(4)]
    bear = imagenet.CLASSES.index("bear")
    row = scene.atlas().names.index("bear")
    drawn += [sha(imagenet.picture("train", bear, n).tobytes()) for n in range(4)]
    drawn += [sha(inaturalist.picture("train", "bear", n).tobytes()) for n in range(4)]
    drawn += [
        sha(scene.compose(stream, row, n, 64).pixels.tobytes())
        for stream in scene.STREAMS
        for n in range(4)
    ]
    assert len(set(drawn)) == len(drawn) == 28


def test_generators_are_named():
    assert writing.rng_of("a", 1, 23).integers(2**60) == writing.rng_of("a", 1, 23).integers(2**60)
    draws = {
        int(writing.rng_of(*name).integers(2**60)) for name in (("a", 1, 23), ("a", 12, 3), ("b",))
    }
    assert len(draws) == 3


@pytest.mark.parametrize(
    ("total", "weights", "least", "expected"),
    [
        (10, [1, 1, 1], 0, [4, 3, 3]),  # 3.33 each; the first of equals gets the one left
        (10, [6, 3, 1], 0, [6, 3, 1]),
        (10, [5, 3, 1], 1, [5, 3, 2]),  # 7 on top of 1 each: 3.89, 2.33, 0.78 -> 4, 2, 1
        (3, [1, 0, 0], 1, [1, 1, 1]),
        (0, [2, 1], 0, [0, 0]),
    ],
)
def test_apportioning(total, weights, least, expected):
    assert writing.apportion(total, weights, least) == expected


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("name", WRITERS)
def test_writing_twice_gives_equal_bytes(small, name, tmp_path):
    """Here with two processes, above with none."""
    again = WRITERS[name](tmp_path / "again", share=SHARE, workers=2)
    assert all_files(again) == all_files(small[name])


def test_what_is_there_is_left_alone(tmp_path):
    root = wildcam.write_iwildcam(tmp_path, share=0.001)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    assert wildcam.write_iwildcam(tmp_path, share=0.001) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("lost", ["metadata.csv", "picture", "half of a list"])
def test_what_is_missing_is_written_again(tmp_path, lost):
    root = wildcam.write_iwildcam(tmp_path, share=0.001)
    before = all_files(root)
    if lost == "picture":
        pictures(root)[7].unlink()
    elif lost == "metadata.csv":
        (root / lost).unlink()
    else:
        (root / "metadata.csv").write_bytes(before["metadata.csv"][:5000])
    wildcam.write_iwildcam(tmp_path, share=0.001)
    assert all_files(root) == before


def test_lists_come_last(tmp_path, monkeypatch):
    """A writer that stops half way leaves no data set; the next one makes it whole."""
    count = iter(range(1000))

    def stop(*arguments: Any) -> np.ndarray:
        if next(count) == 50:
            raise KeyboardInterrupt
        return trap.picture(*arguments)

    write = writing.write
    monkeypatch.setattr(
        writing, "write", lambda root, drawn, draw, lists, workers: write(root, drawn, stop, lists)
    )
    with pytest.raises(KeyboardInterrupt):
        wildcam.write_iwildcam(tmp_path, share=0.001)
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(left) == 50
    assert all(p.suffix == ".jpg" and not p.name.startswith(".") for p in left)
    monkeypatch.undo()
    root = wildcam.write_iwildcam(tmp_path, share=0.001)
    assert len(pictures(root)) == len(rows_of(root / "metadata.csv")) == 5 * 34


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_the_way(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/.*: Not a directory"):
        WRITERS[name](tmp_path / "file", share=0.001)
    assert [p.name for p in tmp_path.rglob("*")] == ["file"]


def test_a_full_disk_leaves_no_list(tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*csv: No space left on device"):
        wildcam.write_iwildcam(tmp_path, share=0.001)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".jpg"}
