"""Which training runs there are, and what each of them needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from harness.core.errors import DataError, UsageError
from harness.core.specs import Recipe, RunSpec, key, plain
from harness.methods.compose import compose
from harness.methods.terms import Method
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.results import records

POOL_FIELDS = (
    "levels", "pool_seeds", "threshold", "generator", "clip", "steps", "text_guidance", "size_px",
    "height_px", "approximate",
)  # fmt: skip
ONWARD_FIELDS = ("onward", "curriculum_epochs", "mixture", "probe_images", "probe_train")
NEVER = ("run_seeds", "imbalances")  # which runs there are changes none of them


@dataclass(frozen=True)
class Job:
    """One run to do, and the runs it needs."""

    workspace: Workspace
    spec: RunSpec
    start: Job | None  # whose weights it starts from
    reference: Job | None = None  # which it consults
    merges: Job | None = None  # whose weights its ensemble merges; then nothing is trained

    @property
    def needs(self) -> tuple[Job, ...]:
        jobs = (self.start, self.reference, self.merges)
        return tuple(job for job in jobs if job is not None)

    def method(self) -> Method:
        """Fresh objects."""
        return compose(self.spec.method, self.spec.dataset, self.spec.recipe.profile)

    @property
    def folder(self) -> Path:
        return self.workspace.runs / key(self.spec)[:16]

    @property
    def name(self) -> str:
        ratio = "" if self.spec.imbalance is None else f" IR{self.spec.imbalance}"
        return f"{self.spec.method}{ratio} seed {self.spec.seed}"

    @property
    def record(self) -> Path:
        """Where the record of this run lies."""
        about = {"method": self.spec.method, "imbalance": self.spec.imbalance}
        about |= {"seed": self.spec.seed, "dataset": self.spec.dataset}
        about |= {"backbone": self.spec.recipe.backbone}
        return records.path(about | {"profile": self.spec.recipe.profile}, self.workspace.records)

    @property
    def trained(self) -> bool:
        """Whether it came to its end, and weights and predictions are there."""
        files = ["done.json", "predictions-last.parquet"]
        files += [] if self.merges else ["weights.safetensors", "predictions-oracle.parquet"]
        return all((self.folder / name).is_file() for name in files)

    @property
    def recorded(self) -> bool:
        """Whether the record is there, and that of this very run."""
        return records.is_of(self.record, key(self.spec))


def relevant(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with None for what the method's run does not read, so that it changes no key."""
    unused = set(NEVER)
    if method.reads is None:
        unused |= set(POOL_FIELDS)
    if method.start is None and method.curriculum is None:
        unused |= set(ONWARD_FIELDS)
    values: dict[str, Any] = {
        f.name: None if f.name in unused else getattr(recipe, f.name) for f in fields(recipe)
    }
    return Recipe(**values)


