"""What says that a run is done: digests of the files it left, and of what it read.

done.json in the run's folder: `spec`; `files`, size and SHA-256 by name; `read`, digests by what
was read: the weights of the run it starts from ("start"), consults ("reference") or merges
("merges"), its hard samples ("hard") and the pictures of the pool ("pool"); and its own digest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import digests
from harness.core.attempts import Failure
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.core.specs import RunSpec

DONE, WEIGHTS, PROBABILITIES = "done.json", "weights.safetensors", "p-train.parquet"
FAILED = "failed.json"  # why the last try ended early; gone when the run is done
VERSION = 2
OF_UNFINISHED = (FAILED, "checkpoint.pt", "epochs.count")
PASSING = (DONE, *OF_UNFINISHED, PROBABILITIES)  # not of the run's results
AGAIN = "`harness verify --repair` and `harness train` make it again"


@dataclass(frozen=True)
class Done:
    """The content of done.json; files and read are None where the run is of before they were kept.

    files: size in bytes and SHA-256 by name.
    """

    files: Mapping[str, tuple[int, str]] | None
    read: Mapping[str, str] | None

    def whole(self, folder: Path) -> bool:
        """Whether the files are there with their sizes; their bytes are not looked at."""
        sizes = {name: size for name, (size, _) in (self.files or {}).items()}
        return all(_size(folder / name) == size for name, size in sizes.items())


def read(folder: Path) -> Done | None:
    """What a run left behind; None where it is not done. Damaged for another file than written."""
    path = folder / DONE
    if not path.is_file():
        return None
    before = [field.name for field in dataclasses.fields(RunSpec)]
    content = digests.read_json(path, "end of a run", AGAIN, ["spec", *before])
    if isinstance(content, dict) and content.get("spec") == "RunSpec":
        return Done(None, None)
    if not (isinstance(content, dict) and content.get("version") == VERSION):
        raise digests.damaged(path, "of another version", AGAIN)
    return Done({name: tuple(about) for name, about in content["files"].items()}, content["read"])


def write(folder: Path, spec: Any, inputs: Mapping[str, str]) -> None:
    """Mark a run as done, with the files that are in its folder now."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = {
        name: (_size(folder / name), digests.of_file(folder / name))
        for name in names
        if name not in PASSING
    }
    content = {"version": VERSION, "spec": spec, "files": files, "read": dict(inputs)}
    write_atomic(folder / DONE, json.dumps(digests.sealed(content), sort_keys=True).encode())


def write_failure(folder: Path, spec: Any, failure: Failure) -> None:
    """Keep why a run failed and where in the code, as far as the disk lets it."""
    content = {"spec": spec, "reason": failure.reason, "trace": failure.trace}
    with suppress(DataError):
        write_atomic(folder / FAILED, json.dumps(digests.sealed(content), sort_keys=True).encode())


def check(folder: Path, name: str) -> Path:
    """Where a file of a run is; Damaged unless it is what the run wrote, where that is known."""
    done, path = read(folder), folder / name
    if done is not None and done.files is not None:
        if name not in done.files:
            raise digests.damaged(path, "the run left no such file", AGAIN)
        digests.check_file(path, done.files[name][1], AGAIN)
    return path


def damage(folder: Path) -> list[digests.Damaged]:
    """What is wrong with the files of a run that is done; reads every byte."""
    problems = []
    try:
        done = read(folder)
    except digests.Damaged as error:
        return [error]
    for name in (done and done.files) or ():
        try:
            check(folder, name)
        except digests.Damaged as error:
            problems.append(error)
        except DataError as error:
            problems.append(digests.damaged_by(error, AGAIN))
    return problems


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
