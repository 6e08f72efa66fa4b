"""What is known of a data set without its files.

FACTS of a data set's module say what is known of its official files:
    files      names below the root that are there when the data set is
    folder     a folder of the root that may hold them instead; left out where there is none
    <profile>  splits: {name: images}, and either
               counts: (imbalance, recipe) -> class sizes by label, of which the recipe's `tail`
               makes those small enough hard; or
               train, classes: numbers; hard, hard_classes: numbers, or {tail rule: number};
               hard_classes None: single images are hard, not classes
A profile is left out where nobody knows. What `harness index` and `harness hard` have listed goes
before FACTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.core import registry
from harness.core.errors import DataError
from harness.core.specs import Recipe
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
    splits: dict[str, int]
    validated: bool  # whether one of them is for validation
    source: str

    @property
    def train(self) -> int:
        return sum(self.counts)


def facts(workspace: Workspace, imbalance: int | None) -> DatasetSizes:
    """From the lists of the stages where these are there, otherwise from FACTS of the module."""
    known = getattr(workspace.module, "FACTS", {}).get(workspace.profile)
    tests = (
        dict(known["splits"]) if known else {},
        getattr(workspace.module, "VAL", None) is not None,
    )
    if all((workspace.work / f"{name}.parquet").is_file() for name in ("index", "hard")):
        return _listed(workspace, imbalance, *tests)
    if known is None:
        raise DataError(
            f"the class sizes of {workspace.module.NAME} in profile {workspace.profile} are not "
            "known without its files; `harness index` and `harness hard` list them"
        )
    if "counts" in known:
        counts = tuple(known["counts"](imbalance, workspace.recipe))
        small = [n for n in counts if n <= _largest_hard(workspace.recipe)]
        return DatasetSizes(imbalance, counts, sum(small), len(small), *tests, "FACTS")
    train, classes = known["train"], known["classes"]
    hard, tail = (_by_rule(known[name], workspace) for name in ("hard", "hard_classes"))
    if tail is None:
        counts = _shares(train, classes)
    else:
        counts = (*_shares(train - hard, classes - tail), *_shares(hard, tail))
    return DatasetSizes(imbalance, counts, hard, tail, *tests, "FACTS")


def _listed(
    workspace: Workspace, imbalance: int | None, splits: dict[str, int], validated: bool
) -> DatasetSizes:
    import numpy as np

    mine = stages.at_imbalance(imbalance)
    path = workspace.work / "index.parquet"
    counts = np.bincount(stages.read(path, "harness index").filter(mine)["label"].to_numpy())
    hard = stages.read(workspace.work / "hard.parquet", "harness hard").filter(mine)["label"]
    tail = hard.unique().to_numpy()
    whole = int(counts[tail].sum()) == len(hard)
    sizes = tuple(int(n) for n in counts)
    tests = splits, validated
    return DatasetSizes(
        imbalance, sizes, len(hard), len(tail) if whole else None, *tests, str(path)
    )


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


def hard_sources(workspace: Workspace, found: Sequence[DatasetSizes]) -> int:
    """Different hard images at all imbalance ratios; a class's smaller subset is in its larger."""
    if len(found) == 1:
        return found[0].hard
    if found[0].source != "FACTS":
        hard = stages.read(workspace.work / "hard.parquet", "harness hard")
        return hard["source"].n_unique()
    most, by_class = _largest_hard(workspace.recipe), zip(*(f.counts for f in found), strict=True)
    return sum(max((n for n in sizes if n <= most), default=0) for sizes in by_class)


def kept_share(workspace: Workspace, imbalance: int | None) -> float:
    """Share of the synthetic images that passed the paper's threshold; 1 where it has none."""
    for file in published.showing(workspace.module.NAME, kind="pool"):
        paper = published.read(file)
        for block in paper.blocks:
            same = block.imbalance == imbalance or imbalance is None
            if block.dataset == workspace.module.NAME and same:
                return float(paper.rows[0].cells[block.key].numbers["Rate"].value) / 100
    return 1.0
