"""Stage `score`: raw CLIPScores of the pool's images."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from harness.core import parallel
from harness.core.attempts import Failure, Unfinished
from harness.core.claims import shared
from harness.core.cluster import Cluster
from harness.core.engine import Engine
from harness.core.errors import DataError
from harness.core.locks import locked, warn_where_useless
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
from harness.pool import cache, failures, score_blocks

SCORE_COLUMNS = ("key", "source", "label", "guidance", "seed", "text_score", "image_score")
KEYED = tuple(name for name in SCORE_COLUMNS if name != "label")  # of a pool that no labels share


def score(
    workspace: Workspace,
    device: str = "cpu",
    part: PoolPart = SPECTRUM,
    workers: int | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Score the pool's images that have none; writes work/.../<kind>.parquet (SCORE_COLUMNS).

    Returns how many were scored here. An image has a row for each label that it serves.
    The images of the part have to be there; others of its kind that are there stay in the table.
    Raw CLIPScores: image and text, image and source. Thresholds are applied when training reads.
    The text score of edits is their lead: similarity to the domain's text less the largest one to
    the texts of other things.

    Each worker takes a block of images at a time, and the scores of a block are kept; an
    interrupted call loses at most one block per worker. Several calls divide the blocks. Unfinished
    when blocks could not be scored, for example where a source cannot be read.
    """
    engine = Engine(device, workers, cluster)
    engine.check()
    images, index = requests(workspace, part), pool_index(workspace)
    missing = failures.outstanding(images, index, failed(workspace, part))
    if len(missing):
        gone = f"{len(missing)} of {len(images)} images are not in {workspace.pool}"
        raise DataError(f"{gone}; `harness generate` makes them")
    all_levels = PoolPart(part.kind, tuple(index["guidance"].unique()))
    labels = labelled_requests(workspace, all_levels).select("key", "label")
    rows = index.join(labels, on="key", how="semi", maintain_order="left")
    name, pool = scorer(workspace, part.kind), workspace.pool
    with locked(pool, shared=True):
        warn_where_useless(pool)
        count = _score_blocks(workspace, part.kind, rows, engine)
        scores = score_blocks.collect(pool, name)
    table = rows.join(labels, on="key").join(scores, on="key").select(SCORE_COLUMNS)
    tables.write(workspace.work / f"{part.kind}.parquet", table.sort("key", "label"))
    return count


def _score_blocks(workspace: Workspace, kind: str, rows: pl.DataFrame, engine: Engine) -> int:
    """Score what has no score; the number of images that were scored here."""
    pool, name, count, reasons = workspace.pool, scorer(workspace, kind), 0, dict[str, str]()
    blocks = score_blocks.plan(pool, name, rows)
    total, first = sum(len(block.rows) for block in blocks), parallel.rank() == 0

    def there(block: score_blocks.Block) -> bool:
        with locked(block.path):
            return score_blocks.is_done(pool, name, block)

    with ProgressBar(total=total, desc="score", unit="image", disable=not first) as bar:

        def busy(blocks: int) -> None:
            bar.say(f"score: waiting for {blocks} blocks that another process scores")

        arguments = (workspace, kind, engine.device)
        for block, outcome in shared(
            engine, _Worker.score, blocks, _Worker, arguments, there, busy
        ):
            if isinstance(outcome, Failure):
                reasons[str(block.path)] = outcome.reason
            else:
                count += outcome
            bar.update(len(block.rows))
    if reasons:
        lines = [f"score: {len(reasons)} of {len(blocks)} blocks of images failed"]
        lines += [f"  {reason}" for reason in dict.fromkeys(reasons.values())]
        raise Unfinished("score", [*lines, "the same command scores what is missing"], reasons)
    return count


def scorer(workspace: Workspace, kind: str) -> str:
    """What the scores of a kind of images are filed under."""
    return workspace.scorer if kind == "spectrum" else f"{workspace.scorer}-{kind}"


class _Worker:
    """Scores blocks in a process of its own, with the scoring model loaded once."""

    def __init__(self, workspace: Workspace, kind: str, device: str) -> None:
        import torch

        from harness.generation.clip_scores import Scorer

        torch.set_num_threads(1)
        self.workspace, self.name = workspace, scorer(workspace, kind)
        self.clip = Scorer(*workspace.clip_source, device=parallel.own_device(device))
        edits = kind == "edits"
        self.domain = self.clip.texts(list(edit_texts(workspace)[1])) if edits else None
        self.texts: dict[str, np.ndarray] = {}  # by class name

    def score(self, block: score_blocks.Block) -> int | None:
        """Keep the scores of a block; how many, None where another process makes them now."""
        with locked(block.path, wait=False) as ours:
            if not ours:
                return None
            if score_blocks.is_done(self.workspace.pool, self.name, block):
                return 0
            score_blocks.write(block, self._scores(block.rows))
            return len(block.rows)

    def _scores(self, rows: pl.DataFrame) -> pl.DataFrame:
        """key, text_score and image_score of these rows of the pool's index."""
        from harness.generation.clip_scores import BATCH, cosine

        originals = pictures(self.workspace, rows["source"].unique(maintain_order=True))
        vectors = self.clip.images(np.stack(list(originals.values())))
        sources = dict(zip(originals, vectors, strict=True))
        parts = []
        for part in rows.iter_slices(BATCH):
            pixels = [cache.decode(data) for data in cache.read_bytes(self.workspace.pool, part)]
            image = self.clip.images(np.stack(pixels))
            source = np.stack([sources[s] for s in part["source"]])
            columns = {"text_score": self._text_score(image, part["classname"])}
            columns |= {"image_score": cosine(image, source)}
            parts.append(part.select("key", **{k: pl.Series(v) for k, v in columns.items()}))
        return pl.concat(parts)

    def _text_score(self, image: np.ndarray, names: pl.Series) -> np.ndarray:
        from harness.generation.clip_scores import cosine

        if self.domain is not None:
            return lead(image @ self.domain.T)
        new = [name for name in names.unique().sort() if name not in self.texts]
        if new:
            prompts = [self.workspace.module.score_prompt(name) for name in new]
            self.texts |= dict(zip(new, self.clip.texts(prompts), strict=True))
        return cosine(image, np.stack([self.texts[name] for name in names]))


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
