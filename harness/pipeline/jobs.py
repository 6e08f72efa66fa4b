"""Which training runs there are, and what each of them needs."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from harness.core import digests
from harness.core.errors import DataError, UsageError
from harness.core.specs import RunSpec, key
from harness.methods.compose import compose
from harness.methods.terms import Method
from harness.pipeline import run_files, stages
from harness.pipeline.recipe_fields import relevant
from harness.pipeline.workspace import Workspace
from harness.pool import cache
from harness.results import records


@dataclass(frozen=True)
class Job:
    """One run to do, and the runs it needs."""

    workspace: Workspace
    spec: RunSpec
    start: Job | None  # whose weights it starts from
    reference: Job | None = None  # which it consults
    merges: Job | None = None  # whose weights its ensemble merges; then nothing is trained
    tables: tuple[tuple[str, str], ...] = ()  # digests of the hard samples and pictures it reads

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
        """Whether it came to its end, its files are there, and it read what is there now.

        The bytes of its files are checked when they are read.
        """
        try:
            done = run_files.read(self.folder)
        except DataError:
            return False
        if done is None:
            return False
        files = ["predictions-last.parquet"]
        files += [] if self.merges else [run_files.WEIGHTS, "predictions-oracle.parquet"]
        there = all((self.folder / name).is_file() for name in files)
        return there and done.whole(self.folder) and done.read in (None, self.reads)

    @property
    def reads(self) -> dict[str, str]:
        """Digests of what it reads beside the data set: see run_files."""
        needs = {role: getattr(self, role) for role in NEEDS}
        weights = {role: job.weights for role, job in needs.items() if job is not None}
        return weights | dict(self.tables)

    @property
    def weights(self) -> str:
        """SHA-256 of its weights as it wrote them; "" where there are none."""
        name = run_files.WEIGHTS
        try:
            done = run_files.read(self.folder)
        except DataError:
            return ""
        if done is None or not (self.folder / name).is_file():
            return ""
        files = done.files or {}
        return files[name][1] if name in files else digests.of_file(self.folder / name)

    @property
    def recorded(self) -> bool:
        """Whether the record is there, and that of this very run."""
        return records.is_of(self.record, key(self.spec))


@dataclass(frozen=True)
class MethodRun:
    """A method to run, and the runs that it needs, at whatever imbalance ratio and seed."""

    method: Method
    role: str  # "row", or which of NEEDS it is to the first run that needs it
    needs: dict[str, str]  # canonical expressions by role


NEEDS = ("start", "reference", "merges")  # as in Job


def method_runs(workspace: Workspace, expressions: Sequence[str]) -> dict[str, MethodRun]:
    """The methods of these rows and of the runs they need, by canonical expression.

    Each once, needed ones first. Known without data.
    """
    runs: dict[str, MethodRun] = {}

    def add(text: str, role: str) -> str:
        method = compose(text, workspace.module.NAME, workspace.recipe.profile)
        name = method.expression
        start = method.start if workspace.recipe.onward is not None else None
        needed = zip(NEEDS, (start, method.reference, method.merges), strict=True)
        needs = {role: add(other, role) for role, other in needed if other is not None}
        known = runs.get(name)
        if known is None:
            runs[name] = MethodRun(method, role, needs)
        elif role == "row":
            runs[name] = replace(known, role=role)
        return name

    for text in expressions:
        add(text, "row")
    return runs


def plan(
    workspace: Workspace,
    expressions: Sequence[str],
    imbalances: Sequence[int | None],
    seeds: Sequence[int],
) -> list[Job]:
    """The jobs of these rows and of the runs they need, each once, needed ones first."""
    methods = method_runs(workspace, expressions)
    for run in methods.values():
        check_text(run.method, workspace)
    tables = _Tables(workspace)
    jobs: list[Job] = []
    for imbalance, seed in itertools.product(dict.fromkeys(imbalances), dict.fromkeys(seeds)):
        by_method: dict[str, Job] = {}
        for name, run in methods.items():
            needs = {role: by_method[other] for role, other in run.needs.items()}
            by_method[name] = _job(workspace, run.method, imbalance, seed, needs, tables)
        jobs += by_method.values()
    return jobs


def _job(
    workspace: Workspace,
    method: Method,
    imbalance: int | None,
    seed: int,
    needs: dict[str, Job],
    tables: _Tables,
) -> Job:
    keys = {role: key(job.spec) for role, job in needs.items()}
    spec = RunSpec(
        dataset=workspace.module.NAME,
        imbalance=imbalance,
        method=method.expression,
        arguments=method.arguments,
        seed=seed,
        recipe=relevant(workspace.recipe, method),
        index=stages.load(workspace, imbalance).index_hash,
        pool=tables.pool_key(imbalance, method.reads, method.levels) if method.reads else None,
        start=keys.get("merges") or keys.get("start"),
        reference=keys.get("reference"),
        pretrained=workspace.pretrained,
    )
    roles = {role: needs.get(role) for role in NEEDS}
    return Job(workspace, spec, **roles, tables=tuple(tables.read_by(method, imbalance)))


class _Tables:
    """Keys and digests of the tables that runs of a workspace read, each made once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.hard = functools.cache(self._hard)
        self.pictures = functools.cache(self._pictures)
        self.pool_key = functools.cache(self._pool_key)
        self.spectrum = functools.cache(functools.partial(spectrum, workspace))

    def read_by(self, method: Method, imbalance: int | None) -> Iterator[tuple[str, str]]:
        """Digests by name, as run_files keeps them."""
        if needs_hard(method):
            yield "hard", self.hard(imbalance)
        if method.reads is not None:
            yield "pool", self.pictures(imbalance, method.reads, method.levels)

    def _hard(self, imbalance: int | None) -> str:
        rows = hard(self.workspace, imbalance).select("id", "label", "source")
        return _digest(rows.sort("id", "label"))

    def _pictures(self, imbalance: int | None, kind: str, levels: tuple[int, ...] | None) -> str:
        """Over the pictures' bytes, as their crc32 stand for them."""
        keys = self.spectrum(imbalance, kind, levels).select("key").unique()
        index = cache.read_index(self.workspace.pool).select("key", "crc32")
        return _digest(keys.join(index, on="key", how="left").sort("key"))

    def _pool_key(self, imbalance: int | None, kind: str, levels: tuple[int, ...] | None) -> str:
        rows = self.spectrum(imbalance, kind, levels)
        _check_spectrum(self.workspace, rows, imbalance, kind, levels)
        return stages.pool_key(rows, stages.scorer(self.workspace, kind))


