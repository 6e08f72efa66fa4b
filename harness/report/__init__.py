"""One page to look at: leaderboards, charts and the pictures behind the numbers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.files import write_atomic
from harness.pipeline.workspace import DATASETS, Workspace
from harness.report.page import render
from harness.report.sections import section, with_records
from harness.report.throughput import FOLDER, throughput
from harness.results import claims, records
from harness.results.claims import Claim
from harness.results.findings import Findings, find

__all__ = ["findings_of", "make", "workspaces", "write"]


def workspaces(
    profile: str,
    home: Path,
    datasets: Sequence[str],
    settings: Sequence[tuple[str, Any]] = (),
) -> list[Workspace]:
    """Of the data sets asked for, or of all that have records; their recipes are resolved.

    settings: fields of the recipes and their values, over those of params.yaml.
    UsageError where no data set has records, and for a profile or a field that a recipe lacks.
    """
    from harness.pipeline.config import overrides

    named = list(dict.fromkeys(datasets)) or with_records(profile, home / "results" / "records")
    if not named:
        raise UsageError(
            f"no data set has records of profile {profile} in {home / 'results/records'}; "
            "`harness compare` makes some"
        )
    names = [registry.find(DATASETS, name).NAME for name in named]
    chosen = [
        Workspace(
            name,
            profile,
            home,
            overrides=overrides(None, home, profile, name),
            settings=tuple(settings),
        )
        for name in names
    ]
    for workspace in chosen:
        _ = workspace.recipe
    return chosen


def _records(workspaces: Sequence[Workspace]) -> dict[str, list[dict[str, Any]]]:
    """By data set, in the order of the places."""
    return {
        p.module.NAME: records.read_all(p.profile, p.module.NAME, p.records) for p in workspaces
    }


def findings_of(
    workspaces: Sequence[Workspace], asked: Sequence[Claim], rule: str = "A", select: str = "last"
) -> Findings:
    """The claims about these data sets, tested on their records."""
    return find(asked, _records(workspaces), workspaces[0].profile, rule, select)


def make(
    workspaces: Sequence[Workspace], rule: str = "A", select: str = "last", pictures: int = 5000
) -> str:
    """The page's HTML; equal records and pools give equal text.

    pictures: synthetic images in all galleries together, about.
    """
    share = max(1, pictures // len(workspaces))
    found = _records(workspaces)
    sections = [section(p, found[p.module.NAME], rule, select, share) for p in workspaces]
    told = find(claims.read(), found, workspaces[0].profile, rule, select)
    return render(sections, told, throughput(workspaces[0].home / FOLDER))


def write(path: Path, page: str) -> None:
    """Whole, or not at all."""
    write_atomic(path, page.encode())
