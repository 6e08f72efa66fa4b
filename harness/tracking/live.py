"""DVCLive: metrics.json, params.yaml and plots/, which `dvc plots show` and editors read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Live:
    def __init__(self, folder: Path) -> None:
        import dvclive

        logging.getLogger("dvclive").setLevel(logging.ERROR)  # it warns of experiments not saved
        self.live = dvclive.Live(
            str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )

    def settings(self, values: Mapping[str, Any]) -> None:
        self.live.log_params({name: _plain(value) for name, value in values.items()})

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.live.step = step
        for name, value in values.items():
            self.live.log_metric(name, value)
        self.live.make_summary()

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.live.log_image(f"{name}.png", pixels)

    def close(self) -> None:
        self.live.end()


def _plain(value: Any) -> Any:
    """Of the types that DVCLive takes."""
    return value if isinstance(value, bool | int | float | str | list) else str(value)


def open_run(folder: Path, run: str) -> Live:
    return Live(folder)
