"""Runs that train nothing, such as zero-shot ones: the same for every seed, so computed once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

from harness.core import parallel
from harness.core.errors import DataError
from harness.core.files import atomic
from harness.core.locks import locked
from harness.core.specs import Recipe, key
from harness.methods.terms import Method
from harness.pipeline import run_files
from harness.pipeline.jobs import Job
from harness.pipeline.run_record import ABOUT


def is_untrained(method: Method, recipe: Recipe) -> bool:
    """Whether a run has no phase, and starts from the pretrained weights: no seed plays a part."""
    finetune = method.finetune
    if recipe.pretrained is None or method.start is not None or finetune is None:
        return False
    return not finetune.phases(recipe.scratch)


def copied(job: Job) -> bool:
    """Take the files of the same run with another seed, where one of the recipe's has them.

    One of a lower seed that is being done now is waited for.
    """
    if parallel.ranks() > 1 or not is_untrained(job.method(), job.spec.recipe):
        return False
    return any(_copy(other, job) for other in _siblings(job))


def _siblings(job: Job) -> Iterator[Job]:
    """The same run with the other seeds of the recipe, once nobody is doing it."""
    for seed in sorted(job.workspace.recipe.run_seeds):
        if seed == job.spec.seed:
            continue
        other = _with_seed(job, seed)
        # Only lower ones are waited for, so that no two wait for each other.
        with locked(other.folder, wait=seed < job.spec.seed) as free:
            if free and other.trained:
                yield other


def _with_seed(job: Job, seed: int) -> Job:
    merges = None if job.merges is None else _with_seed(job.merges, seed)
    start = job.spec.start if merges is None else key(merges.spec)
    return replace(job, spec=replace(job.spec, seed=seed, start=start), merges=merges)


def _copy(other: Job, job: Job) -> bool:
    """Whether all files could be copied; what was copied before a damaged one is written again."""
    done = run_files.read(other.folder)
    if done is None or done.files is None:
        return False
    try:
        for name in done.files:
            if name != ABOUT:
                source = run_files.check(other.folder, name)
                with open(source, "rb") as read, atomic(job.folder / name) as write:
                    shutil.copyfileobj(read, write, 2**24)
    except (DataError, OSError):
        return False
    return True