def recipes(
    workspace: Workspace,
    expressions: Sequence[str],
    imbalances: Sequence[int | None],
    seeds: Sequence[int],
) -> dict[tuple[str, int | None, int], dict[str, Any]]:
    """What the runs of these rows, and those they need, read of the recipe: known without data.

    By method, imbalance ratio and seed, as records keep it.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = list(expressions)
    while waiting:
        method = compose(waiting.pop(), workspace.module.NAME, workspace.recipe.profile)
        if method.expression not in found:
            found[method.expression] = plain(relevant(workspace.recipe, method))
            start = method.start if workspace.recipe.onward is not None else None
            needed = (start, method.reference, method.merges)
            waiting += [text for text in needed if text is not None]
    return {(m, i, s): recipe for m, recipe in found.items() for i in imbalances for s in seeds}


def plan(
    workspace: Workspace,
    expressions: Sequence[str],
    imbalances: Sequence[int | None],
    seeds: Sequence[int],
) -> list[Job]:
    """The jobs of these rows and of the runs they need, each once, needed ones first."""
    asked = _Plan(workspace)
    for imbalance in imbalances:
        for seed in seeds:
            for expression in expressions:
                asked.add(expression, imbalance, seed)
    return list(asked.jobs.values())


class _Plan:
    """Jobs by key, in an order in which they can be done."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.jobs: dict[str, Job] = {}
        self._pool_key = functools.cache(self._pool)

    def add(self, expression: str, imbalance: int | None, seed: int) -> Job:
        workspace, recipe = self.workspace, self.workspace.recipe
        method = compose(expression, workspace.module.NAME, recipe.profile)
        check_text(method, workspace)
        start = method.start if recipe.onward is not None else None
        needed = (start, method.reference, method.merges)
        jobs = [None if text is None else self.add(text, imbalance, seed) for text in needed]
        keys = [None if job is None else key(job.spec) for job in jobs]
        spec = RunSpec(
            dataset=workspace.module.NAME,
            imbalance=imbalance,
            method=method.expression,
            arguments=method.arguments,
            seed=seed,
            recipe=relevant(recipe, method),
            index=stages.load(workspace, imbalance).index_hash,
            pool=self._pool_key(imbalance, method.reads, method.levels) if method.reads else None,
            start=keys[2] or keys[0],
            reference=keys[1],
            pretrained=workspace.pretrained,
        )
        return self.jobs.setdefault(key(spec), Job(workspace, spec, *jobs))

    def _pool(self, imbalance: int | None, kind: str, levels: tuple[int, ...] | None) -> str:
        found = spectrum(self.workspace, imbalance, kind, levels)
        _check_spectrum(self.workspace, found, imbalance, kind, levels)
        return stages.pool_key(found, stages.scorer(self.workspace, kind))


def check_text(method: Method, workspace: Workspace) -> None:
    """UsageError when the method reads captions and the data set's backbone cannot."""
    if method.needs_text is not None and workspace.recipe.pretrained is None:
        raise UsageError(
            f"{method.needs_text} needs an image-text model, and {workspace.recipe.backbone}, the "
            f"backbone of {workspace.module.NAME} in profile {workspace.profile}, reads no text; "
            "iwildcam's does"
        )


def levels_read(workspace: Workspace, methods: Sequence[Method]) -> list[int]:
    """Levels of the spectrum, in hundredths, that methods read; the recipe's if none reads any."""
    own = stages.recipe_levels(workspace.recipe)
    read = [own if m.levels is None else m.levels for m in methods if m.reads == "spectrum"]
    return sorted({level for levels in read or [own] for level in levels})


def spectrum(
    workspace: Workspace,
    imbalance: int | None,
    kind: str = "spectrum",
    levels: tuple[int, ...] | None = None,
) -> pl.DataFrame:
    """The scored synthetic images of a kind, of the hard samples at an imbalance ratio.

    levels: of the spectrum, in hundredths; None takes the recipe's.
    """
    rows = stages.read(workspace.work / f"{kind}.parquet", "harness score")
    cells = (
        stages.grid(workspace, stages.PoolPart(kind, levels)).select("guidance", "seed").unique()
    )
    seen = rows.join(cells, on=("guidance", "seed"), how="semi", maintain_order="left")
    mine = hard(workspace, imbalance).select("source")
    return seen.join(mine, on="source", how="semi", maintain_order="left")


def _check_spectrum(
    workspace: Workspace,
    found: pl.DataFrame,
    imbalance: int | None,
    kind: str,
    levels: tuple[int, ...] | None,
) -> None:
    """DataError unless these are the images that the recipe asks for now, but for failed ones."""
    part = stages.PoolPart(kind, levels)
    asked = stages.requests(workspace, part)
    asked = asked.join(hard(workspace, imbalance), on="source", how="semi")
    missing = asked.join(found, on="key", how="anti")
    missing = missing.join(stages.failed(workspace, part), on="key", how="anti")
    if len(missing) or len(found) > len(asked):
        said = f"{len(missing)} of {len(asked)} synthetic images are not scored"
        raise DataError(f"{said}; `harness generate` and `harness score` do what is missing")


def hard(workspace: Workspace, imbalance: int | None) -> pl.DataFrame:
    """The hard samples at an imbalance ratio."""
    samples = stages.read(workspace.work / "hard.parquet", "harness hard")
    return samples.filter(stages.at_imbalance(imbalance))
