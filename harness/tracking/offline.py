"""Weights & Biases without a network: a folder that `wandb sync` uploads, whenever that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = "discl-harness"


class Offline:
    """A run of its own, several of which may be open in one process."""

    def __init__(self, folder: Path, name: str) -> None:
        import wandb

        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        group, _, short = name.rpartition("/")
        try:
            self.run = wandb.init(
                project=PROJECT, group=group, name=short, dir=str(folder), mode="offline",
                reinit="create_new", settings=quiet,
            )  # fmt: skip
        except wandb.Error as error:
            raise RuntimeError(str(error)) from error
        self.step = 0

    def settings(self, values: Mapping[str, Any]) -> None:
        self.run.config.update(dict(values))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.step = step
        self.run.log(dict(values), step=step)

    def picture(self, name: str, pixels: np.ndarray) -> None:
        import wandb

        self.run.log({name: wandb.Image(pixels)}, step=self.step)

    def close(self) -> None:
        self.run.finish()


def open_run(folder: Path, run: str) -> Offline:
    return Offline(folder, run)
