"""Image-text models as backbones: open_clip's own numbers, and the classifier of captions."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from toy_clip import Toy

from harness.core.errors import DataError, UsageError
from harness.mini import scene, world
from harness.mini.weights import MODELS
from harness.models import clip

CLIP = MODELS / "clip"
TEXTS = ["a photo of a bear.", "bear in the wild.", "a photo of a bus at night", ""]


@pytest.fixture(scope="module")
def mini() -> clip.ImageText:
    torch.set_num_threads(1)
    return clip.load("mini", 60).eval()


@pytest.fixture(scope="module")
def open_clip_model() -> torch.nn.Module:
    """The same files as open_clip itself loads them, with its other class of model."""
    return open_clip.create_model(f"local-dir:{CLIP}").eval()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(CLIP, tmp_path / "clip")
    return tmp_path / "clip"


# ---------------------------------------------------------------- against open_clip


def test_towers_and_tokens_are_open_clips(mini, open_clip_model):
    x = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ids = open_clip.get_tokenizer(f"local-dir:{CLIP}")(TEXTS)
    assert torch.equal(mini.tokenise(TEXTS), ids)
    assert ids.dtype == torch.int64
    with torch.inference_mode():
        assert torch.equal(mini.encoder(x), open_clip_model.encode_image(x))
        assert torch.equal(mini.text(ids), open_clip_model.encode_text(ids))
    assert torch.equal(mini.logit_scale, open_clip_model.logit_scale)


def test_every_parameter_of_open_clip_is_there_once(mini, open_clip_model):
    def ours(name: str) -> str:
        if name == "logit_scale":
            return name
        inner = name.removeprefix("visual.")
        return f"encoder.tower.{inner}" if inner != name else f"text.{name}"

    expected = {ours(name): value for name, value in open_clip_model.state_dict().items()}
    state = mini.state_dict()
    head = {"head.weight": (60, 96), "head.bias": (60,)}
    assert state.keys() == expected.keys() | head.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert {name: tuple(state[name].shape) for name in head} == head
    assert not any(state[name].any() for name in head)
    assert all(value.dtype == torch.float32 for value in state.values())


def test_what_the_image_tower_was_shown(mini):
    assert (mini.side, mini.mean, mini.std) == (64, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("shape", [(2, 3, 224, 224), (2, 3, 64, 80), (2, 1, 64, 64)])
def test_other_sizes_are_refused(mini, shape):
    size = "x".join(map(str, shape[1:]))
    with pytest.raises(DataError, match=f"3x64x64, not of {size}: give the recipe view_px = 64"):
        mini.encoder(torch.zeros(shape))


def test_long_captions_are_cut(mini):
    ids = mini.tokenise(["a bear " * 40])
    assert ids.shape == (1, 24)
    with torch.inference_mode():
        assert mini.text(ids).isfinite().all()


def test_loading_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    clip.load("mini", 4)
    assert torch.equal(torch.rand(3), expected)


def test_a_state_dict_fits_a_model_without_weights(mini, caplog):
    empty = clip.load("mini", 60, weights=False)
    assert not caplog.records
    name = "text.token_embedding.weight"
    assert not torch.equal(empty.state_dict()[name], mini.state_dict()[name])
    empty.load_state_dict(mini.state_dict())
    assert torch.equal(empty.state_dict()[name], mini.state_dict()[name])


# Parameters of OpenAI's released weights, as the CLIP literature reports them.
@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [("ViT-B-16-quickgelu", 149_620_737, 512), ("ViT-L-14-quickgelu", 427_616_513, 768)],
)
def test_paper_models(name, parameters, features):
    with torch.device("meta"):
        model = clip.load(f"{name}:openai", 182, weights=False)
    counts = dict.fromkeys(("encoder", "text", "logit_scale", "head"), 0)
    for key, value in model.named_parameters():
        counts[key.partition(".")[0]] += value.numel()
    assert counts.pop("head") == 182 * features + 182
    assert sum(counts.values()) == parameters
    assert sum(v.numel() for v in model.state_dict().values()) == parameters + 182 * (features + 1)
    assert model.side == 224
    assert model.mean == (0.48145466, 0.4578275, 0.40821073)  # OpenAI's model card
    assert model.std == (0.26862954, 0.26130258, 0.27577711)
    assert model.tokenise(TEXTS).shape == (4, 77)


# ---------------------------------------------------------------- what cannot be loaded


@pytest.mark.parametrize("file", ["tokenizer.json", "open_clip_config.json"])
def test_a_folder_that_lacks_a_file(copy, file):
    (copy / file).unlink()
    with pytest.raises(DataError, match=f"there is no {copy / file}"):
        clip.load(f"local-dir:{copy}", 3)


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_folder_with_bad_weights(copy, content):
    (copy / "open_clip_model.safetensors").unlink()
    if content is not None:
        (copy / "open_clip_model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot load the image-text model|damaged weights"):
        clip.load(f"local-dir:{copy}", 3)


def test_another_models_tokenizer(copy):
    """One that knows a token more than the text tower has embeddings."""
    content = json.loads((copy / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][-1], "id": 970, "content": "<more>"})
    (copy / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="has 971 tokens, its text tower 970"):
        clip.load(f"local-dir:{copy}", 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-17:openai", "unknown image-text model 'ViT-B-17:openai'; for example ViT-B-1"),
        ("ViT-B-16-quickgelu", "write ViT-B-16-quickgelu:TAG; for example openai"),
        ("ViT-B-16-quickgelu:opanai", "has no weights 'opanai'; for example openai"),
        ("ViT-B-16:openai", "trained with QuickGELU; write ViT-B-16-quickgelu:openai"),
        ("ViT-L/14:openai", "trained with QuickGELU; write ViT-L-14-quickgelu:openai"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(UsageError) as error:
        clip.load(name, 3, weights=False)
    assert message in str(error.value)


def test_weights_that_are_not_here(monkeypatch, tmp_path):
    """As on a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError) as error:
        clip.load("ViT-B-32-quickgelu:openai", 3)
    message = str(error.value)
    assert message.startswith("cannot load the image-text model ViT-B-32-quickgelu:openai: ")
    assert "openai" in message
    assert "local-dir:/path" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP:webli", "coca_ViT-B-32:laion2b_s13b_b90k"])
