"""Every model of a profile is loaded once; what is wrong is one sentence."""

import shutil
from dataclasses import replace

import pytest

from harness.cli.main import main
from harness.core import registry
from harness.mini import weights
from harness.planning import model_loading
from harness.planning.packages import OK


@pytest.fixture
def paper(monkeypatch, models, tmp_path):
    """Profile paper of iWildCam with tiny models in folders; of the others the same ones."""
    folder = shutil.copytree(models, tmp_path / "models")
    for name in registry.names("harness.datasets"):
        module = registry.find("harness.datasets", name)
        recipe = module.RECIPES["paper"]
        start = f"local-dir:{folder / 'clip'}" if recipe.pretrained else None
        tiny = replace(
            recipe, generator=str(folder / "generator"), clip=f"local-dir:{folder / 'clip'}",
            pretrained=start, size_px=32, height_px=0,
        )  # fmt: skip
        monkeypatch.setitem(module.RECIPES, "paper", tiny)
        monkeypatch.setitem(module.BACKBONES, "paper", {})
    return folder


def test_each_model_once(paper):
    found = list(model_loading.load_each("paper"))
    assert [model.name.split()[0] for model in found] == ["generator", "CLIP", "start"]
    assert {model.status for model in found} == {OK}
    assert all(model.gib > 0 for model in found)


def test_what_is_wrong_is_told_and_the_others_are_loaded(paper, capsys):
    config = paper / "generator" / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 8', '"in_channels": 9'))
    (paper / "clip" / "tokenizer.json").unlink()
    statuses = [model.status for model in model_loading.load_each("paper")]
    assert OK not in statuses
    assert all(len(status) <= 300 for status in statuses)
    assert main(["doctor", "--profile", "paper"]) == 1
    text = capsys.readouterr()
    assert "Loading each model of profile paper" in text.out
    assert "no " in text.out.rpartition("start local-dir")[2]
    assert "of the models do not load" in text.err


def test_the_built_in_models(capsys):
    assert main(["doctor", "--profile", "smoke"]) == 0
    assert "generator mini: ok" in capsys.readouterr().out
    assert main(["doctor", "--profile", "papr"]) == 2
    assert weights.MODELS.is_dir()
