"""Record folders that people hand in: whose they are, and whether each record proves itself.

A folder holds <profile>/<data set>/<run>.json, as results/records does, or is one in which harness
wrote. Its file reporter.toml may say `name`, `url` and `note`. What is checked is integrity: a
record is what was written, and its figures are those that its own predictions give. Nobody can
tell from it who trained the run, or whether the predictions are a model's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import documents, regular_files
from harness.core.errors import DataError, UsageError, escaped, quoted, shortened
from harness.core.registry import nearest
from harness.core.shipped import REFERENCE
from harness.results import records
from harness.results.proof import contradiction

ABOUT = "reporter.toml"
FIELDS = ("name", "url", "note")
LONGEST = {"name": 40, "url": 200, "note": 300}  # characters
PROJECT = "the project"  # who reports the reference results

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Submission:
    """The records of one reporter, all of them sound; of every profile and data set."""

    reporter: str
    folder: Path
    records: tuple[Record, ...]
    url: str | None = None
    note: str | None = None

    def of(self, profile: str, dataset: str) -> list[Record]:
        return [r for r in self.records if (r["profile"], r["dataset"]) == (profile, dataset)]


@dataclass(frozen=True)
class Refusal:
    """A record that does not prove itself, and why, in one sentence that names its file."""

    file: Path
    sentence: str


def read(texts: Sequence[str], reference: bool = False) -> tuple[list[Submission], list[Refusal]]:
    """What the folders hold, in their order, and which records are refused.

    texts: DIR or NAME=DIR. reference: the project's own results, too, as the first ones.
    UsageError for two reporters of one name; DataError for a folder without records.
    """
    named = [_folder(text) for text in texts]
    if reference:
        named.insert(0, (PROJECT, REFERENCE / "records", {}))
    names = [name for name, _, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two folders are of {quoted(name)}; name one of them: NAME=DIR")
    submissions, refused = [], []
    for name, folder, about in named:
        sound, wrong = _records(folder)
        submissions.append(Submission(name, folder, tuple(sound), **about))
        refused += wrong
    return submissions, refused + list(_foreign_images(submissions))


# ---------------------------------------------------------------- folders


def _folder(text: str) -> tuple[str, Path, dict[str, str]]:
    """Who reports, where the records are, and what else the reporter says."""
    name, equals, path = text.partition("=")
    folder = Path(path) if equals and not Path(text).exists() else Path(text)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one of records")
    about = _about(folder / ABOUT)
    said = about.pop("name", None)
    chosen = name if folder != Path(text) else said or _name_of(folder)
    below = folder / records.ROOT
    return _printable(chosen, "name"), below if below.is_dir() else folder, about


def _name_of(folder: Path) -> str:
    """The name of a folder; of `results/records` that of the folder in which harness wrote."""
    folder = regular_files.resolved(folder)
    inner = folder.parts[-2:] == records.ROOT.parts
    return folder.parents[1].name if inner else folder.name


def _about(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    table = documents.toml_table(file, "reporter")
    for field, value in table.items():
        if field not in FIELDS:
            raise DataError(f"{file}: unknown field {quoted(field)}{nearest(field, FIELDS)}")
        if not isinstance(value, str):
            raise DataError(f"{file}: {field} is {quoted(value)}, expected a text")
    if "url" in table and not table["url"].startswith(("https://", "http://")):
        raise DataError(f"{file}: url is {quoted(table['url'])}, expected an http(s) address")
    return {field: _printable(value, field) for field, value in table.items()}


def _printable(text: str, field: str) -> str:
    return shortened(escaped(text.strip()) or "unnamed", LONGEST[field])


# ---------------------------------------------------------------- records


def _records(folder: Path) -> tuple[list[Record], list[Refusal]]:
    """The sound records below a folder, by file name, and the refused ones."""
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise DataError(f"{folder}: no records below it; expected <profile>/<data set>/<run>.json")
    sound: list[Record] = []
    refused = []
    for file in files:
        try:
            sound.append(proven(file, folder))
        except DataError as error:
            refused.append(Refusal(file, str(error)))
    return sound, refused


def proven(file: Path, folder: Path) -> Record:
    """The record in a file below a folder of records; DataError, one sentence, where it is refused.

    Its digest may be right: whoever changes a number can compute that anew. Its figures have to be
    those of its own predictions.
    """
    record = records.read(file)
    fault = contradiction(record)
    if fault is not None:
        raise DataError(f"{file}: refused: {fault}")
    place = records.path(record, folder)
    if place != file:
        raise DataError(f"{file}: refused: this run belongs into {place.relative_to(folder)}")
    return record


def _foreign_images(submissions: Sequence[Submission]) -> Iterator[Refusal]:
    """Records whose test images are not those of most records of the data set and profile."""
    every = [(s, record) for s in submissions for record in s.records]
    counts: dict[Any, Counter[Any]] = {}
    for _, record in every:
        for name, images in _images(record):
            counts.setdefault(name, Counter())[images] += 1
    usual = {name: some.most_common(1)[0][0] for name, some in counts.items()}
    for submission, record in every:
        other = next((name[-1] for name, some in _images(record) if some != usual[name]), None)
        if other is not None:
            file = records.path(record, submission.folder)
            why = f"its images of split {other!r} are not those of the other records"
            yield Refusal(file, f"{file}: refused: {why}")


def _images(record: Record) -> Iterator[tuple[tuple[str, str, str], tuple[Any, ...]]]:
    """By profile, data set and split: the number of test images by class, and their digest."""
    for split, some in record["predictions"].items():
        name = record["profile"], record["dataset"], split
        yield name, (tuple(some["images"]), some.get("ids"))
