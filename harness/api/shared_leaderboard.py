"""Leaderboards of several people's record folders: verified, merged, and as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import digests, registry
from harness.core.errors import DataError
from harness.pipeline.config import PROFILES, overrides
from harness.pipeline.matching import match
from harness.pipeline.workspace import DATASETS, Workspace
from harness.results import submissions
from harness.results.leaderboard import Table
from harness.results.merged_leaderboard import merged
from harness.results.own_rows import table_for
from harness.results.store import machines
from harness.results.submissions import Refusal, Submission

Record = Mapping[str, Any]
PROOF = (
    "The figures of every record were recomputed from its own predictions. This proves that a "
    "record is whole and consistent, not who trained it."
)


@dataclass(frozen=True)
class SharedLeaderboard:
    """tables: one for each data set and backbone; refused: records that are in none of them."""

    profile: str
    tables: tuple[Table, ...]
    submissions: tuple[Submission, ...]
    refused: tuple[Refusal, ...]

    @property
    def verified(self) -> int:
        """Number of records that prove themselves, of every profile."""
        return sum(len(submission.records) for submission in self.submissions)


def shared_leaderboard(
    folders: Sequence[str],
    profile: str = "mini",
    datasets: Sequence[str] = (),
    rule: str = "A",
    select: str = "last",
    *,
    reference: bool = False,
    home: Path = Path(),
) -> SharedLeaderboard:
    """The records of several folders (see harness.results.submissions) in one leaderboard.

    Records of other parameters than those that hold here (params.yaml in `home`) are named and not
    shown. Records that are refused are listed, and no table is made of what is left. DataError for
    folders without records of the profile.
    """
    registry.one_of("--profile", profile, PROFILES)
    named = [registry.find(DATASETS, name).NAME for name in datasets]
    every, refused = submissions.read(folders, reference)
    tables: list[Table] = []
    if not refused:
        for name in named or registry.names(DATASETS):
            tables += _of_dataset(name, profile, every, rule, select, home)
        if not tables:
            raise DataError(f"no records of profile {profile} below {', '.join(map(str, folders))}")
    return SharedLeaderboard(profile, tuple(tables), tuple(every), tuple(refused))


def _of_dataset(
    dataset: str,
    profile: str,
    every: Sequence[Submission],
    rule: str,
    select: str,
    home: Path,
) -> list[Table]:
    """A table for each backbone of the records of a data set."""
    given = overrides(None, home, profile, dataset)
    workspace = Workspace(dataset, profile, home, overrides=given)
    current: dict[str, list[Record]] = {}
    notes: dict[str, list[str]] = {}
    for submission in every:
        own = submission.of(profile, dataset)
        if own:
            matched = match(workspace, own)
            current[submission.reporter] = list(matched.current)
            without_code = replace(matched, other_code=())
            said = [_about(submission, own), *without_code.notes()]
            notes[submission.reporter] = [f"{submission.reporter}: {text}" for text in said]
    backbones = dict.fromkeys(r["backbone"] for some in current.values() for r in some)
    copies = list(_copies(current))
    return [
        _of_backbone(dataset, backbone, current, profile, rule, select, [*_all(notes), *copies])
        for backbone in backbones
    ]


def _of_backbone(
    dataset: str,
    backbone: str,
    records: Mapping[str, Sequence[Record]],
    profile: str,
    rule: str,
    select: str,
    notes: Sequence[str],
) -> Table:
    own = {who: [r for r in some if r["backbone"] == backbone] for who, some in records.items()}
    runs = [r for some in own.values() for r in some]
    methods = list(dict.fromkeys(r["method"] for r in runs))
    ratios = list(dict.fromkeys(r["imbalance"] for r in runs))
    paper = table_for(dataset, methods, ratios, backbone=backbone)
    return merged(paper, own, profile, rule, select, [PROOF, *notes])


def _all(notes: Mapping[str, Sequence[str]]) -> list[str]:
    return [note for some in notes.values() for note in some]


def _about(submission: Submission, records: Sequence[Record]) -> str:
    """Who reports what, in a sentence."""
    count = f"{len(records)} record{'s' * (len(records) != 1)}"
    where = machines(records).removesuffix("; ").replace("they were ", "")
    said = [count, where, submission.url or "", submission.note or ""]
    return f"{', '.join(text for text in said if text)}."


def _copies(records: Mapping[str, Sequence[Record]]) -> list[str]:
    """Sentences about reporters whose records are, byte for byte, another's."""
    first: dict[str, str] = {}
    equal: dict[tuple[str, str], int] = {}
    for who, some in records.items():
        for record in some:
            other = first.setdefault(digests.of_value(record), who)
            if other != who:
                equal[who, other] = equal.get((who, other), 0) + 1
    return [
        f"{n} of the records of {who} are equal to those of {other}: the same run on the same "
        "kind of machine, or a copy."
        for (who, other), n in equal.items()
    ]
