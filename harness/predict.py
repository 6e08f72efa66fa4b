"""What a model says about images: logits, predictions, the probability of the true class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness.types import Objective

BATCH = 256


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), channels last in memory; mean, std in [0, 1]."""
    n, h, w, _ = images.shape
    scale, shift = (1 / (255 * std)).repeat(w), (mean / std).repeat(w)
    flat = images.reshape(n, h, 3 * w).to(torch.float32).mul_(scale).sub_(shift)
    return flat.view(n, h, w, 3).permute(0, 3, 1, 2)


def true_class(
    model: Any,
    objective: Objective,
    take: Callable[[slice], np.ndarray],
    labels: np.ndarray,
    mean: Tensor,
    std: Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted class (N,) int32 and probability of the true class (N,) float32, in eval mode.

    take: rows of `labels` -> uint8 (B, H, W, 3). Equal logits go to the lower class.
    """
    guesses, probabilities = [], []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for part in _parts(len(labels)):
            images = torch.from_numpy(take(part)).to(mean.device)
            z = model.encoder(normalise(images, mean, std))
            logits = objective.logits(model, z).float()
            y = torch.tensor(labels[part], dtype=torch.int64, device=logits.device)
            guesses.append(logits.argmax(1).to(torch.int32).cpu())
            probabilities.append(logits.softmax(1).gather(1, y[:, None])[:, 0].cpu())
    model.train(was_training)
    if not guesses:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    return torch.cat(guesses).numpy(), torch.cat(probabilities).numpy()


def table(
    ids: np.ndarray, labels: np.ndarray, predictions: np.ndarray, p_true: np.ndarray
) -> pl.DataFrame:
    """Predictions as they are stored: id, label, prediction, p_true."""
    return pl.DataFrame(
        {
            "id": pl.Series(ids, dtype=pl.Int64),
            "label": pl.Series(labels, dtype=pl.Int32),
            "prediction": pl.Series(predictions, dtype=pl.Int32),
            "p_true": pl.Series(p_true, dtype=pl.Float32),
        }
    )


def _parts(n: int) -> Iterator[slice]:
    return (slice(first, min(first + BATCH, n)) for first in range(0, n, BATCH))
