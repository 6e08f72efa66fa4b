"""The gate over all data sets of a profile: checking, writing golden numbers, calibrating them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.core.shipped import REFERENCE
from harness.pipeline.config import overrides
from harness.pipeline.matching import Matched, match
from harness.pipeline.request import Request
from harness.pipeline.workspace import DATASETS, Workspace
from harness.results import gate, golden, spread, store, table_files
from harness.results.gate import Report, Speed
from harness.results.golden import ALL_ROWS, Golden
from harness.results.store import Results

Record = Mapping[str, Any]
CHECKS = 2000  # simulated, to say how often unchanged code is flagged
# Environment variables under which the same code gives other last digits.
ARITHMETIC: dict[str, dict[str, str]] = {
    "default": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "portable": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


@dataclass(frozen=True)
class _DataSet:
    """The results of a data set, whose they are, and which the present parameters ask for."""

    workspace: Workspace
    results: Results
    matched: Matched

    @property
    def notes(self) -> tuple[str, ...]:
        return store.notes(self.results, self.matched)


def _read(
    profile: str,
    home: Path,
    datasets: Sequence[str],
    settings: Sequence[tuple[str, Any]] = (),
    params: Path | None = None,
) -> dict[str, _DataSet]:
    """Of some data sets, or of all with results. params: default: params.yaml in `home`."""
    found = {}
    for name in datasets or store.datasets(profile, home):
        given = overrides(params, home, profile, name)
        workspace = Workspace(name, profile, home, overrides=given, settings=tuple(settings))
        results = store.read(profile, workspace.module.NAME, home)
        found[name] = _DataSet(workspace, results, match(workspace, results.records))
    return found


def check(
    profile: str,
    home: Path = Path(),
    datasets: Sequence[str] = (),
    *,
    mode: str = "statistical",
    settings: Sequence[tuple[str, Any]] = (),
    speed: Speed | None = None,
    file: Path | None = None,
) -> Report:
    """Everything of a profile, or of some data sets: one's own results, else the reference's.

    mode: see harness.results.gate. settings: fields of the recipes, over those of params.yaml.
    speed: as measured in this run; None: not measured. file: of golden numbers; None: one's own, or
    the project's. DataError for records and golden numbers
    that cannot be read, which names the file.
    """
    home = Path(home)
    known = golden.read(golden.find(profile, home) if file is None else Path(file), profile)
    guarded = {row.dataset for row in known.rows}
    names = datasets or sorted(guarded | set(store.datasets(profile, home)))
    sets = _read(profile, home, names, settings)
    records = _records(sets)
    report = gate.judge(known, records, datasets, mode)
    before = None if known.throughput is None else float(known.throughput["ratio_to_stock"])
    now = Speed(before) if speed is None else replace(speed, before=before)
    notes = [*gate.false_alarms(known), *_sources(sets)]
    own = [some for some in sets.values() if some.results.origin == store.OWN]
    notes += [n for some in own for n in replace(some.matched, other=()).notes()]
    outdated = [n for some in sets.values() for n in replace(some.matched, other_code=()).notes()]
    return replace(
        report,
        stale=tuple(_stale(profile, home, sets)),
        outdated=tuple(outdated),
        speed=now,
        notes=tuple(notes),
    )


def _records(sets: Mapping[str, _DataSet]) -> list[Record]:
    return [r for some in sets.values() for r in some.matched.current]


def beside_reference(request: Request, records: Sequence[Record]) -> Report | None:
    """Records of a request against golden numbers; None where these are of other parameters.

    Rows that were not run are not missed.
    """
    workspace, name = request.workspace, request.dataset
    file = golden.find(workspace.profile, workspace.home)
    if not file.is_file():
        return None
    known = golden.read(file, workspace.profile)
    shipped = store.read(workspace.profile, name, workspace.home, store.SHIPPED)
    if match(workspace, shipped.records).other:
        return None
    report = gate.judge(known, records, [name], partial=True)
    return report if report.cells else None


def _sources(sets: Mapping[str, _DataSet]) -> Iterator[str]:
    for origin in store.ORIGINS:
        names = [name for name, some in sets.items() if some.results.origin == origin]
        if names:
            whose = "your own" if origin == store.OWN else "the project's reference"
            yield f"Results of {', '.join(names)}: {whose}."


def _stale(profile: str, home: Path, sets: Mapping[str, _DataSet]) -> Iterator[str]:
    for origin, root in ((store.OWN, home / "results"), (store.SHIPPED, REFERENCE)):
        some = {name: s for name, s in sets.items() if s.results.origin == origin}
        records = {name: s.matched.current for name, s in some.items()}
        notes = {name: s.notes for name, s in some.items()}
        yield from table_files.stale(profile, root, records, notes)


def update(
    profile: str,
    home: Path,
    reason: str,
    datasets: Sequence[str] = (),
    *,
    settings: Sequence[tuple[str, Any]] = (),
    speed: Speed | None = None,
    repeated: Sequence[Record] = (),
    calibration: Mapping[str, Any] | None = None,
) -> bool:
    """Rewrite golden numbers, of all data sets or of some; whether anything changed.

    repeated: further runs that say how far repeated runs lie apart; calibration: about them.
    DataError where there are no records: golden numbers of nothing would guard nothing.
    """
    file = golden.find(profile, home)
    before = golden.read_to_replace(file, profile)
    sets = _read(profile, home, datasets, settings)
    empty = [name for name, some in sets.items() if not some.matched.current]
    if empty or not sets:
        where = home / "results" / "records" / profile
        raise DataError(f"{where}: no records of {', '.join(empty) or 'any data set'}")
    others = [row for row in before.rows if row.dataset not in sets] if datasets else []
    records = _records(sets)
    rows = [*others, *golden.rows(records, repeated)]
    ratio = before.throughput
    if speed is not None and speed.now is not None:
        ratio = {"ratio_to_stock": speed.now, "machine": speed.where}
    about = None if calibration is None else dict(calibration)
    ordered = tuple(sorted(rows, key=lambda row: row.name))
    new = Golden(profile, ordered, ratio, before.reasons, about)
    if new == before:
        return False
    golden.write(replace(new, reasons=(*before.reasons, reason)), golden.path(profile, home))
    return True


# ---------------------------------------------------------------- calibration


def calibrate(
    profile: str,
    home: Path,
    reason: str,
    seeds: Sequence[int],
    datasets: Sequence[str] = (),
    kinds: Sequence[str] = tuple(ARITHMETIC),
) -> Golden:
    """Repeat the runs with these seeds under each kind of arithmetic, and write golden numbers.

    Every kind has a folder below work/calibration with a pool and runs of its own; a call that was
    interrupted resumes. The numbers of the recipe's seeds under the first kind become the
    reference's values. UsageError for an unknown kind, and for fewer than three runs of a row.
    """
    unknown = [kind for kind in kinds if kind not in ARITHMETIC]
    if unknown:
        raise UsageError(f"unknown arithmetic {unknown[0]!r}; available: {', '.join(ARITHMETIC)}")
    if len(kinds) * len(seeds) < 3:
        raise UsageError("calibration takes three runs of a row or more: name further --seeds")
    names = list(datasets) or _guarded(profile, home)
    folders = {kind: home / "work" / "calibration" / profile / kind for kind in kinds}
    for kind, folder in folders.items():
        for name in names:
            _repeat(profile, name, home, folder, seeds, ARITHMETIC[kind])
    found = {
        kind: _records(_read(profile, folder, names, params=_params(home)))
        for kind, folder in folders.items()
    }
    return _golden(profile, home, reason, found)


def _guarded(profile: str, home: Path) -> list[str]:
    """Data sets with golden numbers, else with results, else those that have the profile."""
    file = golden.find(profile, home)
    if file.is_file():
        return sorted({row.dataset for row in golden.read(file, profile).rows})
    every = registry.names(DATASETS)
    has = [n for n in every if profile in getattr(registry.find(DATASETS, n), "RECIPES", {})]
    return store.datasets(profile, home) or has


def _params(home: Path) -> Path | None:
    path = home / "params.yaml"
    return path if path.is_file() else None


def _repeat(
    profile: str,
    dataset: str,
    home: Path,
    folder: Path,
    seeds: Sequence[int],
    env: Mapping[str, str],
) -> None:
    """The runs of a data set's table below `folder`, in a process with that environment."""
    params = _params(home)
    arguments = {
        "dataset": dataset, "profile": profile, "seeds": list(seeds), "home": str(folder),
        "params": None if params is None else str(params),
    }  # fmt: skip
    code = "import json, sys, harness; harness.compare(**json.loads(sys.argv[1]))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, env={**os.environ, **env}, check=False)
    if done.returncode:
        raise DataError(f"calibration of {dataset} below {folder} failed: see above")


