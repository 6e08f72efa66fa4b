"""Scores of the pool's images, a Parquet file for each scoring model."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import polars as pl

from harness.core import parquet
from harness.core.digests import Damaged, remade
from harness.core.errors import DataError

AGAIN = "`harness score` scores its images again"
SCORES: dict[str, Any] = {"key": pl.String, "text_score": pl.Float32, "image_score": pl.Float32}


def write_scores(pool: Path, clip: str, scores: pl.DataFrame) -> pl.DataFrame:
    """Keep scores (columns SCORES, each in [-1, 1]) of one scoring model; return all of its scores.

    Scores of other images stay, those of the same images are replaced. `clip` names the model and
    its weights. Raises DataError for a score that is missing or out of range.
    """
    new = scores.select(pl.col(name).cast(dtype) for name, dtype in SCORES.items())
    values = pl.col("text_score", "image_score")
    wrong = new.filter(~pl.all_horizontal(values.is_between(-1.001, 1.001).fill_null(False)))
    if len(wrong):
        raise DataError(f"score of image {wrong['key'][0]} is not in [-1, 1]: {wrong.row(0)[1:]}")
    if new["key"].n_unique() != len(new):
        raise DataError("two scores for one image")
    old = scores_to_extend(pool, clip)
    if old is not None:
        new = pl.concat([old.join(new, on="key", how="anti"), new])
    new = new.sort("key")
    parquet.write(scores_path(pool, clip), new, {"clip": clip})
    return new


def scores_to_extend(pool: Path, clip: str) -> pl.DataFrame | None:
    """As `read_scores`, for who is about to write them: of a damaged file there are none."""
    try:
        return read_scores(pool, clip)
    except Damaged as error:
        remade(error)
        return None


def read_scores(pool: Path, clip: str) -> pl.DataFrame | None:
    """Scores of one scoring model (columns SCORES, sorted by key), or None if there are none.

    Damaged for a file that is not what was written.
    """
    path = scores_path(pool, clip)
    if not path.exists():
        return None
    return parquet.read(path, AGAIN, list(SCORES))


def keep_scores(pool: Path, index: pl.DataFrame) -> None:
    """Leave scores of the images in the index only, whatever the scoring model."""
    for path in score_files(pool):
        table, about = parquet.read_with_metadata(path, AGAIN)
        kept = table.join(index, on="key", how="semi", maintain_order="left")
        _change_scores(path, table, kept, about["clip"])


def add_scores(pool: Path, pairs: pl.DataFrame) -> None:
    """Keep scores of images under another key, too; pairs: key, old."""
    for path in score_files(pool):
        table, about = parquet.read_with_metadata(path, AGAIN)
        new = table.rename({"key": "old"}).join(pairs, on="old").select(table.columns)
        both = pl.concat([table, new]).unique("key", keep="first").sort("key")
        _change_scores(path, table, both, about["clip"])


def score_files(pool: Path) -> list[Path]:
    """Of all scoring models."""
    return sorted(pool.glob("scores-*.parquet"))


def _change_scores(path: Path, before: pl.DataFrame, after: pl.DataFrame, clip: str) -> None:
    if len(before) != len(after):
        parquet.write(path, after, {"clip": clip})


def scores_path(pool: Path, clip: str) -> Path:
    """Where the scores of a scoring model lie."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", clip)
    if name != clip:  # two models must not share a file
        name += "-" + hashlib.sha256(clip.encode()).hexdigest()[:6]
    return pool / f"scores-{name}.parquet"
