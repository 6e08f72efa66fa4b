"""Where the results of a data set are read from: one's own, or the project's reference.

One's own records lie in `results/records` below the home folder. The reference comes with the
project and is never written by a command. A table shows one of the two, never a mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.registry import one_of
from harness.core.shipped import REFERENCE
from harness.results import records

OWN, SHIPPED = "own", "reference"
ORIGINS = (OWN, SHIPPED)


@dataclass(frozen=True)
class Results:
    """The records of one profile and data set, and whose they are."""

    records: tuple[dict[str, Any], ...]
    origin: str  # of ORIGINS

    @property
    def note(self) -> str | None:
        """What a reader of a table has to know of it; None for one's own."""
        if self.origin == OWN or not self.records:
            return None
        return (
            "These are the project's reference results; "
            f"{machines(self.records)}`harness compare` makes your own."
        )


def read(profile: str, dataset: str, home: Path, origin: str | None = None) -> Results:
    """All records of a profile and data set, by file name.

    origin None: one's own where there is any, else the reference. DataError for damaged records.
    """
    if origin is not None:
        one_of("origin", origin, ORIGINS)
    if origin != SHIPPED:
        own = records.read_all(profile, dataset, Path(home) / records.ROOT)
        if own or origin == OWN:
            return Results(tuple(own), OWN)
    return Results(tuple(records.read_all(profile, dataset, REFERENCE / "records")), SHIPPED)


def notes(results: Results, matched: Any) -> tuple[str, ...]:
    """What stands under a table of these results: whose they are, and which are not shown.

    matched: harness.pipeline.matching.Matched. That other code trained the reference is no news.
    """
    shown = matched if results.origin == OWN else replace(matched, other_code=())
    return tuple(n for n in (results.note, *shown.notes()) if n is not None)


def datasets(profile: str, home: Path) -> list[str]:
    """Names of the data sets with records of a profile: one's own, or the reference's if none."""
    roots = (Path(home) / records.ROOT, REFERENCE / "records")
    for root in roots:
        names = sorted(f.name for f in (root / profile).glob("*") if any(f.glob("*.json")))
        if names:
            return names
    return []


def machines(runs: Sequence[Mapping[str, Any]]) -> str:
    """The processors that runs were trained on, as the beginning of a sentence; or nothing."""
    names = {r["machine"]["cpu"] for r in runs if r.get("machine")}
    return f"they were trained on {', '.join(sorted(names))}; " if names else ""
