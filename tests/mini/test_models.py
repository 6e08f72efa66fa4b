"""The foundation models that ship with the package: their shapes, their formats, their size."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.specs import key
from harness.datasets import cifar100_lt as cifar
from harness.generation.clip_scores import Scorer
from harness.generation.engine import Generator, Request, load_pipeline
from harness.mini import scene, weights, world
from harness.mini.weights import MODELS
from harness.pipeline.workspace import Workspace

MIB = 2**20
GENERATOR, CLIP = MODELS / "generator", MODELS / "clip"
# Changes with the shipped weights and with how the recipe samples: all images would be made again.
GENERATOR_KEY = "cc4282022ebbcf67122e46aa866ec7a67d2f83efb7092f7c511e693ecffe50d3"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    torch.set_num_threads(1)
    return load_pipeline(str(GENERATOR), torch.float32, "cpu")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(f"local-dir:{CLIP}")


def size(folder: Path, pattern: str = "*") -> int:
    return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())


def test_they_fit_into_a_package():
    assert 0 < size(MODELS) <= 24 * MIB
    assert 0 < size(scene.SPRITES) <= 2 * MIB
    kinds = {p.suffix for p in MODELS.rglob("*") if p.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt", ".md", ""}  # nothing that runs when read


def test_weights_are_half_precision_safetensors():
    from safetensors import safe_open

    files = sorted(MODELS.rglob("*.safetensors"))
    assert {p.parent.name for p in files} == {"clip", "clip-large", "text_encoder_2", "unet", "vae"}
    for path in files:
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, path


def test_the_generator_is_shaped_like_the_refiner(pipeline):
    index = json.loads((GENERATOR / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLImg2ImgPipeline"
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert index["requires_aesthetics_score"] is True
    assert pipeline.text_encoder is None
    assert pipeline.tokenizer is None
    assert pipeline.config.requires_aesthetics_score
    assert not pipeline.config.force_zeros_for_empty_prompt
    assert pipeline.unet.config.addition_embed_type == "text_time"
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    assert pipeline.vae_scale_factor == 8
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder_2):
        assert all(p.isfinite().all() for p in part.parameters())


def test_the_stock_pipeline_runs_on_it(pipeline):
    from PIL import Image

    picture = Image.fromarray(scene.compose("train", 3, 0, 64).pixels)
    images = pipeline(
        "a photo of a bear on green grass",
        image=picture,
        strength=0.5,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert images.size == (64, 64)


def test_identities(tmp_path):
    """Of the shipped models: a change means other images and other scores."""
    place = Workspace(cifar.NAME, home=tmp_path)
    assert place.generator.weights == weights.weights_digest(str(GENERATOR))
    assert len(place.generator.weights) == 64
    assert place.scorer == "mini-d2ff37d6774c"
    assert key(place.generator) == GENERATOR_KEY


def test_every_prompt_is_made_of_known_words(pipeline, scorer):
    """Each concept's prompts are cut into few tokens, and fit."""
    names = scene.atlas().names
    tokenizer = pipeline.tokenizer_2
    for name in names:
        for seed in range(10):
            ids = tokenizer(cifar.prompt(name, seed, cifar.MINI)).input_ids
            assert len(ids) <= tokenizer.model_max_length
            text = tokenizer.decode(ids, skip_special_tokens=True)
            assert name in text
    texts = scorer.texts([cifar.score_prompt(name) for name in names])
    likeness = texts @ texts.T - 2 * np.eye(len(texts))
    assert likeness.max() < 0.999  # no two classes read the same


def test_it_draws_what_it_is_asked_for(pipeline, scorer):
    """Text-only pictures are nearer to their own class name than to others', far above chance."""
    names = [scene.atlas().names[row] for row in world.rows_of_cifar100()][::4]
    spec = Workspace(cifar.NAME).generator
    grey = np.full((64, 64, 3), 128, np.uint8)
    requests = [Request(name, "grey", 0, 0, cifar.prompt(name, 0, cifar.MINI)) for name in names]
    drawn = {
        r.key: image for r, image in Generator(pipeline, spec, lambda _: grey).images(requests)
    }
    vectors = scorer.images(np.stack([drawn[name] for name in names]))
    texts = scorer.texts([cifar.score_prompt(name) for name in names])
    assert ((vectors @ texts.T).argmax(1) == np.arange(len(names))).mean() > 0.5


def test_order_and_neighbours_change_no_byte(pipeline):
    """As tests/test_generate.py, with the real shapes."""
    sources = {str(n): scene.compose("train", n, 0, 64).pixels for n in range(4)}
    spec = Workspace(cifar.NAME).generator
    requests = [
        Request(f"{s}/{g}/{n}", s, g, n, "a photo of a bear at night")
        for s in sources
        for g in (0, 50, 70)
        for n in range(2)
    ]

    def make(some: list[Request]) -> dict[str, bytes]:
        pairs = Generator(pipeline, spec, sources.__getitem__).images(some)
        return {r.key: image.tobytes() for r, image in pairs}

    first = make(requests)
    assert make(random.Random(0).sample(requests, len(requests))) == first
    few = make(requests[5:7])
    assert few == {key: first[key] for key in few}


@pytest.mark.parametrize("folder", [MODELS / "clip", MODELS / "clip-large"], ids=lambda p: p.name)
def test_open_clip_reads_the_scorers(folder):
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert model.visual.image_size in (64, (64, 64))
    config = json.loads((folder / "open_clip_config.json").read_text())
    assert config["preprocess_cfg"]["resize_mode"] == "squash"
    assert preprocess is not None
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    ids = tokenizer(["a photo of apple", "a photo of bear"])
    assert ids.shape[1] == config["model_cfg"]["text_cfg"]["context_length"]
    assert (ids[0] != ids[1]).any()
