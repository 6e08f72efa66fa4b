"""The answers so far of an interrupted call, kept beside the file that it will write."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.core import documents, regular_files
from harness.core.digests import Damaged, damaged, damaged_by, opened, remade, sealed
from harness.core.errors import DataError, UsageError, brief, quoted
from harness.datasets import prompts

FIELDS = ("class", "prompts", "version", "dataset", "source")  # of a line
AGAIN = "remove that line to ask for its class again, or the file where it is the first"
LARGEST_MIB = 64


class Journal:
    """Answers of `out` and of the journal beside it, one JSON line each behind a header.

    A line that was cut short is dropped. One process at a time: UsageError for a second one.
    """

    def __init__(self, out: Path, dataset: str, source: dict[str, Any]) -> None:
        self.out, self.path = out, out.with_name(f"{out.name}.part")
        self.dataset, self.source = dataset, source
        self.date = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.of: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Journal:
        if self.out.exists():
            self._take_known()
        regular_files.refuse_other_kinds(self.path, "answers so far", LARGEST_MIB)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise
        return self

    def _take_known(self) -> None:
        """Answers of the file itself; a damaged one is told, and written again."""
        try:
            known = prompts.read(self.out, dataset=self.dataset)
        except Damaged as error:
            remade(error)
            return
        self._same(known.source, self.out)
        self.of |= known.of

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def _begin(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process is asking for {self.out} already") from None
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise UsageError(f"another process has just finished {self.out}; call again")
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        if len(lines) <= 2:  # a header without an answer binds nobody
            lines = [b""]
        self._file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        for number, line in enumerate(lines[:-1], 1):
            try:
                self._take(self._opened(line, number), number)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise damaged(self.path, f"line {number}: {brief(error)}", AGAIN) from error
        if len(lines) == 1:
            source = {**self.source, "date": self.date}
            version = {"version": prompts.VERSION}
            self._append({**version, "dataset": self.dataset, "source": source})

    def _opened(self, line: bytes, number: int) -> dict[str, Any]:
        """The value of a line; ValueError for one that is not what was written."""
        try:
            content = documents.json_text(line, f"{self.path}, line {number}", "answer")
        except DataError as error:
            raise damaged_by(error, AGAIN) from None
        value, fault = opened(content, FIELDS)
        if fault is not None:
            raise ValueError(fault)
        return dict(value)

    def _take(self, value: dict[str, Any], number: int) -> None:
        if number > 1:
            prompts.check(value["prompts"], f"{self.path}, line {number}")
            self.of[value["class"]] = tuple(value["prompts"])
            return
        if value["version"] != prompts.VERSION:
            raise DataError(f"{self.path} has version {quoted(value['version'])}")
        if value["dataset"] != self.dataset:
            raise UsageError(f"{self.path} holds the prompts of {quoted(value['dataset'])}")
        self._same(value["source"], self.path)

    def _same(self, source: Any, where: Path) -> None:
        """Refuse to mix answers of two models in one file; the earliest date stays."""
        for field, wanted in self.source.items():
            if source.get(field) != wanted:
                raise UsageError(
                    f"{where} has prompts of {field} {quoted(source.get(field))}, not "
                    f"{quoted(wanted)}; move it away or name another file"
                )
        self.date = min(self.date, str(source.get("date", self.date)))

    def add(self, classname: str, texts: Sequence[str]) -> None:
        """Keep an answer, at once and for good."""
        with self._lock:
            self._append({"class": classname, "prompts": list(texts)})
            self.of[classname] = tuple(texts)

    def _append(self, value: dict[str, Any]) -> None:
        try:
            text = json.dumps(sealed(value), ensure_ascii=False)
            self._file.write(text.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error

    def finish(self, classes: Sequence[str]) -> None:
        """Write the file, in the order of `classes`, and drop the journal."""
        order = dict.fromkeys([*(c for c in classes if c in self.of), *self.of])
        of = {name: self.of[name] for name in order}
        source = {**self.source, "date": self.date}
        prompts.write(self.out, prompts.Prompts(self.dataset, source, of))
        self.path.unlink()
