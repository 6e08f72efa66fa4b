"""The gallery of a pool: pictures by source, guidance and seed, and what a threshold keeps."""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from harness.core.errors import DataError, UsageError
from harness.pipeline import stages
from harness.pipeline.jobs import hard
from harness.pipeline.workspace import Workspace
from harness.pool import cache

SIDE_PX = 64  # of a thumbnail at most
QUALITY = 82
THUMB_BYTES = 4600  # of the page per picture, on average: 5,000 of them stay under 23 MB
SHARP_UP_TO_PX = 32  # pictures this small stay as they are: a lossy codec halves their colours
SCALE = 10_000  # scores are kept as whole numbers of 1 / SCALE, rounded down: as ">=" reads them


@dataclass(frozen=True)
class Gallery:
    """What the page's script shows of one data set's pool.

    levels in hundredths, ascending; threshold: the recipe's; shown: pictures in the page; total:
    in the pool; note: what is missing, or empty.
    """

    levels: tuple[int, ...]
    seeds: tuple[int, ...]
    threshold: float
    shown: int
    total: int
    sources: int
    note: str
    plain: dict[str, Any]


def gallery(workspace: Workspace, most: int) -> Gallery:
    """Up to about `most` pictures of the pool and the scores of all of it.

    Whole spectra of sources, taken from the classes in turn. Raises DataError where there is no
    pool or no scores.
    """
    if most < 1:
        raise UsageError(f"a gallery of {most} pictures; expected 1 or more")
    rows = _scored(workspace)
    levels = tuple(sorted(rows["guidance"].unique().to_list()))
    seeds = tuple(sorted(rows["seed"].unique().to_list()))
    classes = sorted(rows["classname"].unique().to_list())
    chosen = _choice(rows, max(1, most // (len(levels) * len(seeds))))
    shown = rows.filter(pl.col("source").is_in(chosen)).sort("guidance", "seed")
    thumbs = _thumbnails(workspace, shown)
    real, note = _originals(workspace, chosen)
    by_source = {key[0]: group for key, group in shown.group_by("source")}
    affordable = _affordable(chosen, by_source, thumbs, real, most * THUMB_BYTES)
    sources = [
        _spectrum(by_source[s], thumbs, real.get(s), classes, levels, seeds) for s in affordable
    ]
    pictures = sum(image is not None for s in sources for row in s["images"] for image in row)
    plain = {
        "levels": levels,
        "seeds": seeds,
        "threshold": workspace.recipe.threshold,
        "classes": classes,
        "sources": sources,
        "scores": _all_scores(rows, classes, levels),
        "scale": SCALE,
    }
    count = rows["source"].n_unique()
    return Gallery(
        levels, seeds, workspace.recipe.threshold, pictures, len(rows), count, note, plain
    )


def _scored(workspace: Workspace) -> pl.DataFrame:
    """The pool's index with the scores; DataError where one of them is missing."""
    scored = stages.read(workspace.work / "spectrum.parquet", "harness score")
    index = cache.read_index(workspace.pool).drop("source", "guidance", "seed")
    rows = scored.join(index, on="key", how="inner", maintain_order="left")
    if not len(rows):
        raise DataError(
            f"no scored image of {workspace.work / 'spectrum.parquet'} is in {workspace.pool}"
        )
    return rows


def _choice(rows: pl.DataFrame, n: int) -> list[str]:
    """n sources, from the classes in turn; the same ones whatever the order of rows."""
    pairs = rows.select("classname", "source").unique().sort("classname", "source")
    by_class = [group["source"].to_list() for _, group in pairs.group_by("classname")]
    by_class.sort()
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_class))
    first = itertools.islice((source for source in turns if source is not None), n)
    return list(first)


def _thumbnails(workspace: Workspace, rows: pl.DataFrame) -> dict[str, str]:
    """By image key, as base64 of WebP."""
    return {
        key: _thumb(cache.decode(data), data)
        for key, data in zip(rows["key"], cache.read_bytes(workspace.pool, rows), strict=True)
    }


def _affordable(
    chosen: Sequence[str],
    by_source: dict[Any, pl.DataFrame],
    thumbs: dict[str, str],
    real: dict[str, str],
    most: int,
) -> list[str]:
    """The first sources, and as many as fit into so many bytes."""
    sources: list[str] = []
    for source in chosen:
        most -= len(real.get(source, "")) + sum(len(thumbs[k]) for k in by_source[source]["key"])
        if most < 0 and sources:
            break
        sources.append(source)
    return sources


def _thumb(picture: np.ndarray, data: bytes = b"") -> str:
    """A picture uint8 (H, W, 3) as base64 of WebP; data: the picture as it is encoded already."""
    image = Image.fromarray(picture)
    small = max(image.size) <= SHARP_UP_TO_PX
    if small and data[8:12] == b"WEBP":
        return base64.b64encode(data).decode()
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    settings: dict[str, Any] = {"lossless": True} if small else {"quality": QUALITY}
    image.save(out, "WEBP", method=2, **settings)
    return base64.b64encode(out.getvalue()).decode()


def _originals(workspace: Workspace, sources: Sequence[str]) -> tuple[dict[str, str], str]:
    """Thumbnails of the real pictures, and why there are none where there are none."""
    try:
        thumbnails: dict[str, str] = {}
        for imbalance in workspace.imbalances():
            left = [s for s in sources if s not in thumbnails]
            data = stages.load(workspace, imbalance)
            rows = hard(workspace, imbalance).filter(pl.col("source").is_in(left))
            rows = rows.unique("source", keep="first", maintain_order=True)
            rows = rows.join(data.train.select("id", "image"), on="id", maintain_order="left")
            pictures = data.train_images.take(rows["image"].to_numpy())
            for source, picture in zip(rows["source"], pictures, strict=True):
                thumbnails[source] = _thumb(np.array(picture))
        return thumbnails, ""
    except (DataError, UsageError) as error:
        return {}, f"The real pictures are not shown: {error}."


def _spectrum(
    rows: pl.DataFrame,
    thumbs: dict[str, str],
    real: str | None,
    classes: Sequence[str],
    levels: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """A row of the gallery: pictures and scores by level, then seed; None where one is missing."""
    images: list[list[str | None]] = [[None] * len(seeds) for _ in levels]
    scores: list[list[int | None]] = [[None] * len(seeds) for _ in levels]
    for key, level, seed, score in rows.select("key", "guidance", "seed", "text_score").iter_rows():
        at = levels.index(level), seeds.index(seed)
        images[at[0]][at[1]] = thumbs[key]
        scores[at[0]][at[1]] = _whole(score)
    about = {"class": classes.index(rows["classname"][0]), "real": real}
    return about | {"images": images, "scores": scores}


def _whole(score: float | None) -> int | None:
    return None if score is None else math.floor(score * SCALE)


def _all_scores(
    rows: pl.DataFrame, classes: Sequence[str], levels: Sequence[int]
) -> list[list[str]]:
    """Of every class and level, ascending, as base64 of little-endian int16."""
    whole = (pl.col("text_score") * SCALE).floor().cast(pl.Int16).alias("whole")
    grouped = rows.select("classname", "guidance", whole).group_by("classname", "guidance")
    cells = {key: group["whole"].drop_nulls().sort().to_numpy() for key, group in grouped}
    empty = np.zeros(0, "<i2")
    return [
        [
            base64.b64encode(cells.get((name, level), empty).astype("<i2").tobytes()).decode()
            for level in levels
        ]
        for name in classes
    ]
