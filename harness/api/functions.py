"""The functions of the public API; arguments that several share are described at `compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import steps
from harness.api.result import Result
from harness.core.errors import UsageError
from harness.pipeline.request import Choices, resolve

if TYPE_CHECKING:
    from harness.api.plans import PlanResult
    from harness.methods.terms import Method


def compare(
    dataset: str,
    rows: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    imbalance: Sequence[int] | None = None,
    profile: str = "mini",
    set: Mapping[str, Any] | None = None,
    home: str | Path = ".",
    root: str | Path | None = None,
    params: str | Path | None = None,
    table: str | None = None,
    backbone: str | None = None,
    rule: str = "A",
    select: str = "last",
    device: str = "cpu",
    workers: int | None = None,
    track: Sequence[str] | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Result:
    """Run what is missing, from the index to the records, and return the results.

    dataset: a name of `harness list`, such as "cifar100-lt".
    rows: methods as expressions, such as ["CE", "CE+DisCL"]; default: the rows of the table.
    seeds, imbalance: of the runs; default: the recipe's.
    profile: "mini" (built-in world), "smoke" (the same, cut down) or "paper" (real data).
    set: fields of the recipe and their values, such as {"threshold": 0.5}; they come after those of
    params.yaml (`params`; default: the one in `home`, if it is there).
    home: folder below which everything is written. root: folder of the official files.
    table: a published table, which may name another backbone; default: the data set's main one.
    rule: how classes are grouped. select: the epoch of a run: "last", "best_val", "oracle".
    device: "cpu", "cuda", "cuda:0", ... workers: processes; default: one per core, or GPU.
    track: "json", "dvclive", "tensorboard", "wandb"; default: those of params.yaml.
    engine: "local", or "ray" for a Ray cluster; address: of the cluster; default: $RAY_ADDRESS, the
    one that runs on this machine, or a new one.

    Where runs or images fail, the others are made, and Unfinished (a DataError) says which.
    Raises UsageError, before any work, for names and values that are not allowed; DataError for
    files that are missing, damaged or not writable. An interrupted call resumes when repeated.
    """
    choices = Choices(
        dataset, rows, seeds, imbalance, profile, table, rule, select, backbone, pairs(set),
        Path(home), _path(root), _path(params), device, workers, engine=engine, address=address,
        track=track,
    )  # fmt: skip
    request = resolve(choices, methods=True, table=True)
    request.workspace.check_built_in()
    for _ in steps.run(request):
        pass
    return Result(request)


def train(
    dataset: str,
    rows: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    imbalance: Sequence[int] | None = None,
    profile: str = "mini",
    set: Mapping[str, Any] | None = None,
    home: str | Path = ".",
    root: str | Path | None = None,
    params: str | Path | None = None,
    table: str | None = None,
    backbone: str | None = None,
    device: str = "cpu",
    workers: int | None = None,
    track: Sequence[str] | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Result:
    """Train the runs that are missing; the stages before have to be done. Arguments: `compare`.

    `result.runs()` has a row per run. DataError names the stage that is to be done first.
    """
    choices = Choices(
        dataset, rows, seeds, imbalance, profile, table, backbone=backbone, overrides=pairs(set),
        home=Path(home), root=_path(root), params=_path(params), device=device, workers=workers,
        track=track,
        engine=engine, address=address,
    )  # fmt: skip
    request = resolve(choices, methods=True)
    steps.train_alone([request])
    return Result(request)


def table(
    dataset: str | None = None,
    rows: Sequence[str] | None = None,
    *,
    table: str | None = None,
    profile: str = "mini",
    set: Mapping[str, Any] | None = None,
    home: str | Path = ".",
    params: str | Path | None = None,
    backbone: str | None = None,
    rule: str = "A",
    select: str = "last",
    budget: bool = False,
) -> Result:
    """The results that are there, beside the published ones; nothing is run. Arguments: `compare`.

    dataset: may be left out where `table` is of one data set only. rows: default: all of them.
    budget: show the steps, the images seen and the images generated of each row, too.
    """
    choices = Choices(
        dataset, rows, profile=profile, table=table, rule=rule, select=select, backbone=backbone,
        overrides=pairs(set), home=Path(home), params=_path(params), budget=budget,
    )  # fmt: skip
    return Result(resolve(choices, table=True))


def plan(
    dataset: str,
    rows: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    imbalance: Sequence[int] | None = None,
    profile: str = "mini",
    set: Mapping[str, Any] | None = None,
    home: str | Path = ".",
    root: str | Path | None = None,
    params: str | Path | None = None,
    table: str | None = None,
    backbone: str | None = None,
    tflops: float | None = None,
) -> PlanResult:
    """What the rows would run and cost; needs no data and runs nothing. Arguments: `compare`.

    tflops: rate of the machine to plan for, TFLOP/s; default: assumed ones, which the plan names.
    """
    from harness.api.plans import plan_of

    choices = Choices(
        dataset, rows, seeds, imbalance, profile, table, backbone=backbone, overrides=pairs(set),
        home=Path(home), root=_path(root), params=_path(params),
    )  # fmt: skip
    return plan_of(resolve(choices, methods=True), tflops)


def compose(expression: str, dataset: str | None = None, profile: str = "paper") -> Method:
    """The method that an expression names, such as "CE+DisCL(levels=(0.5,))", with fresh objects.

    dataset, profile: where it is to run; some arguments have other defaults there.
    UsageError for unknown terms and arguments, and for terms that do not fit together.
    """
    from harness.methods.compose import compose as compose_method

    return compose_method(expression, dataset, profile)


def pairs(set: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """Fields of the recipe and their values; UsageError for what is no table of names."""
    whole = set is None or (isinstance(set, Mapping) and all(isinstance(n, str) for n in set))
    if not whole:
        raise UsageError(f"set: {set!r} is not a table of names and values")
    return tuple((set or {}).items())


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
