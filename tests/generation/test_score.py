"""CLIPScores: open_clip's own numbers, each picture's independent of the others."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from harness.core.errors import DataError
from harness.generation import clip_scores
from harness.generation.clip_scores import Scorer, cosine
from harness.mini import scene

TEXTS = ["a photo of apple", "a photo of bear", "a photo of a bus at night", ""]


@pytest.fixture(scope="module")
def scorer(models: Path) -> Scorer:
    return Scorer(f"local-dir:{models / 'clip'}")


def pictures(n: int, px: int = 32) -> np.ndarray:
    return np.stack([scene.compose("train", i % 4, i // 4, px).pixels for i in range(n)])


def test_vectors_have_length_one_and_scores_are_cosines(scorer):
    images, texts = scorer.images(pictures(4)), scorer.texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32
    assert images.shape == texts.shape == (4, 16)
    assert np.linalg.norm(images, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-6)
    scores = cosine(images, texts)
    assert (scores.dtype, scores.shape) == (np.float32, (4,))
    assert np.abs(scores).max() <= 1 + 1e-6
    assert scores == pytest.approx([float(images[i] @ texts[i]) for i in range(4)], abs=1e-6)
    assert cosine(images, images) == pytest.approx(1, abs=1e-6)
    assert cosine(images, -images) == pytest.approx(-1, abs=1e-6)
    assert len(np.unique(images.round(3), axis=0)) == 4


def test_neighbours_change_no_bit(scorer):
    """More than a batch, in another order, alone: the same bits."""
    n = clip_scores.BATCH + 6
    some = pictures(n)
    together = scorer.images(some)
    order = np.random.default_rng(0).permutation(n)
    assert scorer.images(some[order]).tobytes() == together[order].tobytes()
    for i in (0, 3, n - 1):
        assert scorer.images(some[i : i + 1]).tobytes() == together[i : i + 1].tobytes()
    texts = [f"a photo of {i}" for i in range(n)]
    together = scorer.texts(texts)
    assert scorer.texts(texts[::-1]).tobytes() == together[::-1].tobytes()
    assert scorer.texts(texts[3:4]).tobytes() == together[3:4].tobytes()


def reference(folder: Path, some: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """What open_clip's own model, transform and tokenizer make of pictures and texts."""
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    x = torch.stack([preprocess(Image.fromarray(picture)) for picture in some])
    with torch.inference_mode():
        images = model.eval().encode_image(x, normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(name)(texts), normalize=True)
    return images.numpy(), text.numpy()


@pytest.mark.parametrize(("px", "tolerance"), [(32, 1e-5), (64, 0.002), (48, 0.002), (16, 0.002)])
def test_equals_open_clip(models, scorer, px, tolerance):
    """Resized pictures differ by the rounding to grey levels that Pillow does in between."""
    some = pictures(12, px)
    images, texts = reference(models / "clip", some, TEXTS)
    assert np.abs(scorer.images(some) - images).max() < tolerance
    assert np.abs(scorer.texts(TEXTS) - texts).max() < 1e-5


@pytest.mark.parametrize("shape", [(36, 64), (64, 36), (20, 31)])
@pytest.mark.parametrize("mode", ["squash", "shortest"])
def test_wide_and_tall_pictures_become_squares_as_the_model_says(models, tmp_path, shape, mode):
    folder = shutil.copytree(models / "clip", tmp_path / "clip")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = mode
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    height, width = shape
    some = pictures(12, 64)[:, :height, :width]
    ours = Scorer(f"local-dir:{folder}").images(some)
    assert np.abs(ours - reference(folder, some, TEXTS)[0]).max() < 0.003


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open_clip_model.safetensors", None),
        ("open_clip_model.safetensors", b"short"),
        ("open_clip_config.json", None),
        ("open_clip_config.json", b"{"),
        ("open_clip_config.json", b'{"model_cfg": {}}'),
    ],
)
def test_damaged_model(models, tmp_path, name, content):
    folder = tmp_path / "clip"
    shutil.copytree(models / "clip", folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(cannot load the CLIP model .*)?{folder}") as error:
        Scorer(f"local-dir:{folder}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [("ViT-Z-99", "openai"), ("local-dir:/no/such/folder", None), ("ViT-B-32-256", "no-such-tag")],
)
def test_unknown_model(model, pretrained):
    with pytest.raises(
        DataError, match=f"cannot load the (CLIP|image-text) model {model}: "
    ) as error:
        Scorer(model, pretrained)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_random_weights_are_no_model(models, tmp_path):
    """A name without the tag of its weights would be scored with noise."""
    folder = tmp_path / "clip"
    shutil.copytree(models / "clip", folder)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(DataError, match="weights"):
        Scorer(f"local-dir:{folder}")
