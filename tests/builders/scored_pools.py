"""Small pools with scores, for tests of what shows them."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from harness.core.specs import key
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.pool import cache

LEVELS, SEEDS = (0, 30, 50, 70), (10, 20)
HOSTILE = '<script>document.title="harmed"</script>'
CLASSES = ("apple & pear", HOSTILE, "snake", "wolf")


def pool(
    workspace: Workspace, sources: int = 20, classes: tuple[str, ...] = CLASSES, px: int = 16
) -> None:
    """Scored synthetic images of `sources` pictures, spread over the classes; no real pictures.

    The score of an image is (50 + 5 n) / 100, n its place among the 2 seeds of 4 levels.
    """
    spec = workspace.generator
    names = [
        (hashlib.sha256(bytes([n])).hexdigest(), classes[n % len(classes)]) for n in range(sources)
    ]
    rows = [(s, c, g, n, f"a photo of {c}") for s, c in names for g in LEVELS for n in SEEDS]
    columns = ["source", "classname", "guidance", "seed", "prompt"]
    requests = cache.request_rows(pl.DataFrame(rows, schema=columns, orient="row"), spec)
    for shard in cache.pending(workspace.pool, requests, key(spec)):
        images = [cache.encode(_picture(k, px), spec.codec) for k in shard.keys]
        cache.write_shard(workspace.pool, shard, shard.rows, images, spec)
    index = cache.build_index(workspace.pool)
    scores = {
        (g, n): 0.5 + 0.05 * i for i, (g, n) in enumerate((g, n) for g in LEVELS for n in SEEDS)
    }
    cells = index.select("guidance", "seed").rows()
    text = pl.Series("text_score", [scores[cell] for cell in cells], pl.Float32)
    image = pl.Series("image_score", [cell[0] / 100 for cell in cells], pl.Float32)
    numbers = {name: n for n, name in enumerate(classes)}
    label = index["classname"].replace_strict(numbers, return_dtype=pl.Int32).alias("label")
    table = index.with_columns(text, image, label).select(stages.SCORE_COLUMNS).sort("key")
    workspace.work.mkdir(parents=True, exist_ok=True)
    table.write_parquet(workspace.work / "spectrum.parquet")


def _picture(name: str, px: int) -> np.ndarray:
    """A shade that runs from one colour to another."""
    ends = np.frombuffer(bytes.fromhex(name[:12]), np.uint8).reshape(2, 3).astype(float)
    shade = np.linspace(ends[0], ends[1], px)
    return np.broadcast_to(shade, (px, px, 3)).astype(np.uint8)


def levels_used(folder: Path, levels: list[list[float]]) -> None:
    """The history of a run."""
    import json

    folder.mkdir(parents=True)
    lines = (json.dumps({"epoch": i, "levels": some}) for i, some in enumerate(levels))
    (folder / "epochs.jsonl").write_text("".join(f"{line}\n" for line in lines))
