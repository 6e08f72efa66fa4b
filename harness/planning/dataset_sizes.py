"""What is known of a data set without its files.

FACTS of a data set's module say what is known of its official files:
    files      names below the root that are there when the data set is
    folder     a folder of the root that may hold them instead; left out where there is none
    <profile>  splits: {name: images}, and either
               counts: (imbalance, recipe) -> class sizes by label, of which the recipe's `tail`
               makes those small enough hard; or
               train, classes: numbers; hard, hard_classes: numbers, or {tail rule: number};
               hard_classes None: single images are hard, not classes;
               drawn, drawn_files: pictures of the built-in world that are drawn first, into a
               block of pixels and into files of their own; left out where none is
A profile is left out where nobody knows. What `harness index` and `harness hard` have listed goes
before FACTS.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError
from harness.core.specs import Recipe
from harness.datasets import longtail
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.results import published


@dataclass(frozen=True)
class DatasetSizes:
    """Sizes of a data set at an imbalance ratio."""

    imbalance: int | None
    counts: tuple[int, ...]  # training images by label; even where the single ones are not known
    hard: int
    hard_classes: int | None  # the smallest so many classes are hard; None: single images are
    splits: dict[str, int] = field(default_factory=dict)
    validated: bool = False  # whether one of them is for validation
    validation: int = 0  # its images, where they are known
    source: str = "FACTS"  # or the list that was read

    @property
    def train(self) -> int:
        return sum(self.counts)


def facts(workspace: Workspace, imbalance: int | None) -> DatasetSizes:
    """From the lists of the stages where these are there, otherwise from FACTS of the module.

    DataError where neither says enough.
    """
    known = getattr(workspace.module, "FACTS", {}).get(workspace.profile)
    by_size = _hard_by_size(workspace.module)
    index, hard = (_list(workspace, name) for name in ("index", "hard"))
    if index.is_file() and (hard.is_file() or (known is None and by_size)):
        sizes = _listed(workspace, imbalance)
    elif known is None:
        listing = "`harness index`" if by_size else "`harness index` and `harness hard`"
        raise DataError(
            f"the class sizes of {workspace.module.NAME} in profile {workspace.profile} are not "
            f"known without its files: run {listing}, or write them into FACTS of its module "
            "(docs/extending.md)"
        )
    elif "counts" in known:
        counts = tuple(known["counts"](imbalance, workspace.recipe))
        sizes = DatasetSizes(imbalance, counts, *_small(workspace.recipe, counts))
    else:
        sizes = _of_numbers(workspace, imbalance, known)
    splits, val = dict(known["splits"]) if known else {}, getattr(workspace.module, "VAL", None)
    validation = splits.get(val, 0)
    return replace(sizes, splits=splits, validated=val is not None, validation=validation)


def _list(workspace: Workspace, name: str) -> Path:
    return Path(workspace.work / f"{name}.parquet")


def _hard_by_size(module: Any) -> bool:
    """Whether the class sizes alone say which images are hard."""
    return getattr(module, "HARD_BY", None) is None and module.hard is longtail.hard


def _small(recipe: Recipe, counts: Sequence[int]) -> tuple[int, int]:
    """Hard images and hard classes where class sizes say what is hard."""
    small = [n for n in counts if n <= _largest_hard(recipe)]
    return sum(small), len(small)


def _of_numbers(workspace: Workspace, imbalance: int | None, known: dict[str, Any]) -> DatasetSizes:
    """Even class sizes that sum up to what FACTS says."""
    train, classes = known["train"], known["classes"]
    hard, tail = (_by_rule(known[name], workspace) for name in ("hard", "hard_classes"))
    hard = workspace.recipe.hard_images if tail is None and workspace.recipe.hard_images else hard
    if tail is None:
        counts = _shares(train, classes)
    else:
        counts = (*_shares(train - hard, classes - tail), *_shares(hard, tail))
    return DatasetSizes(imbalance, counts, hard, tail)


def _listed(workspace: Workspace, imbalance: int | None) -> DatasetSizes:
    import numpy as np

    at_ratio = stages.at_imbalance(imbalance)
    path = _list(workspace, "index")
    labels = stages.read(path, "harness index").filter(at_ratio)["label"].to_numpy()
    counts = np.bincount(labels)
    sizes = tuple(int(n) for n in counts)
    if not _list(workspace, "hard").is_file():
        small = _small(workspace.recipe, sizes)
        return DatasetSizes(imbalance, sizes, *small, source=str(path))
    hard = stages.read(_list(workspace, "hard"), "harness hard").filter(at_ratio)["label"]
    tail = hard.unique().to_numpy()
    whole = int(counts[tail].sum()) == len(hard)
    classes = len(tail) if whole else None
    return DatasetSizes(imbalance, sizes, len(hard), classes, source=str(path))


def _largest_hard(recipe: Recipe) -> int:
    """Images of the largest class that is hard."""
    return {"<20": 19, "<=20": 20}[registry.one_of("tail rule", recipe.tail, ("<20", "<=20"))]


def _by_rule(value: Any, workspace: Workspace) -> Any:
    if not isinstance(value, dict):
        return value
    if workspace.recipe.tail not in value:
        raise DataError(
            f"how many images of {workspace.module.NAME} are hard by the rule "
            f"{workspace.recipe.tail} is not known without its files; "
            "`harness index` and `harness hard` list them"
        )
    return value[workspace.recipe.tail]


def _shares(total: int, parts: int) -> tuple[int, ...]:
    least, rest = divmod(total, parts)
    return tuple(least + (i < rest) for i in range(parts))


def hard_sources(workspace: Workspace, sizes: Sequence[DatasetSizes]) -> int:
    """Different hard images at all imbalance ratios; a class's smaller subset is in its larger."""
    path = _list(workspace, "hard")
    if sizes[0].source != "FACTS" and path.is_file():
        hard = stages.read(path, "harness hard")
        return hard.select("source", "classname").unique().height
    if len(sizes) == 1:
        return sizes[0].hard
    most = _largest_hard(workspace.recipe)
    by_class = itertools.zip_longest(*(of_ratio.counts for of_ratio in sizes), fillvalue=0)
    return sum(max((n for n in counts if n <= most), default=0) for counts in by_class)


def published_share(workspace: Workspace, imbalance: int | None) -> float:
    """Share of the synthetic images that passed the paper's threshold; 1 where it has none."""
    for file in published.showing(workspace.module.NAME, kind="pool"):
        paper = published.read(file)
        for block in paper.blocks:
            at_ratio = block.imbalance == imbalance or imbalance is None
            if block.dataset == workspace.module.NAME and at_ratio:
                return float(paper.rows[0].cells[block.key].numbers["Rate"].value) / 100
    return 1.0
