"""How many images are hard, generated and kept: the paper's table of statistics, beside ours."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import polars as pl

from harness.pipeline import stages
from harness.pipeline.jobs import hard
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.results import published
from harness.results.published_table import Block, Paper

MISSING = "·"  # not made or not scored yet
TABLE = "statistics"


@dataclass(frozen=True)
class Count:
    """Images at one imbalance ratio; None: not known yet."""

    imbalance: int | None
    hard: int
    levels: int
    seeds: int
    generated: int | None
    kept: int | None
    failed: int = 0  # of those that were to be generated

    @property
    def rate(self) -> float | None:
        """Share of the generated ones that are kept, in [0, 1]."""
        if not self.generated or self.kept is None:
            return None
        return self.kept / self.generated

    def cells(self) -> dict[str, str]:
        """By the published table's columns."""
        numbers = {"hard": self.hard, "levels": self.levels, "seeds": self.seeds}
        known = numbers | {"generated": self.generated, "kept": self.kept}
        text = {name: MISSING if n is None else f"{n:,}" for name, n in known.items()}
        return text | {"rate": MISSING if self.rate is None else f"{100 * self.rate:.2f}"}


def count(workspace: Workspace) -> list[Count]:
    """Of every imbalance ratio, from what the stages have left so far."""
    return [_count(workspace, imbalance) for imbalance in workspace.imbalances()]


def _count(workspace: Workspace, imbalance: int | None) -> Count:
    recipe, samples = workspace.recipe, hard(workspace, imbalance)
    generated, kept, failed = None, None, 0
    if (workspace.pool / "images").is_dir():
        requests = stages.labelled_requests(workspace)
        keys = requests.join(samples, on=("source", "label"), how="semi").select("key")
        images = stages.pool_index(workspace).join(keys, on="key", how="semi")
        generated = len(images)
        failed = len(stages.failed(workspace).join(keys, on="key", how="semi"))
        scores = cache.read_scores(workspace.pool, workspace.scorer)
        if scores is not None:
            scored = images.join(scores, on="key")
            kept = len(scored.filter(pl.col("text_score") >= recipe.threshold))
    spectra = (len(samples), len(recipe.levels), len(recipe.pool_seeds))
    return Count(imbalance, *spectra, generated, kept, failed)


def render(workspace: Workspace, counts: list[Count]) -> str:
    """Ours above the published ones, and what is known about these."""
    from tabulate import tabulate

    paper = published.read(published.find(TABLE))
    head = ["", *(column.name for column in paper.columns)]
    body = []
    for count in counts:
        ratio = "" if count.imbalance is None else f", imbalance ratio {count.imbalance}"
        cells = count.cells()
        ours = [cells[column.path] for column in paper.columns]
        body.append([f"ours, profile {workspace.profile}{ratio}", *ours])
        body += [_published(paper, b) for b in paper.blocks if _same(b, workspace, count)]
    grid = tabulate(body, head, "simple", disable_numparse=True, stralign="right")
    notes = [
        f"Published: {paper.source}.",
        *paper.caveats,
        *map(_failures, filter(_failed, counts)),
    ]
    paragraphs = (textwrap.fill(f"- {note}", 100, subsequent_indent="  ") for note in notes)
    return "\n".join([grid, "", *paragraphs])


def _failed(count: Count) -> bool:
    return count.failed > 0


def _failures(count: Count) -> str:
    ratio = "" if count.imbalance is None else f", imbalance ratio {count.imbalance}"
    return (
        f"Ours{ratio}: {count.failed:,} images could not be generated and are left out; "
        "`harness generate` says why, and tries them again."
    )


def _same(block: Block, workspace: Workspace, count: Count) -> bool:
    return block.dataset == workspace.module.NAME and block.imbalance == count.imbalance


def _published(paper: Paper, block: Block) -> list[str]:
    numbers = paper.rows[0].cells[block.key].numbers
    texts = []
    for column in paper.columns:
        number = numbers.get(column.name)
        decimals = 0 if column.unit == "count" else paper.decimals
        texts.append(MISSING if number is None else f"{number.value:,.{decimals}f}")
    return ["published", *texts]
