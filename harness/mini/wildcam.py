"""The built-in iWildCam-WILDS 2.0: camera traps of the built-in world.

<root>/iwildcam_v2.0/train/*.jpg holds the pictures of all splits, as the download does, with
metadata.csv, categories.csv and RELEASE_v2.0.txt beside them, and labels.csv with English names,
which the download lacks (it comes with the code of FLYP and WiSE-FT). `train`, `id_val` and
`id_test` come from the same locations on other days, `val` and `test` (OOD) from locations of their
own. Kinds are long-tailed, and each location has its own mixture of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness.mini import scene, trap, writing
from harness.mini.habitat import BIOMES
from harness.mini.taxonomy import SPECIES

FOLDER = "iwildcam_v2.0"
ABSENT = 99_999  # y of kinds that are in the tables and in no picture, as in the official files


@dataclass(frozen=True)
class Kind:
    """An animal. bulk: size over a medium one; night: share of pictures; biomes: where it is."""

    name: str
    bulk: float
    night: float
    biomes: tuple[str, ...]


def _kind(line: str) -> Kind:
    name, bulk, night, *biomes = line.split()
    return Kind(name.replace("_", " "), float(bulk), float(night), tuple(biomes))


# The commonest first.
KINDS = tuple(
    map(
        _kind,
        """\
deer 1.1 0.5 woodland meadow snow
cattle 1.2 0.3 meadow riverbank savanna
boar 1.0 0.7 woodland rainforest
zebra 1.15 0.3 savanna
rabbit 0.75 0.5 meadow woodland desert
elephant 1.3 0.4 savanna rainforest riverbank
fox 0.85 0.6 woodland snow desert meadow
raccoon 0.85 0.8 woodland riverbank
monkey 0.9 0.1 rainforest
turkey 0.85 0.1 woodland meadow
sheep 1.0 0.3 mountain meadow
giraffe 1.3 0.3 savanna
bear 1.15 0.4 mountain snow woodland
goat 1.0 0.3 mountain desert
squirrel 0.75 0.1 woodland snow
leopard 1.0 0.6 rainforest savanna mountain
horse 1.2 0.3 meadow desert
wolf 1.0 0.6 snow mountain woodland
water_buffalo 1.2 0.4 riverbank savanna
badger 0.8 0.85 woodland meadow
dog 0.9 0.3 meadow desert riverbank
gorilla 1.1 0.1 rainforest
rooster 0.75 0.1 rainforest meadow
lion 1.1 0.5 savanna
skunk 0.75 0.85 woodland desert
owl 0.75 0.9 woodland snow
kangaroo 1.1 0.5 desert savanna
peacock 0.95 0.1 rainforest riverbank
hippopotamus 1.25 0.7 riverbank
bison 1.25 0.3 meadow snow
tiger 1.1 0.5 rainforest riverbank
rhinoceros 1.25 0.4 savanna riverbank
camel 1.2 0.2 desert""".splitlines(),
    )
)
EMPTY_NIGHT = 0.35
OTHERS = ("bat", "beaver", "cat", "crocodile", "duck", "hedgehog", "koala", "llama", "otter")

# Split -> pictures, empty ones among them, fewest of a kind. The official sizes are 129,809,
# 14,961, 42,791, 7,314 and 8,154.
SPLITS = {
    "train": (1500, 267, 2),
    "val": (400, 72, 3),
    "test": (4000, 680, 30),
    "id_val": (400, 72, 3),
    "id_test": (3000, 540, 20),
}
LOCATIONS = {"train": 12, "val": 8, "test": 24}  # the official ones are 243, 32 and 48
FIRST_DAY = datetime(2013, 3, 1)
DAYS = 300
RATIO = 60  # of the commonest kind to the rarest, before the fewest are added


@dataclass(frozen=True)
class Row:
    """One line of metadata.csv, and what it takes to draw its picture."""

    split: str
    location: int  # remapped
    y: int
    sequence: trap.Sequence
    frame: int
    time: datetime

    @property
    def image_id(self) -> str:
        return _uuid("image", self.sequence.name, self.frame)

    @property
    def seq_id(self) -> str:
        return _uuid("sequence", self.sequence.name)


def write_iwildcam(root: Path, *, share: float = 1.0, workers: int | None = None) -> Path:
    """Write `root`/iwildcam_v2.0; files that are all there are left alone. Returns the folder.

    Classes: 33 animals and `empty` (y = 0); pictures of 64 px. share: of the pictures, at least one
    per class and split, for tests. Raises DataError when it cannot be written.
    """
    folder = Path(root) / FOLDER
    rows = plan(share)
    pictures = {f"train/{row.image_id}.jpg": (row.sequence, row.frame) for row in rows}
    lists = {
        "categories.csv": _csv(("y", "category_id", "name"), (row[:3] for row in labels())),
        "labels.csv": _csv(("y", "category_id", "name", "english"), labels()),
        "RELEASE_v2.0.txt": b"",
        "metadata.csv": _metadata(rows),
    }
    writing.write(folder, pictures, trap.picture, lists, workers)
    return folder


# ---------------------------------------------------------------- tables


def labels() -> list[tuple[int, int, str, str]]:
    """y, category id, scientific and English name; English names as the official file writes them:

    some with a capital and some without. The last rows are kinds without pictures.
    """
    rng = writing.rng_of("iwildcam", "labels")
    order = rng.permutation(len(KINDS))
    names = [KINDS[i].name for i in order]
    ids = [int(n) for n in 1 + rng.integers(1, 12, len(names) + len(OTHERS)).cumsum()]
    table = [(0, 0, "empty", "empty")]
    for y, (name, number) in enumerate(zip([*names, *OTHERS], ids, strict=True), 1):
        english = name.capitalize() if y <= len(names) // 2 else name
        y = y if y <= len(names) else ABSENT
        table.append((y, number, SPECIES[name].name.lower(), english))
    return table


def _y_of() -> dict[str, int]:
    return {english.lower(): y for y, _, _, english in labels() if y != ABSENT}


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _metadata(rows: list[Row]) -> bytes:
    """Rows by split and, within one, by image id: in no order that tells anything."""
    numbers = _numbers()
    sequences = {s: n for n, s in enumerate(sorted({row.seq_id for row in rows}))}
    category = {y: number for y, number, *_ in labels()}
    ordered = sorted(rows, key=lambda row: (list(SPLITS).index(row.split), row.image_id))
    header = (
        "", "split", "location_remapped", "location", "sequence_remapped", "seq_id", "y",
        "category_id", "datetime", "filename", "image_id",
    )  # fmt: skip
    lines = (
        (
            n, row.split, row.location, numbers[row.location], sequences[row.seq_id], row.seq_id,
            row.y, category[row.y], row.time.isoformat(" ", "milliseconds"),
            f"{row.image_id}.jpg", row.image_id,
        )
        for n, row in enumerate(ordered)
    )  # fmt: skip
    return _csv(header, lines)


def _numbers() -> list[int]:
    """The locations' original numbers, ascending, with gaps."""
    rng = writing.rng_of("iwildcam", "locations")
    return [int(n) for n in rng.integers(1, 25, sum(LOCATIONS.values())).cumsum()]


