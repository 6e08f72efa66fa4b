"""What a run did, apart from how well it did: the fingerprint that its record keeps.

Accuracies of unchanged code differ between processors by the luck of training. What a run does
hardly does: how many steps it makes, which images it draws, what its hooks change, what its first
batch costs. So a change of behaviour shows here where no accuracy could tell it from luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.guidance import REAL

if TYPE_CHECKING:
    import polars as pl

    from harness.training.data import TrainData

# in State.memory: kept in checkpoints, so that a resumed run has it whole
EPOCHS, GREY, CHANGED = "behaviour", "brightness", "changed"
BATCHES = 50  # of an epoch that are looked at picture by picture
DIGITS = 6  # significant ones that are kept of a measured number


def count_epoch(
    memory: dict[str, Any], phase: str, batches: int, images: int, first_loss: float,
    rows: pl.DataFrame | None, threshold: float | None, classes: int,
) -> None:  # fmt: skip
    """Add an epoch: its batches and images (of all passes), its first loss, and its rows.

    rows: of the epoch's own pass; None for a pass over features. threshold: the recipe's CLIPScore.
    """
    sums = memory.setdefault(EPOCHS, {"steps": {}, "first_loss": {}, "drawn": {}, "below": [0, 0]})
    sums["steps"][phase] = sums["steps"].get(phase, 0) + batches
    seen = sums.setdefault("images", {})
    seen[phase] = seen.get(phase, 0) + images
    sums["first_loss"].setdefault(phase, first_loss)
    if rows is None:
        return
    labels, levels = rows["label"].to_numpy(), rows["guidance"].to_numpy()
    for level in np.unique(levels).tolist():
        counts = np.bincount(labels[levels == level], minlength=classes)
        before = sums["drawn"].get(str(level), [0] * classes)
        sums["drawn"][str(level)] = (counts + np.array(before)).tolist()
    scores = rows.filter(rows["guidance"] != REAL)["score"].drop_nulls()
    low = 0 if threshold is None else int((scores < threshold).sum())
    sums["below"] = [sums["below"][0] + low, sums["below"][1] + len(scores)]


def brightness(pictures: Any) -> np.ndarray:
    """Means (B,) float64 of pictures, uint8 (B, H, W, 3)."""
    values = np.asarray(pictures)
    return np.asarray(values.reshape(len(values), -1).mean(1, dtype=np.float64))


def count_pictures(
    memory: dict[str, Any], brightness: np.ndarray, labels: np.ndarray, classes: int
) -> None:
    """Add pictures, as the recipe's augmentation left them, by their brightness and labels (B,)."""
    sums = memory.setdefault(GREY, [[0.0] * classes, [0] * classes])
    sums[0] = (np.array(sums[0]) + np.bincount(labels, brightness, minlength=classes)).tolist()
    sums[1] = (np.array(sums[1]) + np.bincount(labels, minlength=classes)).tolist()


def changed(before: Any, after: Any) -> int:
    """How many pictures of a batch, uint8 (B, H, W, 3), a hook has changed."""
    if after is before:
        return 0
    differ = np.asarray(before) != np.asarray(after)
    return int(differ.reshape(len(before), -1).any(1).sum())


def count_change(memory: dict[str, Any], hook: object, changed: int, pictures: int) -> None:
    """Add what a hook made of a batch of pictures."""
    pair = memory.setdefault(CHANGED, {}).setdefault(type(hook).__name__, [0, 0])
    pair[:] = [pair[0] + changed, pair[1] + pictures]


def fingerprint(
    memory: Mapping[str, Any], data: TrainData, hooks: Sequence[object], threshold: float | None
) -> dict[str, Any]:
    """What the record keeps.

    steps: batches by phase; images: those in them, real and synthetic; first_loss: of each phase's
    first batch; drawn: by guidance level (hundredths), how many images of each class the epochs
    had; below: share of the synthetic ones with a CLIPScore below the recipe's threshold; pool: by
    level, how many images, the share of them below the threshold and their mean CLIPScore; hooks:
    names of the augmentation hooks, and the share of the pictures that each of them changed (in the
    first BATCHES batches of epochs); grey: mean brightness (0 to 255) of each class in those of the
    first epoch, None for none.
    """
    sums = memory.get(EPOCHS, {})
    low, synthetic = sums.get("below", [0, 0])
    total, n = memory.get(GREY, [[], []])
    changed = {name: short(k / size) for name, (k, size) in memory.get(CHANGED, {}).items()}
    return {
        "steps": dict(sums.get("steps", {})),
        "images": dict(sums.get("images", {})),
        "first_loss": {phase: short(loss) for phase, loss in sums.get("first_loss", {}).items()},
        "drawn": dict(sums.get("drawn", {})),
        "below": short(low / synthetic) if synthetic else None,
        "pool": None if data.pool is None else _pool(data.pool, threshold),
        "hooks": {type(hook).__name__: changed.get(type(hook).__name__) for hook in hooks},
        "grey": [short(t / k) if k else None for t, k in zip(total, n, strict=True)],
    }


def _pool(pool: pl.DataFrame, threshold: float | None) -> dict[str, dict[str, Any]]:
    about = {}
    for level in sorted(pool["guidance"].unique().to_list()):
        scores = pool.filter(pool["guidance"] == level)["score"].drop_nulls().to_numpy()
        below = None if threshold is None or not len(scores) else _share_below(scores, threshold)
        score = short(float(scores.mean(dtype=np.float64))) if len(scores) else None
        about[str(level)] = {"images": len(scores), "below": below, "score": score}
    return about


def _share_below(scores: np.ndarray, threshold: float) -> float:
    return short(float((scores < threshold).mean()))


def short(value: float) -> float:
    """To DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")
