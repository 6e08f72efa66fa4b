"""Pipelines as they are published: variants, revisions, caches, samplers, predictions."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_generate import SOURCES, SPEC, stock

from harness.core.errors import DataError, UsageError
from harness.generation.engine import Generator, Request, load_pipeline
from harness.models import identity, model_folder
from harness.pipeline.workspace import Workspace

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PARTS = ("unet", "vae", "text_encoder_2")


@pytest.fixture(scope="module")
def halves(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline with *.fp16.safetensors alone, as `variant="fp16"` writes it."""
    pipeline = load_pipeline(str(models / "generator"), torch.float16, "cpu")
    pipeline.vae.to(torch.float16)
    folder = tmp_path_factory.mktemp("halves")
    pipeline.save_pretrained(folder, variant="fp16")
    return folder


def configured(models: Path, folder: Path, kind: str, **changes: Any) -> Path:
    """The tiny pipeline with another scheduler."""
    shutil.copytree(models / "generator", folder)
    index = folder / "model_index.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"scheduler": ["diffusers", kind]}))
    path = folder / "scheduler" / "scheduler_config.json"
    values = json.loads(path.read_text()) | {"_class_name": kind} | changes
    path.write_text(json.dumps(values))
    return folder


# ---------------------------------------------------------------- variants


def test_a_folder_of_a_variant_alone_loads(halves: Path, models: Path) -> None:
    names = [path.name for part in PARTS for path in (halves / part).glob("*.safetensors")]
    assert len(names) == 3
    assert all(".fp16." in name for name in names)
    assert model_folder.variant(halves) == "fp16"
    assert model_folder.variant(models / "generator") is None
    pipeline = load_pipeline(str(halves), torch.float32, "cpu")
    whole = load_pipeline(str(models / "generator"), torch.float32, "cpu")
    for part in PARTS:
        got, expected = (getattr(p, part).state_dict() for p in (pipeline, whole))
        for name, tensor in expected.items():
            assert torch.equal(got[name], tensor.half().float()), name
    assert identity.generator(str(halves))[1] != identity.generator(str(models / "generator"))[1]


def test_a_folder_of_both_takes_the_whole_weights(halves: Path, models: Path, tmp_path) -> None:
    folder = shutil.copytree(models / "generator", tmp_path / "both")
    for part in PARTS:
        for path in (halves / part).glob("*.safetensors"):
            shutil.copy(path, folder / part)
    assert model_folder.variant(folder) is None
    shutil.rmtree(folder / "vae")
    shutil.copytree(halves / "vae", folder / "vae")
    (path,) = (folder / "unet").glob("*model.safetensors")
    path.unlink()
    assert model_folder.variant(folder) == "fp16"
    (path,) = (folder / "vae").glob("*.fp16.safetensors")
    path.rename(path.with_name(path.name.replace("fp16", "ema")))
    with pytest.raises(DataError, match="no variant of the weights in all of its parts: ema, fp16"):
        model_folder.variant(folder)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a/b", ("a/b", None, None)),
        ("a/b@main", ("a/b", "main", None)),
        ("a/b:fp16", ("a/b", None, "fp16")),
        ("a/b@0123:fp16", ("a/b", "0123", "fp16")),
    ],
)
def test_names(text: str, parts: tuple[Any, ...]) -> None:
    named = identity.named(text)
    assert tuple(named) == parts
    assert str(named) == text


def test_a_variant_is_another_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "commit", lambda name: COMMIT)
    plain, half = (
        Workspace("imagenet-lt", "paper", settings=(("generator", name),))
        for name in ("a/b", "a/b:fp16")
    )
    assert (plain.generator.model, half.generator.model) == ("a/b", "a/b:fp16")
    assert plain.generator.weights == half.generator.weights == COMMIT
    assert half.generator_source == f"a/b@{COMMIT}:fp16"


