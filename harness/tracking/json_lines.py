"""JSON lines: run.jsonl, a line per call, and pictures as PNG beside it.

Each line has `kind` ("settings", "numbers", "picture") and `time` (seconds since 1970). Settings
have `values` by dotted name; numbers `step` and `values`; pictures `name` and `file`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FILE = "run.jsonl"


class JsonLines:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = (folder / FILE).open("a", encoding="utf-8", buffering=1)  # a line at a time

    def settings(self, values: Mapping[str, Any]) -> None:
        self._write("settings", values=dict(values))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._write("numbers", step=step, values=dict(values))

    def picture(self, name: str, pixels: np.ndarray) -> None:
        from PIL import Image

        path = self.folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        self._write("picture", name=name, file=path.relative_to(self.folder).as_posix())

    def close(self) -> None:
        self.file.close()

    def _write(self, kind: str, **content: Any) -> None:
        line = {"kind": kind, "time": time.time(), **content}
        self.file.write(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n")


def open_run(folder: Path, run: str) -> JsonLines:
    return JsonLines(folder)
