"""Which synthetic images there are to be: what is made of each hard sample, with which text."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from harness.core import guidance
from harness.core.errors import UsageError
from harness.core.specs import Recipe, key
from harness.datasets import prompts
from harness.mini.weights import BUILT_IN
from harness.pipeline.stages import tables
from harness.pipeline.workspace import Workspace
from harness.pool import cache

KINDS = ("spectrum", "edits")  # of synthetic images, as the terms of a method ask for them
EDIT_GUIDANCE = 50  # hundredths; ALIA's strength 0.5


@dataclass(frozen=True)
class PoolPart:
    """Synthetic images of a kind (one of KINDS) at guidance levels.

    levels: of the spectrum, in hundredths; None: the recipe's. Edits have one level of their own.
    """

    kind: str = "spectrum"
    levels: tuple[int, ...] | None = None


SPECTRUM, EDITS = (PoolPart(kind) for kind in KINDS)


def requests(workspace: Workspace, part: PoolPart = SPECTRUM) -> pl.DataFrame:
    """Every synthetic image of a part, once however many labels and imbalance ratios share it."""
    rows = labelled_requests(workspace, part).drop("label")
    return rows.unique(["key", "classname"], maintain_order=True)  # a key says all the rest


def labelled_requests(workspace: Workspace, part: PoolPart = SPECTRUM) -> pl.DataFrame:
    """The images of a part with the labels of their hard samples; columns cache.REQUEST and label.

    An image has a row for each label: two classes may hold the same picture and share a name.
    """
    rows = tables.read(workspace.work / "hard.parquet", "harness hard")
    samples = rows.select("source", "label", "classname").unique(maintain_order=True)
    images = samples.join(grid(workspace, part), how="cross")
    names, recipe = images["classname"].to_list(), workspace.recipe
    if part.kind == "spectrum":
        sentences = _sentences(workspace, names)
        pairs = images.select("classname", "seed").unique().rows()
        texts_of = {
            pair: workspace.module.prompt(*pair, recipe, sentences) for pair in sorted(pairs)
        }
        texts = [texts_of[pair] for pair in images.select("classname", "seed").iter_rows()]
    else:
        edits = edit_texts(workspace)[0]
        texts = [edits[e].format(name=n) for n, e in zip(names, images["edit"], strict=True)]
    prompted = images.with_columns(pl.Series("prompt", texts, pl.String))
    return cache.request_rows(prompted, workspace.generator).with_columns(images["label"])


def _sentences(workspace: Workspace, names: list[str]) -> dict[str, tuple[str, ...]] | None:
    """Scene descriptions by class where a file has them; the built-in generator knows none."""
    if workspace.recipe.generator == BUILT_IN or not workspace.prompts.is_file():
        return None
    return dict(prompts.read(workspace.prompts, set(names), workspace.module.NAME).of)


def grid(workspace: Workspace, part: PoolPart = SPECTRUM) -> pl.DataFrame:
    """What is made of each source: guidance (hundredths), seed, and for edits which prompt.

    Edits have one guidance and rotate through their prompts, as many per seed as the recipe has
    levels, so that both kinds cost the same.
    """
    recipe = workspace.recipe
    if part.kind == "spectrum":
        levels = recipe_levels(recipe) if part.levels is None else sorted(set(part.levels))
        cells = [(level, seed, 0) for level in levels for seed in recipe.pool_seeds]
    else:
        prompts = edit_texts(workspace)[0]
        cells = [
            (EDIT_GUIDANCE, seed, (number + nth) % len(prompts))
            for number, seed in enumerate(recipe.pool_seeds)
            for nth in range(min(len(recipe.levels), len(prompts)))
        ]
    schema = {"guidance": pl.Int16, "seed": pl.Int32, "edit": pl.Int32}
    return pl.DataFrame(cells, schema=schema, orient="row")


def recipe_levels(recipe: Recipe) -> tuple[int, ...]:
    """Guidance levels of the spectrum that curricula choose from, in hundredths."""
    return tuple(map(guidance.hundredths, recipe.levels))


def edit_texts(workspace: Workspace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts of edits, with {name}, and what CLIP compares edits with, the domain's text first.

    UsageError for a data set that has none.
    """
    if not hasattr(workspace.module, "edits"):
        raise UsageError(f"{workspace.module.NAME} has no prompts for edits: `edits` in its file")
    texts: tuple[tuple[str, ...], tuple[str, ...]] = workspace.module.edits(workspace.recipe)
    return texts


def generator_key(workspace: Workspace) -> str:
    """Key of the generator."""
    return key(workspace.generator)


def pool_index(workspace: Workspace) -> pl.DataFrame:
    """The pool's images by the recipe's generator; columns cache.INDEX."""
    return cache.images_by(cache.read_index(workspace.pool), generator_key(workspace))
