"""The record of a run, from the files in its folder; nothing is trained or loaded."""

from __future__ import annotations

import itertools
from typing import Any

from harness.core import documents
from harness.core.guidance import hundredths
from harness.pipeline import run_files, stages
from harness.pipeline.jobs import Job
from harness.results import predictions, records

ABOUT, BEHAVIOUR, HISTORY = "run.json", "behaviour.json", "epochs.jsonl"  # in a run's folder


def record(job: Job) -> dict[str, Any]:
    """Metrics of the stored predictions, as a record; nothing is trained or loaded."""
    workspace, spec = job.workspace, job.spec
    data = stages.load(workspace, spec.imbalance)
    counts, tables = data.counts, {}
    for name in records.SELECTIONS:
        path = job.folder / f"predictions-{name}.parquet"
        if name == "last" or path.exists():
            run_files.check(job.folder, path.name)
            tables[name] = stages.read(path, "harness train")
    selection = {name: workspace.module.metrics(tables[name], counts) for name in tables}
    splits = {name: split.table for name, split in data.splits.items()}
    packed = predictions.pack(tables, len(counts), splits)
    n_test = len(tables["last"])
    about = {**json_of(job, ABOUT), "behaviour": json_of(job, BEHAVIOUR) or None}
    return records.record(
        spec, selection, counts, n_test, packed=packed, levels=_levels(job), about=about
    )


def json_of(job: Job, name: str) -> dict[str, Any]:
    """A file of the run's folder; empty where the run wrote none."""
    path = job.folder / name
    if not path.is_file():
        return {}
    return dict(documents.json_value(run_files.check(job.folder, name), "run"))


def _levels(job: Job) -> list[list[Any]] | None:
    """Guidance levels (hundredths) of each epoch, as [levels, epochs in a row]; [] is real images.

    None where nothing was trained.
    """
    if not (job.folder / HISTORY).is_file():
        return None
    groups = itertools.groupby(levels_by_epoch(job))
    return [[list(levels), len(list(some))] for levels, some in groups]


def levels_by_epoch(job: Job) -> tuple[tuple[int, ...], ...]:
    """Guidance levels (hundredths) of each epoch of a run that was trained."""
    path = run_files.check(job.folder, HISTORY)
    epochs = documents.json_lines(path, "history of a run")
    return tuple(tuple(hundredths(level) for level in epoch["levels"]) for epoch in epochs)
