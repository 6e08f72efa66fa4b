"""Training runs: doing those that are not done, in parallel, and what they leave behind."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from harness.core import devices, parallel, parquet
from harness.core.attempts import Failure
from harness.core.cluster import Cluster
from harness.core.digests import Damaged, damaged, remade
from harness.core.engine import Engine
from harness.core.files import sweep, write_atomic
from harness.core.locks import is_locked, locked, warn_where_useless
from harness.core.machine import cpu_name, system_name
from harness.core.progress import ProgressBar
from harness.core.specs import Machine, key, plain
from harness.methods.compose import compose
from harness.pipeline import run_files, stages, untrained
from harness.pipeline.code import code_of
from harness.pipeline.jobs import Job, plan
from harness.pipeline.run_data import train_data
from harness.pipeline.run_progress import Numbers, RunProgress, begin, counter, headline
from harness.pipeline.run_record import ABOUT, json_of, levels_by_epoch, record
from harness.pipeline.run_todo import Todo
from harness.pipeline.run_tracking import RunTracking
from harness.pipeline.workspace import Workspace
from harness.results import records

T = TypeVar("T")
WAIT_S = 1.0  # between two looks at runs that other processes do
log = logging.getLogger("harness")


def run(
    jobs: Sequence[Job],
    workers: int | None = None,
    device: str = "cpu",
    rerun: bool = False,
    track: Sequence[str] = (),
    cluster: Cluster | None = None,
    failed: Mapping[str, str] | None = None,
) -> int:
    """Train what is not trained, starts before those that need them; returns how many.

    rerun: also what other code trained, and what started from such runs. track: names of trackers.
    cluster: where to train; None is this machine. failed: reasons by key of runs that failed before
    and are not to be tried.

    Runs that are trained and have no record, or an older one, are scored from their predictions.
    Under `accelerate launch` all processes work on one run at a time, otherwise one run each. A run
    that fails is written down in its folder and the others go on; Unfinished then says at the end
    which runs failed, and which wait for them.
    """
    engine = Engine(device, workers, cluster)
    engine.check()
    first, ranks = parallel.rank() == 0, parallel.ranks()
    if rerun and first:
        _forget_other_code(jobs)
    jobs = list({key(job.spec): job for job in jobs}.values())
    todo = Todo(jobs, failed)
    if first:
        todo.complete()
    several = engine.count if cluster is None else 2
    count = 1 if ranks > 1 else several
    machine = Machine(device=device, workers=count, threads=1, bars=ranks > 1 and first)
    log.debug("%d runs, at most %d at once, on %s", len(jobs), count, device)
    tracking = RunTracking(track if first else (), device)
    left = _agreed(todo.jobs, device)
    command = secrets.token_hex(8)
    with RunProgress(left, shown=first, tracking=tracking, command=command) as progress:
        while wave := _agreed(todo.wave, device):
            warn_where_useless(wave[0].folder)
            _run_wave(wave, engine, machine, progress, todo)
    unfinished = todo.unfinished()
    if unfinished is not None:
        raise unfinished
    return len(todo.ended)


def _run_wave(
    wave: Sequence[Job], engine: Engine, machine: Machine, progress: RunProgress, todo: Todo
) -> None:
    """Do runs that need none of each other; those that others are doing now are waited for."""
    while wave:
        work, busy = [(job, machine, progress.command) for job in wave], []
        for (job, _, _), outcome in engine.run(_train, work):
            if outcome is None:
                busy.append(job)
            elif isinstance(outcome, Failure):
                run_files.write_failure(job.folder, plain(job.spec), outcome)
                todo.failed[key(job.spec)] = outcome.reason
                progress.fail(job, outcome.reason)
            else:
                todo.ended.add(key(job.spec))
                progress.end(job, outcome)
        if busy:
            progress.bar.say(f"train: waiting for {len(busy)} runs that another process does")
        if busy and parallel.ranks() > 1:
            time.sleep(WAIT_S)
        elif busy:
            _wait_for_any(busy)
        wave = busy


def _wait_for_any(jobs: Sequence[Job]) -> None:
    """Until another process lets go of one of the runs: what needs it, or it failed, can go on."""
    while all(is_locked(job.folder) for job in jobs):
        time.sleep(WAIT_S)


def _forget_other_code(jobs: Sequence[Job]) -> None:
    """Runs of other code count as not done, and those that need them."""
    code, again = code_of("train"), set()
    for job in jobs:
        if json_of(job, ABOUT).get("code") != code or any(key(n.spec) in again for n in job.needs):
            again.add(key(job.spec))
            (job.folder / run_files.DONE).unlink(missing_ok=True)


def _train(work: tuple[Job, Machine, str]) -> Numbers | None:
    """Do a run, keep weights and predictions, write the record; its headline numbers.

    None where another process does it now; what another has done meanwhile is taken as it is. work
    ends with the name of the command.
    """
    job, machine, command = work
    first = parallel.rank() == 0
    with locked(job.folder, wait=False) if first else nullcontext(True) as ours:
        state = _agreed(lambda: _state(job, ours), machine.device)
        if state == "busy":
            return None
        if state == "to do":
            if first:
                begin(job.folder, command)
            return _train_here(job, machine)
        content = record(job)
        if first and not job.recorded:
            records.write(content, job.workspace.records)
    return _numbers(job, content)


def _state(job: Job, ours: bool) -> str:
    """ours: whether this process holds the lock of the run."""
    if not ours:
        return "busy"
    return "there" if job.trained else "to do"


def _agreed(value: Callable[[], T], device: str) -> T:
    """What the first process of `accelerate launch` says, in all of them."""
    if parallel.ranks() == 1:
        return value()
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=device == "cpu")
    said: T = broadcast_object_list([value() if parallel.rank() == 0 else None])[0]
    return said


def _numbers(job: Job, content: dict[str, Any]) -> Numbers:
    return headline(job.workspace.module, content["selection"]["last"])


def _train_here(job: Job, machine: Machine) -> Numbers:
    begun, inputs = time.perf_counter(), job.reads
    if parallel.ranks() == 1:
        machine = replace(machine, device=parallel.own_device(machine.device))
    if parallel.rank() == 0:
        sweep(job.folder)
        for name in (run_files.DONE, run_files.FAILED, run_files.PROBABILITIES):  # of other weights
            (job.folder / name).unlink(missing_ok=True)
    if machine.workers > 1:
        ProgressBar.monitor_interval = 0
    if not untrained.copied(job):
        do = _fit if job.merges is None else _merge
        do(job, machine)
    if parallel.rank() == 0:
        _describe(job, machine, time.perf_counter() - begun)
    content = record(job)
    if parallel.rank() == 0:
        (job.folder / "checkpoint.pt").unlink(missing_ok=True)
        run_files.write(job.folder, plain(job.spec), inputs)
        records.write(content, job.workspace.records)
    _wait_for_everyone()  # the next run may start from these weights
    return _numbers(job, content)


def _wait_for_everyone() -> None:
    if parallel.ranks() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def _describe(job: Job, machine: Machine, train_s: float) -> None:
    """Writes by which code and on which machine the run was trained."""
    import torch

    about: dict[str, Any] = {"train_s": train_s, "threads": machine.threads}
    about["code"] = code_of("train")
    about["machine"] = {
        "cpu": cpu_name(),
        "system": system_name(),
        "arithmetic": torch.backends.cpu.get_cpu_capability(),
        "device": machine.device,
        "ranks": parallel.ranks(),
    }
    if devices.device_views(machine):
        about["machine"]["views"] = "device"
    if machine.device != "cpu":  # matrix products: recipe.precision
        about["machine"]["tf32_convolutions"] = torch.backends.cudnn.allow_tf32
    write_atomic(job.folder / ABOUT, json.dumps(about, sort_keys=True).encode())


def _fit(job: Job, machine: Machine) -> None:
    from safetensors.torch import save

    from harness.training.checkpoint import OtherRun
    from harness.training.trainer import fit

    spec, method, reference = job.spec, job.method(), None
    data = train_data(job.workspace, spec.imbalance, method)
    if job.reference is not None and method.repeats:
        data = replace(data, levels=levels_by_epoch(job.reference))
    elif job.reference is not None:
        reference = (job.reference.method().objective, _weights(job.reference))
    train = partial(
        fit, method, data, spec.recipe, spec.seed, job.folder, machine,
        start=_weights(job.start), reference=reference,
        watch=counter(job.folder) if parallel.rank() == 0 else None,
    )  # fmt: skip
    try:
        weights = train()
    except OtherRun:  # begun from weights or rows that have changed since
        if parallel.rank() == 0:
            (job.folder / "checkpoint.pt").unlink(missing_ok=True)
            counter(job.folder)({"anew": True})
        _wait_for_everyone()
        weights = train()
    if parallel.rank() == 0:
        write_atomic(job.folder / run_files.WEIGHTS, save(weights))


def _merge(job: Job, machine: Machine) -> None:
    from harness.training.ensemble import merge

    assert job.merges is not None
    spec, base = job.spec, job.merges
    data = train_data(job.workspace, spec.imbalance, base.method())
    merge(
        job.method(), base.method(), data, spec.recipe, spec.seed, job.folder, machine,
        start=_weights(base.start), end=_weights(base),
    )  # fmt: skip


def _weights(job: Job | None) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if job is None:
        return None
    path = run_files.check(job.folder, run_files.WEIGHTS)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise damaged(path, error, run_files.AGAIN) from None


def judge(
    workspace: Workspace,
    workers: int | None = None,
    device: str = "cpu",
    cluster: Cluster | None = None,
) -> stages.Judge:
    """p(true class) of the training images by the runs that say which of them are hard.

    The mean over the recipe's seeds of the workspace's `hard_by` with the profile's own backbone,
    trained first where it is not.
    """
    own = workspace.of_own_backbone

    def p_true(imbalance: int | None) -> Any:
        judges = [compose(own.hard_by or "", own.module.NAME, own.profile).expression]
        jobs = plan(own, judges, [imbalance], own.recipe.run_seeds)
        run(jobs, workers, device, cluster=cluster)
        last = [job for job in jobs if job.spec.method in judges]
        machine = Machine(device=device)
        return sum(_p_train(job, machine) for job in last) / len(last)

    return p_true


def _p_train(job: Job, machine: Machine) -> Any:
    """p(true class) (N,) of a run's training images, kept in its folder."""
    from harness.training.trainer import first_weights

    path = job.folder / run_files.PROBABILITIES
    known = _known_probabilities(path)
    if known is None:
        method, spec = job.method(), job.spec
        data = train_data(job.workspace, spec.imbalance, method)
        loop, _ = first_weights(
            method, data, spec.recipe, spec.seed, job.folder, machine, _weights(job)
        )
        known = pl.DataFrame({"p_true": loop.probe(data.rows)[1]})
        parquet.write(path, known)
    return known["p_true"].to_numpy().astype("float64")


def _known_probabilities(path: Path) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    try:
        return stages.read(path, "harness hard")
    except Damaged as error:
        remade(error)
        return None
