"""Scores that are being made: files of blocks of images, until all of them are in one table.

<pool>/scoring/<name of the score file>/part-<12 hex>.parquet   columns scores.SCORES

A block is named after its images, so that a resumed command and a second one agree on its name.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from harness.core import parquet
from harness.core.digests import Damaged, remade
from harness.core.locks import locked
from harness.pool.scores import AGAIN, SCORES, scores_path, scores_to_extend, write_scores

SOURCES = 64  # in a block: their pictures are read once


@dataclass(frozen=True)
class Block:
    """Rows of the pool's index that are scored together; path: of their scores."""

    path: Path
    rows: pl.DataFrame


def plan(pool: Path, clip: str, rows: pl.DataFrame) -> list[Block]:
    """Blocks of those rows of an index that a scoring model has not scored; all of some sources.

    Taking away whole blocks leaves the others as they are.
    """
    todo = rows.join(_known(pool, clip), on="key", how="anti").sort("source", "guidance", "key")
    blocks = []
    sources = todo["source"].unique(maintain_order=True)
    numbers = pl.DataFrame({"source": sources}).with_row_index("block")
    numbers = numbers.with_columns(pl.col("block") // SOURCES)
    todo = todo.join(numbers, on="source", how="left", maintain_order="left")
    for part in todo.partition_by("block", maintain_order=True, include_key=False):
        digest = hashlib.sha256("".join(part["key"]).encode()).hexdigest()[:12]
        blocks.append(Block(_folder(pool, clip) / f"part-{digest}.parquet", part))
    return blocks


def write(block: Block, scores: pl.DataFrame) -> None:
    """Keep the scores (columns SCORES) of a block."""
    new = scores.select(pl.col(name).cast(dtype) for name, dtype in SCORES.items())
    parquet.write(block.path, new)


def is_done(pool: Path, clip: str, block: Block) -> bool:
    """Whether a block is scored, or the table has its scores already."""
    if block.path.is_file():
        return True
    table = scores_to_extend(pool, clip)
    return table is not None and not len(block.rows.join(table, on="key", how="anti"))


def collect(pool: Path, clip: str) -> pl.DataFrame:
    """Move the scores of all blocks into the table of the scoring model; return that."""
    with locked(scores_path(pool, clip)):
        parts = list(_parts(pool, clip).items())
        if parts:
            new = pl.concat([part for _, part in parts]).unique("key", keep="first")
            table = write_scores(pool, clip, new)
        else:
            known = scores_to_extend(pool, clip)
            table = pl.DataFrame(schema=SCORES) if known is None else known
        for path, _ in parts:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another command's blocks are in it
            _folder(pool, clip).rmdir()
            _folder(pool, clip).parent.rmdir()
    return table


def _known(pool: Path, clip: str) -> pl.DataFrame:
    """Keys of the images that have scores, in the table or in blocks.

    Blocks are looked at first: those that are moved meanwhile are in the table then.
    """
    parts = list(_parts(pool, clip).values())
    table = scores_to_extend(pool, clip)
    parts += [] if table is None else [table]
    return pl.concat([pl.DataFrame(schema=SCORES), *parts]).select("key").unique()


def _parts(pool: Path, clip: str) -> dict[Path, pl.DataFrame]:
    """Scores by the file of their block; damaged files are removed, and that is told."""
    parts, found = {}, list[Path]()
    with contextlib.suppress(FileNotFoundError):  # the folder, removed as it was listed
        found = sorted(_folder(pool, clip).glob("part-*.parquet"))
    for path in found:
        try:
            parts[path] = parquet.read(path, AGAIN, list(SCORES))
        except FileNotFoundError:  # moved since it was listed
            continue
        except Damaged as error:
            remade(error)
            path.unlink(missing_ok=True)
    return parts


def _folder(pool: Path, clip: str) -> Path:
    return pool / "scoring" / scores_path(pool, clip).stem
