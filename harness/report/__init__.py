"""The self-contained HTML report; the numbers that it shows are computed in `results`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.core.shipped import REFERENCE
from harness.pipeline.config import PROFILES, overrides
from harness.pipeline.matching import match
from harness.pipeline.workspace import DATASETS, Workspace
from harness.report.gallery import shares
from harness.report.page import render
from harness.report.sections import section
from harness.report.throughput import FOLDER, throughput
from harness.results import claims, further_pools, store
from harness.results.claims import Claim
from harness.results.findings import Findings, corrected, count, tested

__all__ = ["findings_of", "make", "workspaces", "write"]


def workspaces(
    profile: str,
    home: Path,
    datasets: Sequence[str],
    settings: Sequence[tuple[str, Any]] = (),
) -> list[Workspace]:
    """Of the data sets asked for, or of all that have records; their recipes are resolved.

    settings: fields of the recipes and their values, over those of params.yaml.
    DataError where no data set has records; UsageError for a profile or a field that there is not.
    """
    registry.one_of("--profile", profile, PROFILES)
    known = registry.names(DATASETS)
    named = list(dict.fromkeys(datasets)) or [
        name for name in known if name in store.datasets(profile, home)
    ]
    if not named:
        raise DataError(
            f"no data set has records of profile {profile}, in {home / 'results/records'} or among "
            "the reference results; `harness compare` makes some"
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


def _results(workspace: Workspace) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Records made with the present parameters; and whose they are, and which are not shown."""
    results = store.read(workspace.profile, workspace.module.NAME, workspace.home)
    matched = match(workspace, results.records)
    return list(matched.current), store.notes(results, matched)


def _records(workspaces: Sequence[Workspace]) -> dict[str, list[Mapping[str, Any]]]:
    """By data set, in the order of the workspaces."""
    return {workspace.module.NAME: _results(workspace)[0] for workspace in workspaces}


def _others(workspaces: Sequence[Workspace], statements: Sequence[Claim]) -> list[Workspace]:
    """Of the other data sets that claims are about."""
    first, shown = workspaces[0], {workspace.module.NAME for workspace in workspaces}
    names = dict.fromkeys(claim.dataset for claim in statements)
    return [
        Workspace(
            name,
            first.profile,
            first.home,
            overrides=overrides(None, first.home, first.profile, name),
        )
        for name in names
        if name not in shown and name in registry.names(DATASETS)
    ]


def findings_of(
    workspaces: Sequence[Workspace],
    statements: Sequence[Claim],
    rule: str = "A",
    select: str = "last",
) -> Findings:
    """The claims about these data sets, tested on their records.

    p is corrected for the claims about other data sets, too.
    """
    shown_records = _records(workspaces)
    own = tested(statements, shown_records, rule, select)
    others = []
    if count(own):  # else there is nothing to correct
        records = _records(_others(workspaces, statements))
        others = tested(statements, records, rule, select)
    results = corrected([*own, *others])
    shown = tuple(results[: len(own)])
    further = {
        w.module.NAME: further_pools.read(w.profile, w.module.NAME, w.home) for w in workspaces
    }
    pools = tuple(further_pools.sentences(shown, shown_records, further, rule, select))
    return Findings(workspaces[0].profile, rule, select, shown, count(results), pools)


def make(
    workspaces: Sequence[Workspace], rule: str = "A", select: str = "last", pictures: int = 5000
) -> str:
    """The page's HTML; equal records and pools give equal text.

    pictures: synthetic images in all galleries together; all of them where the pools have fewer.
    """
    sections = []
    for workspace, share in zip(workspaces, shares(workspaces, pictures), strict=True):
        records, notes = _results(workspace)
        sections.append(section(workspace, records, rule, select, share, notes))
    findings = findings_of(workspaces, claims.read(), rule, select)
    return render(sections, findings, throughput(_speeds(workspaces[0].home)))


def _speeds(home: Path) -> Path:
    """The folder of one's own profiles, or of the project's where there are none."""
    own = home / FOLDER
    return own if any(own.glob("*.json")) else REFERENCE / "profile"


def write(path: Path, page: str) -> None:
    """Whole, or not at all."""
    write_atomic(path, page.encode())
