"""TensorBoard's event files, written without PyTorch and TensorFlow."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Events:
    """Scalars by epoch, pictures, and the settings as text and as hyper-parameters (HPARAMS)."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer = EventFileWriter(str(folder), flush_secs=5)

    def settings(self, values: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import summary_v2 as hparams
        from tensorboard.plugins.text import metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        rows = [f"| {name} | {value} |" for name, value in values.items()]
        text = "\n".join(["| setting | value |", "|---|---|", *rows])
        of_text = metadata.create_summary_metadata("settings", "")
        tensor = make_tensor_proto([text.encode()])
        self._write(0, [Summary.Value(tag="settings", metadata=of_text, tensor=tensor)])
        plain = {name: _plain(value) for name, value in values.items()}
        self._write(0, hparams.hparams_pb(plain).value)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(step, [Summary.Value(tag=n, simple_value=v) for n, v in values.items()])

    def picture(self, name: str, pixels: np.ndarray) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        height, width, _ = pixels.shape
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=out.getvalue()
        )
        self._write(0, [Summary.Value(tag=name, image=image)])

    def close(self) -> None:
        self.writer.close()

    def _write(self, step: int, values: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=values)
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def open_run(folder: Path, run: str) -> Events:
    return Events(folder)
