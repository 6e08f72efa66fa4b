"""Real and synthetic training images under one numbering."""

from __future__ import annotations

import numpy as np

from harness.types import DataError


class Store:
    """Training images under one numbering: the real ones first, then the synthetic ones.

    real (N, H, W, 3) and synthetic (M, H, W, 3) or None, uint8, never copied.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray | None = None) -> None:
        for images in (real, synthetic):
            if images is not None and (images.dtype != np.uint8 or images.ndim != 4):
                raise DataError(f"images are uint8 (N, H, W, 3), not {images.dtype} {images.shape}")
        if synthetic is not None and not len(synthetic):
            synthetic = None
        if synthetic is not None and synthetic.shape[1:] != real.shape[1:]:
            sizes = f"real ones {real.shape[1:]}, synthetic ones {synthetic.shape[1:]}"
            raise DataError(f"real and synthetic images differ in size: {sizes}")
        self.real, self.synthetic = real, synthetic

    def __len__(self) -> int:
        return len(self.real) + (0 if self.synthetic is None else len(self.synthetic))

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Images (B, H, W, 3) of the numbers ids (B,); DataError for a number there is not."""
        n = len(self.real)
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(self)):
            raise DataError(f"image {ids.min()} or {ids.max()} is not in 0..{len(self) - 1}")
        is_real = ids < n
        if self.synthetic is None or is_real.all():
            return self.real[ids]
        batch = np.empty((len(ids), *self.real.shape[1:]), np.uint8)
        batch[is_real] = self.real[ids[is_real]]
        batch[~is_real] = self.synthetic[ids[~is_real] - n]
        return batch
