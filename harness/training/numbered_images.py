"""Real and synthetic training images under one numbering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.errors import DataError
from harness.datasets.base import Images


class Store:
    """Training images under one numbering: the real ones first, then the synthetic ones."""

    def __init__(self, real: Images, synthetic: Images | None = None) -> None:
        self.real, self.synthetic = real, synthetic

    def __len__(self) -> int:
        return len(self.real) + (0 if self.synthetic is None else len(self.synthetic))

    def take(self, ids: np.ndarray) -> np.ndarray | Sequence[np.ndarray]:
        """ids (B,) -> uint8 (B, H, W, 3), or a list of (H, W, 3) when sizes differ.

        DataError for a number there is not.
        """
        n = len(self.real)
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(self)):
            raise DataError(f"image {ids.min()} or {ids.max()} is not in 0..{len(self) - 1}")
        is_real = ids < n
        if self.synthetic is None or is_real.all():
            return self.real.take(ids)
        if not is_real.any():
            return self.synthetic.take(ids - n)
        real, synthetic = self.real.take(ids[is_real]), self.synthetic.take(ids[~is_real] - n)
        arrays = isinstance(real, np.ndarray) and isinstance(synthetic, np.ndarray)
        if arrays and np.shape(real)[1:] == np.shape(synthetic)[1:]:
            batch = np.empty((len(ids), *np.shape(real)[1:]), np.uint8)
            batch[is_real], batch[~is_real] = real, synthetic
            return batch
        pictures = iter(real), iter(synthetic)
        return [next(pictures[0 if r else 1]) for r in is_real]
