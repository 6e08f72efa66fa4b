"""CLIPScore: cosine similarity of CLIP embeddings, in [-1, 1], not scaled (paper: section 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.core.errors import DataError, brief
from harness.models import model_folder
from harness.models.clip import check_vocabulary, checked_folder
from harness.models.identity import FOLDER

BATCH = 64  # constant and padded, so that a score does not depend on its neighbours


class Scorer:
    """An open_clip model, by name ("ViT-B-32") and tag, or from a folder ("local-dir:/path").

    Raises DataError when there is no such model, or no weights of it.
    """

    def __init__(self, model: str, pretrained: str | None = None, device: str = "cpu") -> None:
        import open_clip

        if model.startswith(FOLDER):
            checked_folder(model)
        settings = {"device": device, "require_pretrained": True}  # random weights score too
        try:
            self.model = open_clip.create_model(model, pretrained, **settings)
            self.tokenizer = open_clip.get_tokenizer(model)
            check_vocabulary(model, self.tokenizer, self.model)
        except model_folder.library_errors() as error:
            raise DataError(f"cannot load the CLIP model {model}: {brief(error)}") from error
        self.model.eval().float()
        size = self.model.visual.image_size
        self.side = size[0] if isinstance(size, tuple) else size
        cfg = open_clip.get_model_preprocess_cfg(self.model)
        self.mean = torch.tensor(cfg["mean"]).view(1, 3, 1, 1)
        self.std = torch.tensor(cfg["std"]).view(1, 3, 1, 1)
        self.whole = cfg["resize_mode"] == "squash"  # else the middle of a wide picture
        self.device = torch.device(device)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> np.ndarray:
        """Unit vectors float32 (N, D) of N texts."""
        parts = []
        for i in range(0, len(texts), BATCH):
            some = texts[i : i + BATCH]
            ids = self.tokenizer(some + [""] * (BATCH - len(some)))
            parts.append(self.model.encode_text(ids.to(self.device))[: len(some)])
        return _unit(torch.cat(parts))

    @torch.inference_mode()
    def images(self, pictures: np.ndarray) -> np.ndarray:
        """Unit vectors float32 (N, D) of uint8 pictures (N, H, W, 3)."""
        parts = [self._embed(pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        return _unit(torch.cat(parts))

    def _embed(self, pictures: np.ndarray) -> Any:
        n = len(pictures)
        full = np.concatenate([pictures, np.repeat(pictures[:1], BATCH - n, axis=0)])
        x = torch.from_numpy(full).permute(0, 3, 1, 2).float() / 255
        x = self._sized(x)
        return self.model.encode_image(((x - self.mean) / self.std).to(self.device))[:n]

    def _sized(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) as squares of the model's side, the way the model's own are."""
        height, width = x.shape[-2:]
        short = min(height, width)
        size = (self.side * height // short, self.side * width // short)
        size = (self.side, self.side) if self.whole else size
        if size != (height, width):
            x = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True)
            x = x.clamp(0, 1)
        top, left = (round((side - self.side) / 2) for side in size)
        return x[..., top : top + self.side, left : left + self.side]


def _unit(x: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(x.float(), dim=-1).cpu().numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise cosine of unit vectors (N, D); float32 (N,)."""
    return np.einsum("nd,nd->n", a, b).astype(np.float32)
