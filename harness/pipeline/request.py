"""One request, resolved once: every mistake in it is refused here, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.cluster import Cluster
from harness.core.engine import ENGINES, Engine
from harness.core.errors import UsageError
from harness.core.metrics import rule_named
from harness.pipeline import config
from harness.pipeline.workspace import DATASETS, Workspace
from harness.results import published
from harness.results.own_rows import table_for
from harness.results.published_table import Paper
from harness.results.records import SELECTIONS
from harness.tracking.protocol import check

if TYPE_CHECKING:
    from harness.pipeline.stages import PoolPart

SEED_MAX = 2**31 - 1


@dataclass(frozen=True)
class Choices:
    """What a caller names, as it was named; None or nothing takes the default.

    dataset: a data set, or None where `table` shows only one. rows: expressions; default: the rows
    of the table. seeds, imbalance: default: the recipe's. table: a published table; default: the
    data set's main one. backbone: default: the table's where one is named, else the recipe's.
    overrides: fields of the recipe and their values, over those of params.yaml. root: folder of the
    official files. params: default: params.yaml in `home`. workers: default: one per core.
    origin: of the results that are shown, "own" or "reference"; default: one's own where there are
    any. rerun: repeat runs that other code trained. budget: show what each row of a table takes.
    track: names of trackers; default: those of params.yaml.
    engine: "local" or "ray". address: of the Ray cluster; default: $RAY_ADDRESS, the one that runs
    here, or a new one. gpus_per_worker, memory_per_worker (GiB): what Ray sets aside for each.
    """

    dataset: str | None = None
    rows: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    imbalance: Sequence[int] | None = None
    profile: str = "mini"
    table: str | None = None
    rule: str = "A"
    select: str = "last"
    backbone: str | None = None
    overrides: tuple[tuple[str, Any], ...] = ()
    home: Path = Path()
    root: Path | None = None
    params: Path | None = None
    device: str = "cpu"
    workers: int | None = None
    origin: str | None = None
    rerun: bool = False
    budget: bool = False
    track: Sequence[str] | None = None
    engine: str = "local"
    address: str | None = None
    gpus_per_worker: float | None = None
    memory_per_worker: float | None = None


@dataclass(frozen=True)
class Request:
    """What to do, on which data and with which recipe; nothing in it is resolved again.

    device, workers and cluster (None: this machine) are no part of what is hashed. rows (canonical
    expressions), imbalances, seeds, kinds and levels are empty where a command runs no methods;
    paper is None where it needs no published table.
    """

    workspace: Workspace
    rows: tuple[str, ...] = ()
    imbalances: tuple[int | None, ...] = ()
    seeds: tuple[int, ...] = ()
    needs_hard: bool = False  # whether a run of theirs reads which images are hard
    kinds: tuple[str, ...] = ()  # of synthetic images that the rows' runs read
    levels: tuple[int, ...] = ()  # of their spectra, in hundredths
    paper: Paper | None = None
    rule: str = "A"
    select: str = "last"
    rows_named: bool = False  # by the caller, and not those of the table
    device: str = "cpu"
    workers: int | None = None
    cluster: Cluster | None = None
    origin: str | None = None  # of the results that are shown
    rerun: bool = False  # runs that other code trained
    budget: bool = False  # whether its table shows what each row takes
    track: tuple[str, ...] = ()  # names of trackers

    @property
    def dataset(self) -> str:
        """Printed name of the data set."""
        return str(self.workspace.module.NAME)

    @property
    def profile(self) -> str:
        return self.workspace.profile

    @property
    def parts(self) -> tuple[PoolPart, ...]:
        """The synthetic images that the rows read, by kind."""
        from harness.pipeline.stages import PoolPart

        return tuple(PoolPart(kind, self.levels) for kind in self.kinds)


def resolve(choices: Choices, *, methods: bool = False, table: bool = False) -> Request:
    """The request that the choices name.

    methods: whether methods are to run or to be counted, the table's where no rows are named;
    table: whether a leaderboard is shown.
    UsageError for an unknown data set, profile, field of the recipe, backbone, table, grouping
    rule, selection, method or device, and for seeds, imbalance ratios and workers that are not
    allowed; DataError for a params.yaml or a table that cannot be read, and for a Ray cluster with
    an address that does not answer.
    """
    _check_types(choices)
    if table:
        rule_named(choices.rule)
        registry.one_of("select", choices.select, SELECTIONS)
    dataset = _dataset_of(choices.table) if choices.dataset is None else choices.dataset
    module = registry.find(DATASETS, dataset)
    named = choices.rows is not None
    paper = None
    if (choices.table is not None or not named) and (table or methods):
        paper = published.read(_file_of(choices.table, module.NAME))
    if paper is not None and paper.kind == "pool":
        raise UsageError(f"{paper.file} counts synthetic images; `harness hard` prints it")
    if table and choices.select == "best_val" and module.VAL is None:
        allowed = "last, oracle (best on the test set)"
        raise UsageError(f"{module.NAME} has no validation split to select by; allowed: {allowed}")
    request = Request(
        workspace=_workspace(choices, module.NAME, paper if methods else None),
        paper=paper,
        rule=choices.rule,
        select=choices.select,
        rows_named=named,
        device=choices.device,
        workers=choices.workers,
        cluster=_cluster(choices),
        origin=choices.origin,
        rerun=choices.rerun,
        budget=choices.budget,
        track=_trackers(choices) if methods else (),
    )
    Engine(request.device, request.workers, request.cluster).check()
    if methods or named:
        request = _with_methods(request, choices)
    if request.cluster is not None:
        request.cluster.check()
    shown = table and bool(request.rows or choices.backbone is not None)
    return _with_own_rows(request, choices) if shown else request


def _cluster(choices: Choices) -> Cluster | None:
    """The Ray cluster that is to do the work; UsageError for what only one can use."""
    registry.one_of("engine", choices.engine, ENGINES)
    settings = (choices.address, choices.gpus_per_worker, choices.memory_per_worker)
    if choices.engine == "ray":
        return Cluster(choices.address, 1, choices.gpus_per_worker, choices.memory_per_worker or 0)
    names = ("address", "gpus_per_worker", "memory_per_worker")
    for name, value in zip(names, settings, strict=True):
        if value is not None:
            raise UsageError(f"{name} {value} is of a Ray cluster: it needs the engine ray")
    return None


def _with_own_rows(request: Request, choices: Choices) -> Request:
    """With a leaderboard in which the runs of the rows stand, those of the request's backbone."""
    rows, ratios = request.rows, request.imbalances
    backbone: str | None = request.workspace.recipe.backbone
    if choices.table is not None and choices.backbone is None:
        backbone = None  # the table says its own
    paper = table_for(request.dataset, rows, ratios, choices.table, backbone=backbone)
    return replace(request, paper=paper)


