"""One page to look at: leaderboards, charts and the pictures behind the numbers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import claims, records
from harness.claims import Claim
from harness.files import write_atomic
from harness.findings import Findings, find
from harness.places import Place
from harness.report.page import render
from harness.report.sections import section, with_records
from harness.report.throughput import FOLDER, throughput
from harness.types import UsageError

__all__ = ["findings_of", "make", "places", "write"]


def places(profile: str, home: Path, datasets: Sequence[str]) -> list[Place]:
    """Of the data sets asked for, or of all that have records; UsageError where none has."""
    from harness.params import overrides

    chosen = list(dict.fromkeys(datasets)) or with_records(profile, home / "results" / "records")
    if not chosen:
        raise UsageError(
            f"no data set has records of profile {profile} in {home / 'results/records'}; "
            "`harness compare` makes some"
        )
    found = [Place(name, profile, home) for name in chosen]
    names = [place.module.NAME for place in found]  # an unknown one is told here
    return [
        Place(name, profile, home, overrides=overrides(None, home, profile, name)) for name in names
    ]


def _records(places: Sequence[Place]) -> dict[str, list[dict[str, Any]]]:
    """By data set, in the order of the places."""
    return {p.module.NAME: records.read_all(p.profile, p.module.NAME, p.records) for p in places}


def findings_of(
    places: Sequence[Place], asked: Sequence[Claim], rule: str = "A", select: str = "last"
) -> Findings:
    """The claims about these data sets, tested on their records."""
    return find(asked, _records(places), places[0].profile, rule, select)


def make(
    places: Sequence[Place], rule: str = "A", select: str = "last", pictures: int = 5000
) -> str:
    """The page's HTML; equal records and pools give equal text.

    pictures: synthetic images in all galleries together, about.
    """
    share = max(1, pictures // len(places))
    found = _records(places)
    sections = [section(p, found[p.module.NAME], rule, select, share) for p in places]
    told = find(claims.read(), found, places[0].profile, rule, select)
    return render(sections, told, throughput(places[0].home / FOLDER))


def write(path: Path, page: str) -> None:
    """Whole, or not at all."""
    write_atomic(path, page.encode())
