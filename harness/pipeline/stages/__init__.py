"""The stages up to the scored pool: index -> hard -> generate -> score, a file each.

Every stage leaves one table or folder behind, does only what is missing, and returns its table or
a count. Training runs live in harness.pipeline.runs.
"""

from harness.pipeline.stages.hard_samples import Judge, hard
from harness.pipeline.stages.image_generation import check_levels, failed, generate, pending
from harness.pipeline.stages.image_requests import (
    EDITS,
    KINDS,
    SPECTRUM,
    PoolPart,
    edit_texts,
    generator_key,
    grid,
    labelled_requests,
    pool_index,
    recipe_levels,
    requests,
)
from harness.pipeline.stages.image_scores import SCORE_COLUMNS, pool_key, score, scorer
from harness.pipeline.stages.index_table import index, load
from harness.pipeline.stages.source_pictures import pictures
from harness.pipeline.stages.tables import at_imbalance, read

__all__ = [
    "EDITS",
    "KINDS",
    "SCORE_COLUMNS",
    "SPECTRUM",
    "Judge",
    "PoolPart",
    "at_imbalance",
    "check_levels",
    "edit_texts",
    "failed",
    "generate",
    "generator_key",
    "grid",
    "hard",
    "index",
    "labelled_requests",
    "load",
    "pending",
    "pictures",
    "pool_index",
    "pool_key",
    "read",
    "recipe_levels",
    "requests",
    "score",
    "scorer",
]