def test_what_is_settable_is_in_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "commit", lambda name: COMMIT)
    usual = Workspace("imagenet-lt", "paper").generator
    settings = {"generator_batch": 4, "generator_dtype": "float16", "scheduler": "euler"}
    other = Workspace("imagenet-lt", "paper", settings=tuple(settings.items())).generator
    assert (usual.batch, usual.dtype, usual.scheduler) == (16, "bfloat16", "ddim")
    assert (other.batch, other.dtype, other.scheduler) == (4, "float16", "euler")
    for name, value in (("generator_batch", 0), ("generator_dtype", "int8"), ("scheduler", "x")):
        with pytest.raises(UsageError, match=name):
            _ = Workspace("imagenet-lt", "paper", settings=((name, value),)).recipe


def test_the_cache_of_the_hub_without_a_network(halves: Path, tmp_path: Path) -> None:
    """In a fresh process: the hub's settings are read when it is imported."""
    folder = tmp_path / "models--some--refiner"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    shutil.copytree(halves, folder / "snapshots" / COMMIT)
    code = """
import torch
from harness.core.errors import DataError
from harness.generation.engine import load_pipeline
from harness.models import identity
for name in ("some/refiner:fp16", f"some/refiner@{identity.commit('some/refiner')}:fp16"):
    print(type(load_pipeline(name, torch.float32, "cpu").unet).__name__)
print(identity.generator("some/refiner:fp16"))
for name in ("some/refiner", "some/other"):
    try:
        load_pipeline(name, torch.float32, "cpu")
    except DataError as error:
        print(len(str(error)) <= 300, error)
"""
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[:2] == ["UNet2DConditionModel"] * 2
    assert lines[2] == f"('some/refiner:fp16', '{COMMIT}')"
    assert lines[3].startswith("True cannot load the generator some/refiner: ")
    assert lines[3].endswith("the cache holds its variant fp16: name it some/refiner:fp16")
    assert lines[4].startswith("True cannot load the generator some/other: ")


# ---------------------------------------------------------------- samplers


SAMPLERS = (
    ("ddim", "DDIMScheduler", {"prediction_type": "v_prediction"}),
    ("ddim", "DDIMScheduler", {"prediction_type": "sample"}),
    ("ddim", "DDIMScheduler", {"timestep_spacing": "trailing"}),
    ("euler", "EulerDiscreteScheduler", {}),
    ("euler", "EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
    ("euler", "EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    ("euler", "EulerDiscreteScheduler", {"prediction_type": "v_prediction"}),
)


@pytest.mark.parametrize(("scheduler", "kind", "changes"), SAMPLERS)
def test_the_published_sampler_is_computed(
    models: Path, tmp_path: Path, scheduler: str, kind: str, changes: dict[str, Any]
) -> None:
    """Against the stock pipeline, which samples as the folder says."""
    folder = str(configured(models, tmp_path / "pipeline", kind, **changes))
    untouched = load_pipeline(folder, torch.float32, "cpu", scheduler)
    untouched.set_progress_bar_config(disable=True)
    pipeline = load_pipeline(folder, torch.float32, "cpu", scheduler)
    spec = replace(SPEC, scheduler=scheduler)
    engine = Generator(pipeline, spec, lambda source: SOURCES[int(source)])
    some = [Request(str(g), "1", g, 0, "a photo of a bear") for g in (0, 30, 70)]
    for request, image in engine.images(some):
        picture = stock(untouched, request, SPEC.steps)[1]
        assert np.abs(255 * picture - image).max() < 0.5 + 255 * 2e-4, request


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("LCMScheduler", {}, "its scheduler is LCMScheduler; the engine denoises as DDIMScheduler"),
        ("DDIMScheduler", {"prediction_type": "flow"}, "predicts 'flow'; the engine knows"),
        ("DDIMScheduler", {"clip_sample": True}, "asks for clip_sample"),
        ("DDIMScheduler", {"thresholding": True}, "asks for thresholding"),
    ],
)
def test_what_the_engine_does_not_compute_is_refused(
    models: Path, tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    folder = configured(models, tmp_path / "p", kind, **changes)
    with pytest.raises(DataError, match=words) as error:
        load_pipeline(str(folder), torch.float32, "cpu")
    assert len(str(error.value).replace(str(folder), "FOLDER")) <= 300