def _uuid(*name: str | int) -> str:
    h = writing.digest("iwildcam", *name).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"


# ---------------------------------------------------------------- which pictures


def places() -> dict[str, dict[int, str]]:
    """Remapped location -> biome, of the locations of "train", "val" and "test".

    Which numbers are whose is drawn; `train` and `test` have every biome.
    """
    rng = writing.rng_of("iwildcam", "places")
    order = [int(n) for n in rng.permutation(sum(LOCATIONS.values()))]
    biomes: dict[str, dict[int, str]] = {}
    for split, count in LOCATIONS.items():
        numbers, order = order[:count], order[count:]
        kinds = [list(BIOMES)[i] for i in rng.permutation(len(BIOMES))]
        biomes[split] = {n: kinds[i % len(kinds)] for i, n in enumerate(numbers)}
    return biomes


def plan(share: float = 1.0) -> list[Row]:
    """All pictures, by split, class, location, sequence and frame."""
    y_of, sites = _y_of(), places()
    rows: list[Row] = []
    for split in SPLITS:
        where = sites[split if split in LOCATIONS else "train"]
        for kind, count in _counts(split):
            spread = _spread(kind, where, writing.shrunk(count, share))
            y = 0 if kind is None else y_of[kind.name]
            for location, n in spread.items():
                rows += _sequences(split, location, where[location], kind, y, n)
    return rows


def _counts(split: str) -> list[tuple[Kind | None, int]]:
    """Pictures of each kind: a geometric long tail; elsewhere than at home, another mixture."""
    total, empty, least = SPLITS[split]
    last = len(KINDS) - 1
    weights = [RATIO ** (-i / last) for i in range(len(KINDS))]
    if split in ("val", "test"):
        rng = writing.rng_of("iwildcam", "shift", split)
        weights = [w**0.6 * float(rng.uniform(0.3, 2)) for w in weights]
    counts = writing.apportion(total - empty, weights, least)
    return [(None, empty), *zip(KINDS, counts, strict=True)]


def _spread(kind: Kind | None, where: dict[int, str], count: int) -> dict[int, int]:
    """Pictures of one kind by location: many at a few, most of them in its own biomes."""
    weights = []
    for location, biome in where.items():
        lot = float(writing.rng_of("iwildcam", "lot", location, kind.name if kind else "").random())
        home = kind is None or biome in kind.biomes
        weights.append((1.0 if home else 0.04) * (0.05 + lot * lot))
    return dict(zip(where, writing.apportion(count, weights), strict=True))


def _sequences(
    split: str, location: int, biome: str, kind: Kind | None, y: int, count: int
) -> list[Row]:
    """So many pictures of one kind at one location, in sequences of one to three."""
    rows: list[Row] = []
    concept = None if kind is None else scene.atlas().names.index(kind.name)
    number = 0
    while len(rows) < count:
        name = f"{split}/{location}/{y}/{number}"
        rng = writing.rng_of("iwildcam", "sequence", name)
        dark = rng.random() < (EMPTY_NIGHT if kind is None else kind.night)
        hour = int(rng.choice(trap.NIGHT)) if dark else int(rng.integers(5, 20))
        start = _day(split, rng) + timedelta(seconds=hour * 3600 + int(rng.integers(3580)))
        bulk = 1.0 if kind is None else kind.bulk
        sequence = trap.Sequence(location, biome, concept, bulk, hour, name)
        length, pause = min(1 + int(rng.integers(3)), count - len(rows)), int(rng.integers(1, 3))
        for frame in range(length):
            time = start + timedelta(seconds=frame * pause)
            rows.append(Row(split, location, y, sequence, frame, time))
        number += 1
    return rows


def _day(split: str, rng: Any) -> datetime:
    """One of the split's own days, so that no day of a location is in two splits."""
    ends = {"train": (0, 7), "id_val": (7, 8), "id_test": (8, 10)}
    first, end = ends.get(split, (0, 10))
    day = 10 * int(rng.integers(DAYS // 10)) + int(rng.integers(first, end))
    return FIRST_DAY + timedelta(days=day)
