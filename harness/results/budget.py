"""What stands behind a row of a leaderboard: optimiser steps, images seen, images generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.core.guidance import REAL

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """Of one run and of those whose weights it starts from or merges; None: not known."""

    batches: int | None  # optimiser steps
    images: int | None  # in these steps, each as often as it was seen
    generated: int | None  # synthetic images that were made for it

    def __add__(self, other: Budget) -> Budget:
        pairs = zip(self.numbers, other.numbers, strict=True)
        return Budget(*(None if a is None or b is None else a + b for a, b in pairs))

    def or_else(self, other: Budget) -> Budget:
        """The other's numbers where this one's are not known."""
        pairs = zip(self.numbers, other.numbers, strict=True)
        return Budget(*(b if a is None else a for a, b in pairs))

    @property
    def numbers(self) -> tuple[int | None, int | None, int | None]:
        return self.batches, self.images, self.generated


NOTHING, UNKNOWN = Budget(0, 0, 0), Budget(None, None, None)
Budgets = Mapping[tuple[str, int | None], Budget]  # by method and imbalance ratio


def of_records(records: Iterable[Record]) -> dict[tuple[str, int | None], Budget]:
    """Means over seeds, rounded; what a record does not say is not known."""
    by_key = {r["key"]: r for r in records}
    runs: dict[tuple[str, int | None], list[Budget]] = {}
    for r in by_key.values():
        runs.setdefault((r["method"], r["imbalance"]), []).append(_of_run(r, by_key))
    return {name: _mean(some) for name, some in runs.items()}


def _of_run(record: Record, by_key: Mapping[str, Record]) -> Budget:
    start = record["spec"].get("start")
    if start is None:
        return _own(record)
    return _own(record) + (_of_run(by_key[start], by_key) if start in by_key else UNKNOWN)


def _own(record: Record) -> Budget:
    behaviour = record["behaviour"]
    if behaviour is None:
        merged = record["levels"] is None and record["spec"].get("start") is not None
        return NOTHING if merged else UNKNOWN  # weights that were merged were not trained
    seen, drawn = behaviour.get("images"), behaviour["drawn"]
    synthetic = any(int(level) != REAL for level in drawn)
    pool = (behaviour["pool"] or {}).values() if synthetic else ()
    return Budget(
        batches=sum(behaviour["steps"].values()),
        images=None if seen is None else sum(seen.values()),
        generated=sum(level["images"] for level in pool),
    )


def _mean(budgets: Sequence[Budget]) -> Budget:
    columns = zip(*(budget.numbers for budget in budgets), strict=True)
    return Budget(*(None if None in column else round(fmean(column)) for column in columns))


def differences(
    rows: Sequence[tuple[str, str]], titles: Mapping[int | None, str], budgets: Budgets
) -> Iterator[str]:
    """A sentence for each imbalance ratio at which trained rows differ in steps.

    rows: methods and labels; titles: of the blocks, by imbalance ratio.
    """
    for imbalance, title in titles.items():
        known = [
            (budget.batches, label)
            for method, label in rows
            if (budget := budgets.get((method, imbalance))) is not None and budget.batches
        ]
        if len({batches for batches, _ in known}) > 1:
            (low, least), (high, most) = min(known), max(known)
            yield (
                f"Optimiser steps behind a row of {title}, those of the run that it starts from "
                f"included: {low:,} ({least}) to {high:,} ({most}). `--budget` lists them."
            )
