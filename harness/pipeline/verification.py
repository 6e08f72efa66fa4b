"""Everything that is kept of a data set and profile, read to the last byte; and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.core import digests, parquet
from harness.core.digests import Damaged
from harness.core.errors import DataError, UsageError
from harness.datasets import prompts
from harness.datasets.offences import Offences
from harness.models import torch_files
from harness.pipeline import run_files, stages
from harness.pipeline.workspace import Workspace
from harness.pool import cache, failures, scores
from harness.results import records

TABLES = {"index": "harness index", "hard": "harness hard"} | dict.fromkeys(
    stages.KINDS, "harness score"
)


@dataclass(frozen=True)
class Problem:
    """What is wrong, in a sentence, and what removes it; None where that is up to the user."""

    text: str
    mend: Callable[[], object] | None = None


def verify(workspace: Workspace) -> dict[str, list[Problem]]:
    """What is wrong, by what was looked at; reads all that is kept, and changes nothing."""
    return {name: list(look(workspace)) for name, look in PARTS.items()}


def repair(problems: dict[str, list[Problem]]) -> list[Problem]:
    """Remove what is damaged, so that the stages make it again; what is left for the user."""
    every = [problem for some in problems.values() for problem in some]
    mends = {problem.mend: None for problem in every if problem.mend is not None}
    for mend in mends:
        try:
            mend()
        except OSError as error:
            raise DataError(f"cannot remove {error.filename}: {error.strerror}") from error
    return [problem for problem in every if problem.mend is None]


# ---------------------------------------------------------------- each part


def _data(workspace: Workspace) -> Iterator[Problem]:
    """The data set's files, as `harness data check` looks at them."""
    try:
        root = workspace.data
    except UsageError:  # profile paper, and nobody says where they are
        return
    if not root.is_dir():
        return
    yield from _listed(root, workspace.root is None and workspace.profile != "paper")
    try:
        workspace.module.check(root, workspace.recipe)
    except Offences as error:
        yield from (Problem(line) for line in error.listed)
    except Damaged:
        pass  # is among the files of the listing
    except DataError as error:
        yield Problem(str(error))


def _listed(root: Path, built_in: bool) -> Iterator[Problem]:
    """Files that a listing at the root, or in a folder there, names; built-in ones can go."""
    again = "`harness index` writes it again" if built_in else "restore it from its archive"
    anew = again if built_in else "delete it, and `harness data digests` writes it anew"
    for listing in (root / digests.LISTING, *sorted(root.glob(f"*/{digests.LISTING}"))):
        try:
            known = digests.read_listing(listing, anew)
        except Damaged as error:
            yield Problem(str(error), _removal(listing) if built_in else None)
            continue
        for name, expected in known.items():
            path = listing.parent / name
            if path.is_file():
                yield from _told(
                    partial(digests.check_file, path, expected, again),
                    _removal(path) if built_in else None,
                )


def _tables(workspace: Workspace) -> Iterator[Problem]:
    """The tables that stages leave behind."""
    for name, maker in TABLES.items():
        path = workspace.work / f"{name}.parquet"
        if path.is_file():
            yield from _told(partial(stages.read, path, maker), _removal(path))


def _prompts(workspace: Workspace) -> Iterator[Problem]:
    """Scene descriptions; they may be written by hand, so that nothing removes them."""
    if workspace.prompts.is_file():
        yield from _told(partial(prompts.read, workspace.prompts))


def _pool(workspace: Workspace) -> Iterator[Problem]:
    """Shards of images, their index, and what says which images failed."""
    if not workspace.pool.is_dir():
        return
    mend = partial(cache.repair, workspace.pool)
    for text in cache.verify(workspace.pool):
        yield Problem(text, None if text.endswith(": not a shard") else mend)
    for path in failures.files(workspace.pool):
        yield from _told(partial(failures.check, path), _removal(path))


def _scores(workspace: Workspace) -> Iterator[Problem]:
    """Scores of every scoring model."""
    for path in scores.score_files(workspace.pool):
        columns = list(scores.SCORES)
        yield from _told(partial(parquet.read, path, scores.AGAIN, columns), _removal(path))


def _runs(workspace: Workspace) -> Iterator[Problem]:
    """Files of runs that are done, and checkpoints of those that are not."""
    for folder in sorted(path for path in workspace.runs.glob("*") if path.is_dir()):
        for error in run_files.damage(folder):
            yield Problem(str(error), _removal(folder / run_files.DONE))
        for path in sorted(folder.glob("*.pt")):
            yield from _told(partial(torch_files.check, path, run_files.AGAIN), _removal(path))
        path = folder / run_files.PROBABILITIES
        if path.is_file():
            yield from _told(partial(stages.read, path, "harness hard"), _removal(path))


def _records(workspace: Workspace) -> Iterator[Problem]:
    """One's own records; repair gives sound ones of before their digest."""
    folder = workspace.records / workspace.profile / workspace.module.NAME
    for path in sorted(folder.glob("*.json")):
        try:
            record = records.read(path)
        except Damaged as error:
            yield Problem(str(error), _removal(path))
        except DataError as error:
            yield Problem(str(error))
        else:
            place = records.path(record, workspace.records)
            if place != path:
                yield Problem(f"{path}: holds the run that belongs into {place}", _removal(path))


PARTS: dict[str, Callable[[Workspace], Iterator[Problem]]] = {
    "data": _data,
    "prompts": _prompts,
    "tables": _tables,
    "pool": _pool,
    "scores": _scores,
    "runs": _runs,
    "records": _records,
}


def _told(
    check: Callable[[], object], mend: Callable[[], object] | None = None
) -> Iterator[Problem]:
    """What a check raises."""
    try:
        check()
    except Damaged as error:
        yield Problem(str(error), mend)
    except DataError as error:
        yield Problem(str(error))


def _removal(path: Path) -> Callable[[], object]:
    return partial(path.unlink, missing_ok=True)