def _golden(profile: str, home: Path, reason: str, found: Mapping[str, Sequence[Record]]) -> Golden:
    kinds = list(found)
    names = sorted({r["dataset"] for r in found[kinds[0]]})
    sets = _read(profile, home, names, params=_params(home))
    wanted = {name: set(some.workspace.recipe.run_seeds) for name, some in sets.items()}
    reference = [r for r in found[kinds[0]] if r["seed"] in wanted[r["dataset"]]]
    rest = [r for r in found[kinds[0]] if r["seed"] not in wanted[r["dataset"]]]
    repeated = [*rest, *(r for kind in kinds[1:] for r in found[kind])]
    rows = golden.rows(reference, repeated)
    file = golden.find(profile, home)
    before = golden.read_to_replace(file, profile)
    about = _about(rows, kinds, found)
    new = Golden(profile, rows, before.throughput, (*before.reasons, reason), about)
    golden.write(new, golden.path(profile, home))
    return new


def _about(
    rows: Sequence[golden.Row], kinds: Sequence[str], found: Mapping[str, Sequence[Record]]
) -> dict[str, Any]:
    """How many runs, under which arithmetic, and what simulated checks of them flag."""
    families: dict[tuple[str, str], list[list[float]]] = {}
    every = [r for some in found.values() for r in some]
    for (name, path), values in golden.values_of_rows(every).items():
        families.setdefault((name[0], path), []).append(values)
    tested = sum(len(row.cells) for row in rows)
    alpha = gate.ALPHA / 2 / tested
    now = min(len(row.seeds) for row in rows if row.method != ALL_ROWS)
    simulated = spread.simulate(list(families.values()), now, alpha, CHECKS, seed=0)
    return {
        "arithmetic": list(kinds),
        "runs": min(len(values) for some in families.values() for values in some),
        "seeds": sorted({r["seed"] for r in every}),
        "cells": tested,
        "alpha": gate.ALPHA,
        "checks": simulated.checks,
        "flagged": simulated.flagged,
        "rate_at_most": round(simulated.rate_at_most, 5),
        "drop_factor": round(simulated.factor, 4),
    }
