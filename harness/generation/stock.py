"""Other ways to the same synthetic images, for comparison: diffusers' own pipeline.

In batches of one level; and one image at a time with CLIP embeddings of the source, the text and
the result, as the authors' script goes about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness.core.specs import GeneratorSpec
from harness.generation.clip_scores import Scorer
from harness.generation.engine import Request, noise_seed
from harness.generation.schedule import denoising_steps

BATCHES = (8, 16, 32, 64)  # from which the best is taken


def stock(
    pipeline: Any,
    spec: GeneratorSpec,
    requests: Sequence[Request],
    sources: Mapping[str, np.ndarray],
) -> list[Image.Image]:
    """The pipeline's pictures of requests of one guidance level, in one batch."""
    left = denoising_steps(requests[0].guidance, spec.steps)
    seeds = [noise_seed(r.source, r.seed) for r in requests]
    images: list[Image.Image] = pipeline(
        prompt=[r.prompt for r in requests],
        negative_prompt=[spec.negative_prompt] * len(requests),
        image=[Image.fromarray(sources[r.source]) for r in requests],
        strength=min(1.0, (left + 0.5) / spec.steps),  # 1 - 0.9 in floats would lose a step
        num_inference_steps=spec.steps,
        guidance_scale=spec.text_guidance,
        aesthetic_score=spec.aesthetic,
        negative_aesthetic_score=spec.negative_aesthetic,
        original_size=(spec.height_px or spec.size_px, spec.size_px),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return images


def batched(
    pipeline: Any,
    spec: GeneratorSpec,
    requests: Sequence[Request],
    sources: Mapping[str, np.ndarray],
    batch: int,
) -> int:
    """Images made, batch after batch."""
    return sum(
        len(stock(pipeline, spec, requests[i : i + batch], sources))
        for i in range(0, len(requests), batch)
    )


class Loop:
    """One image at a time."""

    def __init__(self, pipeline: Any, spec: GeneratorSpec, scorer: Scorer) -> None:
        import open_clip

        self.pipeline, self.spec, self.scorer = pipeline, spec, scorer
        config = open_clip.get_model_preprocess_cfg(scorer.model)
        config = open_clip.transform.PreprocessCfg(**config)
        self.preprocess = open_clip.transform.image_transform_v2(config, is_train=False)

    @torch.inference_mode()
    def make(self, request: Request, sources: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """CLIPScores of the image with its text and with its source."""
        image = stock(self.pipeline, self.spec, [request], sources)[0]
        embedding, real = (self._see(p) for p in (image, Image.fromarray(sources[request.source])))
        ids = self.scorer.tokenizer([request.prompt]).to(self.scorer.device)
        text = torch.nn.functional.normalize(self.scorer.model.encode_text(ids), dim=-1)
        return float((embedding * text).sum()), float((embedding * real).sum())

    def _see(self, picture: Image.Image) -> torch.Tensor:
        x = self.preprocess(picture)[None].to(self.scorer.device)
        return torch.nn.functional.normalize(self.scorer.model.encode_image(x), dim=-1)
