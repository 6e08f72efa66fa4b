"""How far differences move with the pool of synthetic images, from runs with further pools.

All seeds of a row share one pool. Records of the same runs with other `pool_seeds` lie in
results/further-pools/<name>/<profile>/<data set>/ below the home folder, one folder for each pool,
or in results/reference/further-pools.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.shipped import REFERENCE
from harness.results import records
from harness.results.findings import Comparison, Finding, tested

Record = Mapping[str, Any]
FOLDER = Path("results/further-pools")
POOL = "pool_seeds"  # the field of the recipe in which pools differ


def read(profile: str, dataset: str, home: Path) -> list[list[Record]]:
    """The records of each further pool: one's own, or the reference's where there are none."""
    for root in (home / FOLDER, REFERENCE / FOLDER.name):
        pools = [records.read_all(profile, dataset, folder) for folder in sorted(root.glob("*"))]
        if any(pools):
            return [list(some) for some in pools if some]
    return []


def sentences(
    findings: Sequence[Finding],
    main: Mapping[str, Sequence[Record]],
    further: Mapping[str, Sequence[Sequence[Record]]],
    rule: str,
    select: str,
) -> Iterator[str]:
    """What further pools say of the claims that answer whether synthetic data helps.

    main: records that the findings are of, by data set; further: those of each further pool. Runs
    whose recipe differs in more than the pool do not count; rows that read no synthetic image are
    taken from `main` where a further pool lacks them.
    """
    for finding in findings:
        name = finding.claim.dataset
        pools = [_over(main[name], some) for some in further.get(name, ()) if finding.claim.answer]
        again = [
            (tested([finding.claim], {name: some}, rule, select)[0], ratios)
            for some, ratios in pools
            if ratios
        ]
        for i, test in enumerate(finding.tests):
            alike = [other.tests[i] for other, ratios in again if test.block.imbalance in ratios]
            known = [value for t in (test, *alike) if (value := _points(t)) is not None]
            if test.difference is not None and len(known) > 1:
                yield (
                    f"{name}: over {len(known)} pools, {test.says} ({test.column.name}, "
                    f"{test.block.title}) has a standard deviation of "
                    f"{statistics.stdev(known):.2f} points "
                    f"({', '.join(f'{value:+.2f}' for value in known)}); the standard error of its "
                    f"interval is {100 * test.difference.error:.2f}."
                )


def _points(test: Comparison) -> float | None:
    return None if test.difference is None else 100 * test.difference.value


def _over(main: Sequence[Record], some: Sequence[Record]) -> tuple[list[Record], set[int | None]]:
    """The main records, replaced by those of a further pool, and its imbalance ratios."""
    recipes = {_run(run): run["spec"]["recipe"] for run in main}
    same = [run for run in some if _differs_in_pool(run, recipes.get(_run(run)))]
    replaced = {_run(run): run for run in (*main, *same)}
    return list(replaced.values()), {run["imbalance"] for run in same}


def _differs_in_pool(run: Record, recipe: Mapping[str, Any] | None) -> bool:
    own = run["spec"]["recipe"]
    if recipe is None or own.get(POOL) == recipe.get(POOL):
        return False
    return all(own.get(n) == recipe.get(n) for n in {*own, *recipe} - {POOL})


def _run(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("method", "backbone", "imbalance", "seed"))
