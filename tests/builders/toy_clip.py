"""An image-text model of a few numbers, whose results can be worked out by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Words(nn.Module):
    """Token ids (N, 1) -> rows of a table (N, D)."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(vectors.clone())
        self.sizes: list[int] = []  # how many texts each call embedded

    def forward(self, ids: Tensor) -> Tensor:
        self.sizes.append(len(ids))
        return self.table[ids[:, 0]]


class Toy(nn.Module):
    """`texts[i]` embeds as `vectors[i]`; images are vectors and embed as `image_weight @ x`."""

    def __init__(
        self,
        texts: Sequence[str],
        vectors: Tensor,
        image_weight: Tensor,
        scale: float,
        classes: int,
    ) -> None:
        super().__init__()
        self.texts = list(texts)
        self.text = Words(vectors)
        features, inputs = image_weight.shape
        self.encoder = nn.Linear(inputs, features, bias=False).to(image_weight.dtype)
        self.head = nn.Linear(features, classes).to(image_weight.dtype)
        self.logit_scale = nn.Parameter(torch.tensor(scale, dtype=image_weight.dtype).log())
        with torch.no_grad():
            self.encoder.weight.copy_(image_weight)

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[self.texts.index(text)] for text in texts])
