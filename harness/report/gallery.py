"""The gallery of a pool: pictures by source, guidance and seed, and what a threshold keeps."""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from harness.core.errors import DataError, UsageError
from harness.pipeline import stages
from harness.pipeline.jobs import hard, scored
from harness.pipeline.workspace import Workspace
from harness.pool import cache

SIDE_PX = 64  # of a thumbnail at most
QUALITY = 82
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


def shares(workspaces: Sequence[Workspace], most: int) -> list[int]:
    """How many of `most` pictures the gallery of each data set shows; 0 without a scored pool.

    Equal shares; what a small pool leaves goes to the others.
    """
    sizes = dict(enumerate(map(_size, workspaces)))
    result = dict.fromkeys(sizes, 0)
    for left, i in enumerate(sorted(sizes, key=lambda i: (sizes[i], i))):
        result[i] = min(sizes[i], -(-most // (len(sizes) - left)))  # rounded up: none is left over
        most -= result[i]
    return [result[i] for i in sizes]


def _size(workspace: Workspace) -> int:
    """Scored images of a pool; 0 where its gallery will say why it has none."""
    try:
        return len(_scored(workspace))
    except DataError:
        return 0


def gallery(workspace: Workspace, most: int) -> Gallery:
    """`most` pictures of the pool, all where it has fewer, and the scores of all of it.

    Spectra of sources, taken from the classes in turn, each whole but the last one. Raises
    DataError where there is no pool or no scores.
    """
    if most < 0:
        raise UsageError(f"a gallery of {most} pictures; expected 0 or more")
    rows = _scored(workspace)
    levels = tuple(sorted(rows["guidance"].unique().to_list()))
    seeds = tuple(sorted(rows["seed"].unique().to_list()))
    labels = _labels(rows)
    shown = _choice(rows, labels, most)
    thumbs = _thumbnails(workspace, shown.unique("key"))
    real, note = _originals(workspace, shown["source"].unique(maintain_order=True).to_list())
    by_sample = shown.group_by("label", "source", maintain_order=True)
    sources = [
        _spectrum(some, thumbs, real.get(str(source)), list(labels), levels, seeds)
        for (_, source), some in by_sample
    ]
    pictures = sum(image is not None for s in sources for row in s["images"] for image in row)
    plain = {
        "levels": levels,
        "seeds": seeds,
        "threshold": workspace.recipe.threshold,
        "classes": list(labels.values()),
        "sources": sources,
        "scores": _all_scores(rows, list(labels), levels),
        "scale": SCALE,
    }
    count = rows.select("label", "source").unique().height
    return Gallery(
        levels, seeds, workspace.recipe.threshold, pictures, len(rows), count, note, plain
    )


def _scored(workspace: Workspace) -> pl.DataFrame:
    """The scored images of the recipe's generator with their places, a row for each label.

    DataError where scores or images are missing.
    """
    index = stages.pool_index(workspace).drop("source", "guidance", "seed")
    rows = scored(workspace).join(index, on="key", how="inner", maintain_order="left")
    if not len(rows):
        raise DataError(
            f"no scored image of {workspace.work / 'spectrum.parquet'} is in {workspace.pool}"
        )
    return rows


def _labels(rows: pl.DataFrame) -> dict[int, str]:
    """Names of the classes by label, in the order of names; of two with one name, the label too."""
    pairs = rows.select("classname", "label").unique().sort("classname", "label")
    shared = pairs["classname"].is_duplicated()
    return {
        label: f"{name} (class {label})" if twice else name
        for (name, label), twice in zip(pairs.rows(), shared, strict=True)
    }


def _choice(rows: pl.DataFrame, labels: Iterable[int], n: int) -> pl.DataFrame:
    """n rows: spectra of samples from the classes in turn; the same whatever the order of rows."""
    pairs = rows.select("label", "source").unique().sort("label", "source")
    by_class = pairs.rows_by_key("label", include_key=True)
    of_classes = sorted((by_class[label] for label in labels), key=lambda some: some[0][1])
    in_turn = itertools.zip_longest(*of_classes)
    turns = itertools.chain.from_iterable(in_turn)
    samples = itertools.islice((sample for sample in turns if sample is not None), n)
    schema = {"label": pl.Int32, "source": pl.String}
    chosen = pl.DataFrame(list(samples), schema, orient="row").with_row_index("turn")
    shown = rows.join(chosen, on=("label", "source"), how="inner")
    return shown.sort("turn", "seed", "guidance").head(n)


def _thumbnails(workspace: Workspace, rows: pl.DataFrame) -> dict[str, str]:
    """By image key, as base64 of WebP."""
    return {
        key: _thumb(cache.decode(data), data)
        for key, data in zip(rows["key"], cache.read_bytes(workspace.pool, rows), strict=True)
    }


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
    labels: Sequence[int],
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
    about = {"class": labels.index(rows["label"][0]), "real": real}
    return about | {"images": images, "scores": scores}


def _whole(score: float | None) -> int | None:
    return None if score is None else math.floor(score * SCALE)


def _all_scores(
    rows: pl.DataFrame, labels: Sequence[int], levels: Sequence[int]
) -> list[list[str]]:
    """Of every class and level, ascending, as base64 of little-endian int16."""
    whole = (pl.col("text_score") * SCALE).floor().cast(pl.Int16).alias("whole")
    grouped = rows.select("label", "guidance", whole).group_by("label", "guidance")
    cells = {key: group["whole"].drop_nulls().sort().to_numpy() for key, group in grouped}
    empty = np.zeros(0, "<i2")
    return [
        [
            base64.b64encode(cells.get((label, level), empty).astype("<i2").tobytes()).decode()
            for level in levels
        ]
        for label in labels
    ]