def _workspace(choices: Choices, dataset: str, paper: Paper | None) -> Workspace:
    """Of the data set and profile, with the recipe's overrides; its recipe is resolved."""
    home = Path(choices.home)
    overrides = config.overrides(choices.params, home, choices.profile, dataset)
    backbone = choices.backbone
    if backbone is None and choices.table is not None and paper is not None:
        backbone = paper.backbone
    root = None if choices.root is None else Path(choices.root)
    settings = tuple(choices.overrides)
    workspace = Workspace(dataset, choices.profile, home, root, overrides, backbone, settings)
    _ = workspace.recipe
    return workspace


def _with_methods(request: Request, choices: Choices) -> Request:
    """With the rows, or those of the table, and all that their runs need."""
    from harness.pipeline.jobs import check_text, kinds_read, levels_read, method_runs, needs_hard

    workspace = request.workspace
    if choices.rows is None:
        assert request.paper is not None
        texts: Sequence[str] = [row.method for row in request.paper.rows]
    else:
        texts = choices.rows
    rows = tuple(dict.fromkeys(_expression(text, workspace) for text in texts))
    methods = [run.method for run in method_runs(workspace, rows).values()]
    for method in methods:
        check_text(method, workspace)
    return replace(
        request,
        rows=rows,
        imbalances=workspace.imbalances(choices.imbalance),
        seeds=tuple(dict.fromkeys(choices.seeds or workspace.recipe.run_seeds)),
        needs_hard=any(map(needs_hard, methods)),
        kinds=tuple(kinds_read(methods)),
        levels=tuple(levels_read(workspace, methods)),
    )


def _trackers(choices: Choices) -> tuple[str, ...]:
    """Those that the caller names, or params.yaml."""
    named = choices.track
    return check(config.trackers(choices.params, Path(choices.home)) if named is None else named)


def _expression(text: str, workspace: Workspace) -> str:
    from harness.methods.compose import compose

    return compose(text, workspace.module.NAME, workspace.profile).expression


def _check_types(choices: Choices) -> None:
    """UsageError for what is no text, lists that are empty and numbers that are not allowed."""
    texts = ("dataset", "profile", "table", "rule", "select", "backbone", "device", "engine")
    for name in (*texts, "address"):
        value = getattr(choices, name)
        if not (value is None or isinstance(value, str)):
            raise UsageError(f"{name}: {value!r} is not a text")
    lists = {"rows": choices.rows, "seeds": choices.seeds, "imbalance": choices.imbalance}
    if isinstance(choices.track, str):
        raise UsageError(f"track: {choices.track!r} is not allowed; a list of them is expected")
    for name, values in lists.items():
        if isinstance(values, str) or not (values is None or isinstance(values, Sequence)):
            raise UsageError(f"{name}: {values!r} is not allowed; a list of them is expected")
        if values is not None and not len(values):
            raise UsageError(f"{name}: an empty list is not allowed; leave it out for the default")
    for text in choices.rows or ():
        if not isinstance(text, str):
            raise UsageError(f"rows: {text!r} is not an expression such as 'CE+DisCL'")
    for seed in choices.seeds or ():
        _whole("seeds", seed, 0, SEED_MAX)
    for ratio in choices.imbalance or ():
        _whole("imbalance", ratio, 1)
    if choices.workers is not None:
        _whole("workers", choices.workers, 1)
    for name in ("gpus_per_worker", "memory_per_worker"):
        value = getattr(choices, name)
        if value is not None and not (type(value) in (int, float) and 0 <= value < 1e6):
            raise UsageError(f"{name}: {value!r} is not a number from 0")


def _whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        upper = "" if high is None else f" to {high}"
        raise UsageError(f"{name}: {value!r} is not a whole number from {low}{upper}")


def _file_of(table: str | None, dataset: str) -> Path:
    """The published table of that name, or the data set's main one."""
    if table is None:
        return published.of(dataset)
    path = published.find(table)
    shown = published.read(path).datasets
    if dataset not in shown:
        known = ", ".join(file.stem for file in published.showing(dataset)) or "none"
        raise UsageError(
            f"{table} is of {', '.join(shown)} and does not show {dataset}; tables of {dataset}: "
            f"{known}"
        )
    return path


def _dataset_of(table: str | None) -> str:
    """The only data set of a published table."""
    if table is None:
        raise UsageError(
            "whose table? Name a data set (--dataset; see `harness list`) or a table (--table)"
        )
    datasets = published.read(published.find(table)).datasets
    if len(datasets) != 1:
        raise UsageError(f"{table} is of {', '.join(datasets)}; name one of them: --dataset")
    return datasets[0]