def test_models_of_another_kind(name, monkeypatch):
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda _: lambda texts: texts)
    monkeypatch.setattr(clip, "check_vocabulary", lambda *_: None)
    with torch.device("meta"), pytest.raises(DataError, match="not a CLIP model"):
        clip.load(name, 3, weights=False)


# ---------------------------------------------------------------- the classifier of captions


def test_zero_shot_by_hand():
    """Class 0: (3, 0) and (0, 5) point along (1, 0) and (0, 1), their mean along (1, 1).
    Class 1: (0, 2) alone. Class 2: (4, 3) and (-8, 6), unit (.8, .6) and (-.8, .6): up.
    """
    vectors = torch.tensor([[3.0, 0], [0, 5], [0, 2], [4, 3], [-8, 6]])
    model = Toy("abcde", vectors, torch.eye(2), scale=7, classes=3)
    weights = clip.zero_shot(model, (("a", "b"), ("c",), ("d", "e")))
    half = 7 / math.sqrt(2)
    assert weights.tolist() == [pytest.approx(v) for v in ([half, half], [0, 7], [0, 7])]
    assert not weights.requires_grad


def test_zero_shot_does_not_depend_on_the_batches(monkeypatch, mini):
    captions = [(f"a photo of a {n}.", f"{n} in the wild.") for n in ("bear", "bus", "fox")]
    whole = clip.zero_shot(mini, captions)
    monkeypatch.setattr(clip, "TEXTS", 4)
    assert clip.zero_shot(mini, captions) == pytest.approx(whole, abs=1e-5)


def test_a_class_without_captions(mini):
    with pytest.raises(DataError, match="class 1 has no caption"):
        clip.zero_shot(mini, (("a bear",), (), ()))


def test_the_built_in_model_knows_the_test_pictures(mini):
    """Chance is 1 in 60."""
    rows = world.rows_of_cifar100()
    names = [scene.atlas().names[row] for row in rows]
    pictures = np.stack(
        [scene.compose("test", row, n, 64).pixels for row in rows for n in range(2)]
    )
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(mini.mean).view(3, 1, 1)) / torch.tensor(mini.std).view(3, 1, 1)
    head = clip.zero_shot(mini, [(f"a photo of a {n}.", f"{n} in the wild.") for n in names])
    with torch.inference_mode():
        guesses = (mini.encoder(x) @ head.T).argmax(1)
    assert (guesses == torch.arange(60).repeat_interleave(2)).float().mean() > 0.4
