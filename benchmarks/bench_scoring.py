"""Scoring the sources of a whole data set of large pictures: its memory, and that it resumes.

    python benchmarks/bench_scoring.py [sources] [--folder FOLDER]

By default 44,956 sources, as iNaturalist 2018 has, of 1.5 megapixels (4.3 MiB) each: half an hour
of one core, and 3 GB of disk. The first command is killed when half of them have scores; the second
one goes on. All pictures show one of a few things, in files of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg

from harness.datasets.codec import encode
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.pool.score_blocks import SOURCES

SIDE = 1224  # px: 4.3 MiB as RGB
OF_CLASS = 15  # images of a class, all of them hard
THINGS = 16
SETTINGS = (
    ("pool_seeds", (10,)),  # an image of each guidance level
    ("augment", "imagenet"),  # views of pictures of any size
    ("test_view", "centre"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sources", nargs="?", type=int, default=44_956)
    parser.add_argument("--folder", type=Path, help="for the files (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        home, root = Path(folder) / "home", Path(folder) / "root"
        home.mkdir()
        write_pictures(root, arguments.sources)
        workspace = Workspace("inaturalist2018", "mini", home, root=root, settings=SETTINGS)
        begun = time.perf_counter()
        stages.index(workspace)
        stages.hard(workspace)
        rows = stages.requests(workspace)
        print(f"{rows['source'].n_unique()} sources, {len(rows)} images", flush=True)
        write_pool(workspace, rows)
        print(f"index, hard images and pool: {time.perf_counter() - begun:.0f} s", flush=True)
        scored(workspace, home, root, until=arguments.sources // SOURCES // 2)
        scored(workspace, home, root)
        table = pl.read_parquet(workspace.work / "spectrum.parquet")
        assert len(table) == len(rows), len(table)
        assert table["text_score"].is_not_null().all()


def write_pictures(root: Path, sources: int) -> None:
    """A data set in the format of iNaturalist 2018, with as many training pictures."""
    classes = -(-sources // OF_CLASS)
    pictures = [_jpeg(number) for number in range(THINGS)]
    first = 0
    for split, count in (("train", sources), ("val", classes)):
        images = []
        for number in range(count):
            label = number // OF_CLASS if split == "train" else number
            path = f"train_val2018/Plantae/{label}/{split}_{number:05d}.jpg"
            images.append({"id": first + number, "file_name": path, "category": label})
            _write(root / path, pictures[number % THINGS], f"{split} {number}")
        (root / f"{split}2018.json").write_text(json.dumps(_coco(images, classes)))
        first += count
    names = [{"id": label, "name": f"Genus species{label}"} for label in range(classes)]
    (root / "categories.json").write_text(json.dumps(names))


def _jpeg(number: int) -> bytes:
    shapes = np.random.default_rng(number).integers(0, 256, (18, 18, 3), np.uint8)
    large = np.ascontiguousarray(shapes.repeat(SIDE // 18, 0).repeat(SIDE // 18, 1))
    return simplejpeg.encode_jpeg(large, quality=80)


def _write(path: Path, jpeg: bytes, comment: str) -> None:
    """The picture with a comment of its own, so that its bytes are its own, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = comment.encode()
    marker = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    path.write_bytes(jpeg[:2] + marker + jpeg[2:])


def _coco(images: list[dict[str, Any]], classes: int) -> dict[str, Any]:
    annotations = [
        {"id": image["id"], "image_id": image["id"], "category_id": image.pop("category")}
        for image in images
    ]
    for image in images:
        image |= {"width": SIDE, "height": SIDE}
    categories = [{"id": label, "name": f"{label:04d}"} for label in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_pool(workspace: Workspace, rows: pl.DataFrame) -> None:
    """Shards with random pictures in place of generated ones."""
    side = workspace.recipe.size_px
    rng = np.random.default_rng(0)
    made = [encode(rng.integers(0, 256, (side, side, 3), np.uint8), workspace.codec)]
    for shard in stages.pending(workspace, rows):
        images = made * len(shard.rows)
        cache.write_shard(workspace.pool, shard, shard.rows, images, workspace.generator)
    cache.build_index(workspace.pool)


def scored(workspace: Workspace, home: Path, root: Path, until: int | None = None) -> None:
    """`harness score` with one worker, killed when so many blocks of images have scores."""
    words = ["score", "--dataset", "inaturalist2018", "--home", str(home), "--root", str(root)]
    settings = ["--set", "pool_seeds=[10]", "--set", "augment=imagenet", "--set"]
    settings += ["test_view=centre", "--workers", "1", "-q"]
    command = [sys.executable, "-m", "harness", *words, *settings]
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None:
        peak = max(peak, _memory_kib(process.pid))
        if until is not None and _blocks(workspace) >= until:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(1)
    print(
        f"score: exit code {process.returncode} after {time.perf_counter() - begun:.0f} s, its "
        f"processes had {peak / 2**20:.2f} GiB at most; {_blocks(workspace)} blocks wait to be "
        "moved into the table",
        flush=True,
    )


def _blocks(workspace: Workspace) -> int:
    return sum(1 for _ in workspace.pool.glob("scoring/*/part-*.parquet"))


def _memory_kib(session: int) -> int:
    """Of all processes of a session, what they share counted once."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                lines = (stat.parent / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


if __name__ == "__main__":
    main()
