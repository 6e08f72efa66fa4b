"""One page to look at: leaderboards, charts and the pictures behind the numbers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import records
from harness.files import write_atomic
from harness.places import Place
from harness.report.page import render
from harness.report.sections import Section, section, with_records
from harness.types import UsageError

__all__ = ["PICTURES", "Section", "make", "places", "write"]

PICTURES = 5000  # synthetic images in all galleries together


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


def make(
    places: Sequence[Place], rule: str = "A", select: str = "last", pictures: int = PICTURES
) -> str:
    """The page's HTML; equal records and pools give equal text."""
    share = max(1, pictures // len(places))
    sections = []
    for place in places:
        found = records.read_all(place.profile, place.module.NAME, place.records)
        sections.append(section(place, found, rule, select, share))
    return render(sections, places[0].profile, rule, select)


def write(path: Path, page: str) -> None:
    """Whole, or not at all."""
    write_atomic(path, page.encode())
