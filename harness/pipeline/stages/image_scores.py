"""Stage `score`: raw CLIPScores of the pool's images."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from harness.core import parallel
from harness.core.errors import DataError
from harness.core.locks import locked
from harness.core.progress import ProgressBar
from harness.pipeline.stages import tables
from harness.pipeline.stages.image_generation import failed
from harness.pipeline.stages.image_requests import (
    SPECTRUM,
    PoolPart,
    edit_texts,
    labelled_requests,
    pool_index,
    requests,
)
from harness.pipeline.stages.source_pictures import pictures
from harness.pipeline.workspace import Workspace
from harness.pool import cache, failures

SCORE_COLUMNS = ("key", "source", "label", "guidance", "seed", "text_score", "image_score")
KEYED = tuple(name for name in SCORE_COLUMNS if name != "label")  # of a pool that no labels share


def score(workspace: Workspace, device: str = "cpu", part: PoolPart = SPECTRUM) -> int:
    """Score the pool's images that have none; writes work/.../<kind>.parquet (SCORE_COLUMNS).

    An image has a row for each label that it serves.
    The images of the part have to be there; others of its kind that are there stay in the table.
    Raw CLIPScores: image and text, image and source. Thresholds are applied when training reads.
    The text score of edits is their lead: similarity to the domain's text less the largest one to
    the texts of other things.
    """
    parallel.check_device(device)
    images, index = requests(workspace, part), pool_index(workspace)
    missing = failures.outstanding(images, index, failed(workspace, part))
    if len(missing):
        gone = f"{len(missing)} of {len(images)} images are not in {workspace.pool}"
        raise DataError(f"{gone}; `harness generate` makes them")
    all_levels = PoolPart(part.kind, tuple(index["guidance"].unique()))
    labels = labelled_requests(workspace, all_levels).select("key", "label")
    rows = index.join(labels, on="key", how="semi", maintain_order="left")
    name, pool = scorer(workspace, part.kind), workspace.pool
    # One at a time for a scoring model: another call takes the scores that this one has written.
    with locked(pool, shared=True), locked(cache.scores_path(pool, name)):
        scores = cache.scores_to_extend(pool, name)
        todo = rows if scores is None else rows.join(scores, on="key", how="anti")
        if len(todo):
            scores = cache.write_scores(pool, name, _scores(workspace, todo, device, part.kind))
    assert scores is not None
    table = rows.join(labels, on="key").join(scores, on="key").select(SCORE_COLUMNS)
    tables.write(workspace.work / f"{part.kind}.parquet", table.sort("key", "label"))
    return len(todo)


def scorer(workspace: Workspace, kind: str) -> str:
    """What the scores of a kind of images are filed under."""
    return workspace.scorer if kind == "spectrum" else f"{workspace.scorer}-{kind}"


def _scores(workspace: Workspace, rows: pl.DataFrame, device: str, kind: str) -> pl.DataFrame:
    """key, text_score and image_score of these rows of the pool's index."""
    from harness.generation.clip_scores import Scorer, cosine

    clip = Scorer(*workspace.clip_source, device=device)
    names = rows["classname"].unique().sort().to_list()
    texts = dict(
        zip(names, clip.texts([workspace.module.score_prompt(n) for n in names]), strict=True)
    )
    domain = clip.texts(list(edit_texts(workspace)[1])) if kind == "edits" else None
    originals = pictures(workspace, rows["source"].unique())
    vectors = clip.images(np.stack(list(originals.values())))
    sources = dict(zip(originals, vectors, strict=True))
    parts = []
    with ProgressBar(total=len(rows), desc="score", unit="image") as bar:
        for part in rows.iter_slices(1024):
            pixels = [cache.decode(data) for data in cache.read_bytes(workspace.pool, part)]
            image = clip.images(np.stack(pixels))
            text = np.stack([texts[n] for n in part["classname"]])
            source = np.stack([sources[s] for s in part["source"]])
            text_score = cosine(image, text) if domain is None else lead(image @ domain.T)
            columns = {"text_score": text_score, "image_score": cosine(image, source)}
            parts.append(part.select("key", **{k: pl.Series(v) for k, v in columns.items()}))
            bar.update(len(part))
    return pl.concat(parts)


def lead(similarity: np.ndarray) -> np.ndarray:
    """(N, K) -> (N,): the first text's similarity less the largest of the others."""
    best_other: np.ndarray = similarity[:, 1:].max(axis=1)
    return similarity[:, 0] - best_other


def pool_key(spectrum: pl.DataFrame, scorer: str) -> str:
    """SHA-256 over the images and their scores that a run may read.

    Labels are part of it where an image serves several; else the run's index says them.
    """
    digest = hashlib.sha256(scorer.encode())
    rows = spectrum.sort("key", "label")
    shared = pl.when(pl.col("key").is_duplicated()).then(pl.col("label"))
    for *row, label in rows.select(*KEYED, shared).iter_rows():
        values = row if label is None else [*row, label]
        digest.update(("\n" + " ".join(map(str, values))).encode())
    return digest.hexdigest()