def _digest(rows: pl.DataFrame) -> str:
    """SHA-256 over rows as text, whatever their layout in memory."""
    text = "".join(f"{' '.join(map(str, row))}\n" for row in rows.iter_rows())
    return hashlib.sha256(text.encode()).hexdigest()


def check_text(method: Method, workspace: Workspace) -> None:
    """UsageError when the method reads captions and the data set's backbone cannot."""
    if method.needs_text is not None and workspace.recipe.pretrained is None:
        raise UsageError(
            f"{method.needs_text} needs an image-text model, and {workspace.recipe.backbone}, the "
            f"backbone of {workspace.module.NAME} in profile {workspace.profile}, reads no text; "
            "iwildcam's does"
        )


def needs_hard(method: Method) -> bool:
    """Whether a run's rows say which images are hard.

    They do where it reads synthetic images or goes onward; the others may be what says it.
    """
    return method.reads is not None or method.start is not None


def kinds_read(methods: Iterable[Method]) -> list[str]:
    """Kinds of synthetic images that methods read."""
    return sorted({method.reads for method in methods if method.reads is not None})


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

    An image has a row for each label that it serves (stages.SCORE_COLUMNS). levels: of the
    spectrum, in hundredths; None takes the recipe's.
    """
    rows = scored(workspace, kind)
    cells = stages.grid(workspace, stages.PoolPart(kind, levels))
    cells = cells.select("guidance", "seed").unique()
    rows = rows.join(cells, on=("guidance", "seed"), how="semi", maintain_order="left")
    return rows.join(
        hard(workspace, imbalance), on=("source", "label"), how="semi", maintain_order="left"
    )


def scored(workspace: Workspace, kind: str = "spectrum") -> pl.DataFrame:
    """All scored synthetic images of a kind; DataError where they are not there, or not so yet."""
    path = workspace.work / f"{kind}.parquet"
    rows = stages.read(path, "harness score")
    if set(rows.columns) != set(stages.SCORE_COLUMNS):
        raise DataError(f"{path} has other columns than now; `harness score` makes it again")
    return rows


def _check_spectrum(
    workspace: Workspace,
    rows: pl.DataFrame,
    imbalance: int | None,
    kind: str,
    levels: tuple[int, ...] | None,
) -> None:
    """DataError unless these are the images that the recipe asks for now, but for failed ones."""
    part = stages.PoolPart(kind, levels)
    requests = stages.labelled_requests(workspace, part)
    requests = requests.join(hard(workspace, imbalance), on=("source", "label"), how="semi")
    tried = requests.join(stages.failed(workspace, part), on="key", how="anti")
    missing = tried.join(rows, on=("key", "label"), how="anti")
    if len(missing) or len(rows) > len(requests):
        raise DataError(
            f"{len(missing)} of {len(requests)} synthetic images are not scored; "
            "`harness generate` and `harness score` do what is missing"
        )


def hard(workspace: Workspace, imbalance: int | None) -> pl.DataFrame:
    """The hard samples at an imbalance ratio."""
    rows = stages.read(workspace.work / "hard.parquet", "harness hard")
    return rows.filter(stages.at_imbalance(imbalance))
