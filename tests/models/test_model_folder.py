"""A model's folder is checked before libraries build what its files say."""

import json
import os
import shutil

import pytest

from harness.core.errors import DataError
from harness.mini import weights
from harness.models import model_folder


@pytest.fixture(params=["clip", "generator"])
def sound(request, models, tmp_path):
    return shutil.copytree(models / request.param, tmp_path / request.param)


@pytest.fixture
def change(models, tmp_path):
    """change(model, file, **values) -> folder of a tiny model with other values in a JSON file."""

    def changed(model, file, part=(), **values):
        folder = shutil.copytree(models / model, tmp_path / model)
        content = json.loads((folder / file).read_text())
        table = content
        for name in part:
            table = table[name]
        table.update(values)
        (folder / file).write_text(json.dumps(content))
        return folder

    return changed


def test_sound_folders(sound):
    model_folder.check(sound)


@pytest.mark.parametrize("folder", [weights.built_in_generator(), weights.MODELS / "clip-large"])
def test_the_built_in_models(folder):
    model_folder.check(folder)


VISION, TEXT = ("model_cfg", "vision_cfg"), ("model_cfg", "text_cfg")


@pytest.mark.parametrize(
    ("model", "file", "part", "values", "words"),
    [
        ("clip", "open_clip_config.json", VISION, {"width": 2}, "asks for|damaged"),
        ("clip", "open_clip_config.json", VISION, {"layers": 10**9}, "layers is 1000000000"),
        ("clip", "open_clip_config.json", VISION, {"width": "x"}, "damaged configuration"),
        ("clip", "open_clip_config.json", TEXT, {"vocab_size": 5}, r"asks for \[5, "),
        ("clip", "open_clip_config.json", TEXT, {"context_length": 10**8}, "at most 10,000,000"),
        ("clip", "open_clip_config.json", TEXT, {"context_length": 10**6}, "asks for"),
        ("clip", "open_clip_config.json", (), {"model_cfg": [1]}, "no model_cfg"),
        ("clip", "open_clip_config.json", (), {"auto_map": {"a": "b"}}, "auto_map asks for code"),
        ("generator", "unet/config.json", (), {"block_out_channels": [2, 4]}, "damaged|asks for"),
        ("generator", "unet/config.json", (), {"layers_per_block": 10**6}, "layers_per_block is"),
        ("generator", "vae/config.json", (), {"latent_channels": 3}, "asks for"),
        ("generator", "vae/config.json", (), {"norm_num_groups": 0}, "damaged configuration"),
        ("generator", "text_encoder_2/config.json", (), {"hidden_size": 3}, "damaged|asks for"),
        ("generator", "text_encoder_2/config.json", (), {"vocab_size": "x"}, "damaged"),
        (
            *("generator", "scheduler/scheduler_config.json", ()),
            *({"num_train_timesteps": 10**10}, "from 1 to 100,000"),
        ),
        (
            *("generator", "scheduler/scheduler_config.json", ()),
            *({"beta_schedule": "x"}, "damaged configuration"),
        ),
    ],
)
def test_what_does_not_fit_the_weights(change, model, file, part, values, words):
    folder = change(model, file, part, **values)
    with pytest.raises(DataError, match=words) as error:
        model_folder.check(folder)
    assert str(error.value).startswith(f"{folder / file}: ")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 10_000, b"NaN", b"\xff"])
def test_damaged_json(sound, content):
    path = sound / ("model_index.json" if sound.name == "generator" else "tokenizer_config.json")
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}"):
        model_folder.check(sound)


def test_a_damaged_tokenizer(sound):
    (path,) = sound.rglob("tokenizer.json")
    path.write_text('{"model": {}}')
    with pytest.raises(DataError, match=f"^{path}: damaged tokenizer"):
        model_folder.check(sound)


def test_a_pipe_among_the_files(sound):
    os.mkfifo(sound / "more.bin")
    with pytest.raises(DataError, match=r"more\.bin: is a pipe"):
        model_folder.check(sound)
    with pytest.raises(DataError, match=r"more\.bin: is a pipe"):
        weights.weights_digest(str(sound))
