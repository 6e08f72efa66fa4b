"""Moved folders change no key; a changed byte, another commit of a hub name does."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import official_files
import polars as pl
import pytest
import small_workspace
import yaml

from harness.cli.main import main
from harness.core import parallel
from harness.core.errors import DataError, UsageError
from harness.core.specs import key
from harness.mini import weights
from harness.models import identity
from harness.pipeline import runs, stages
from harness.pipeline.jobs import plan
from harness.pipeline.recipe_fields import relevant
from harness.pipeline.workspace import Workspace
from harness.pool import cache, scores, shards

REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
ROWS = ["CE", "CE+DisCL"]
COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield


def walk(workspace: Workspace) -> tuple[int, int, int]:
    """Images made, images scored, runs trained."""
    stages.index(workspace)
    stages.hard(workspace, runs.judge(workspace))
    images, scored = stages.generate(workspace), stages.score(workspace)
    return images, scored, runs.run(plan(workspace, ROWS, [50], [0]))


def of_folders(home: Path, data: Path, below: str) -> Workspace:
    """Whose generator and scorer lie in folders below the one named."""
    names = {"generator": f"{below}/generator", "clip": f"local-dir:{below}/clip"}
    return small_workspace.workspace(home, data, levels=[0.5], pool_seeds=[10], **names)


@pytest.fixture(scope="module")
def walked(models: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace where everything was done, its models in a folder of its home."""
    top = tmp_path_factory.mktemp("top")
    shutil.copytree(models, top / "home" / "models")
    small_workspace.write_data(top / "data")
    workspace = of_folders(top / "home", top / "data", "models")
    assert walk(workspace) == (small_workspace.HARD, small_workspace.HARD, 2)
    return workspace


@pytest.fixture
def moved(walked: Workspace, tmp_path: Path) -> Path:
    """A copy of it elsewhere: home and data."""
    shutil.copytree(walked.home.parent, tmp_path / "other")
    return tmp_path / "other"


# ---------------------------------------------------------------- folders


def test_home_data_and_models_elsewhere_have_nothing_to_make(moved):
    assert walk(of_folders(moved / "home", moved / "data", "models")) == (0, 0, 0)
    (moved / "home" / "models").rename(moved / "models")
    assert walk(of_folders(moved / "home", moved / "data", str(moved / "models"))) == (0, 0, 0)


def test_a_relative_folder_is_below_home_or_where_the_command_runs(moved, monkeypatch):
    home = moved / "home"
    here = of_folders(home, moved / "data", "models")
    assert here.recipe.generator == str(home / "models" / "generator")
    assert here.recipe.clip == f"local-dir:{home / 'models' / 'clip'}"
    monkeypatch.chdir(home)
    relative = Workspace("cifar100-lt", "smoke", Path(), moved / "data", here.overrides)
    assert relative.recipe == here.recipe
    known_by = key(here.generator)
    (home / "models").rename(moved / "models")
    monkeypatch.chdir(moved)
    elsewhere = of_folders(home, moved / "data", "models")
    assert elsewhere.recipe.generator == str(moved / "models" / "generator")
    assert key(elsewhere.generator) == known_by


def test_keys_hold_no_path(walked):
    spec = walked.generator
    assert (spec.model, len(spec.weights)) == ("folder", 64)
    assert walked.scorer == f"folder-{weights.weights_digest(walked.recipe.clip[10:])[:12]}"
    for job in plan(walked, ROWS, [50], [0]):
        text = json.dumps(runs.record(job)["spec"])
        assert str(walked.home) not in text
        assert "models" not in text
        if job.spec.pool is not None:
            assert job.spec.recipe.generator == f"folder {spec.weights}"


@pytest.mark.parametrize(("folder", "expected"), [("generator", (10, 10, 1)), ("clip", (0, 10, 1))])
def test_a_byte_of_a_model_changes_what_it_is_read_for(moved, folder, expected):
    file = next((moved / "home" / "models" / folder).rglob("*.json"))
    file.write_bytes(file.read_bytes() + b"\n")
    assert walk(of_folders(moved / "home", moved / "data", "models")) == expected


def test_a_pool_that_knew_a_path_is_rekeyed_and_not_made_again(moved, capsys):
    """By the command, on a pool as it was when keys held the path."""
    workspace = of_folders(moved / "home", moved / "data", "models")
    old = replace(workspace.generator, model="/home/somebody/models/generator")
    index = stages.pool_index(workspace)
    requests = cache.request_rows(index, old)
    pairs = requests.select("key").with_columns(old=index["key"])
    scores.add_scores(workspace.pool, pairs)
    for path in shards.shard_paths(workspace.pool):
        place = str(path.relative_to(workspace.pool))
        rows = requests.filter(index["shard"] == place)
        images = cache.read_bytes(workspace.pool, index.filter(pl.col("shard") == place))
        cache.write_shard(workspace.pool, shards.shard_of(rows), rows, images, old)
        path.unlink()
    scores.keep_scores(workspace.pool, cache.build_index(workspace.pool))
    assert len(stages.pool_index(workspace)) == 0
    (workspace.home / "params.yaml").write_text(
        yaml.safe_dump({"smoke": {"cifar100-lt": dict(workspace.overrides)}})
    )
    words = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", workspace.home]
    assert main(["cache", "rekey", *map(str, words)]) == 0
    assert capsys.readouterr().out == f"{small_workspace.HARD} images have a new key\n"
    assert walk(workspace) == (0, 0, 0)


WORLDS = {
    "cifar100-lt": small_workspace.write_data,
    "imagenet-lt": official_files.write_imagenet_lt,
    "inaturalist2018": official_files.write_inaturalist2018,
    "iwildcam": official_files.write_iwildcam,
}


@pytest.mark.parametrize("name", WORLDS)
def test_no_key_of_any_data_set_knows_a_folder(name, tmp_path, models, clip_folder, monkeypatch):
    """Data, home, models and the weights that runs start from, in two places."""
    row = "FLYP" if name == "iwildcam" else "CE"
    keys = []
    for top in (tmp_path / "one", tmp_path / "two" / "deep"):
        shutil.copytree(models, top / "models")
        shutil.copytree(clip_folder, top / "start")
        shutil.copytree(models, top / "built-in")
        monkeypatch.setattr(weights, "MODELS", top / "built-in")  # with the checkout
        (top / "data").mkdir()
        WORLDS[name](top / "data")
        named: dict[str, Any] = {"generator": str(top / "models" / "generator")}
        named |= {"clip": f"local-dir:{top / 'models' / 'clip'}"}
        if name == "iwildcam":
            named |= {"pretrained": f"local-dir:{top / 'start'}"}
        base = Workspace(name, "smoke", top, top / "data")
        ratio = base.imbalances()[0] if name != "cifar100-lt" else 50
        of_folder = replace(base, overrides=tuple(sorted(named.items())))
        if name == "cifar100-lt":
            small = small_workspace.SMALL
            base, of_folder = (replace(w, settings=tuple(small.items())) for w in (base, of_folder))
        for workspace in (base, of_folder):
            train = stages.load(workspace, ratio).train
            about = train.select("label").head(2).with_columns(source=train["id"].head(2).cast(str))
            hard = about.with_columns(classname=about["source"])
            (workspace.work).mkdir(parents=True, exist_ok=True)
            hard.write_parquet(workspace.work / "hard.parquet")
            jobs = plan(workspace, [row], [ratio], [0])
            keys.append([key(job.spec) for job in jobs])
            keys.append([*stages.requests(workspace)["key"], workspace.scorer])
    assert keys[:4] == keys[4:]
    assert keys[1] != keys[3]


# ---------------------------------------------------------------- the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that writes the commit of a hub name into a local cache; there is no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def at(name: str, commit: str) -> None:
        reference = tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
        identity.commit.cache_clear()

    identity.commit.cache_clear()
    yield at
    identity.commit.cache_clear()


def paper(name: str = "cifar100-lt", **overrides: Any) -> Workspace:
    return Workspace(name, "paper", overrides=tuple(overrides.items()))


def test_a_hub_name_is_known_by_its_commit(hub):
    hub(REFINER, COMMIT)
    before = paper().generator
    assert (before.model, before.weights) == (REFINER, COMMIT)
    assert paper().generator_source == f"{REFINER}@{COMMIT}"
    hub(REFINER, OTHER)
    assert key(paper().generator) != key(before)


def test_a_name_with_a_revision_keeps_it(hub):
    spec = paper(generator=f"{REFINER}@fp16").generator
    assert (spec.model, spec.weights) == (REFINER, "fp16")
    assert paper(generator=f"{REFINER}@fp16").generator_source == f"{REFINER}@fp16"


def test_image_text_models_are_known_by_their_commit(hub):
    hub(identity.OPENAI["ViT-B-32-quickgelu"], COMMIT)
    hub(identity.OPENAI["ViT-B-16-quickgelu"], OTHER)
    workspace = paper("iwildcam")
    assert workspace.scorer == f"ViT-B-32-quickgelu-{COMMIT[:12]}"
    assert workspace.pretrained == OTHER
    hub("someone/clip", COMMIT)
    named = paper("iwildcam", clip="hf-hub:someone/clip")
    assert named.scorer == f"hf-hub:someone/clip-{COMMIT[:12]}"
    assert named.clip_source == ("hf-hub:someone/clip", None)


def test_a_commit_that_nobody_knows_is_one_sentence(hub):
    with pytest.raises(DataError, match="where there is no network, name a folder") as refusal:
        _ = paper().generator
    assert REFINER in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert paper().dtype == "bfloat16"  # a plan needs no commit


def test_a_commit_by_the_hub_is_in_the_cache_from_then_on(hub, monkeypatch, tmp_path):
    def download(name: str, allow_patterns: str) -> str:
        return str(tmp_path / "snapshots" / COMMIT)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert identity.commit("someone/generator") == COMMIT


def test_the_generator_is_loaded_by_its_commit(hub, models, tmp_path):
    """From a local cache whose main has moved on to a commit that is not there."""
    import torch

    from harness.generation.engine import load_pipeline

    hub("owner/tiny", OTHER)
    shutil.copytree(
        models / "generator", tmp_path / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
    )
    assert load_pipeline(f"owner/tiny@{COMMIT}", torch.float32, "cpu").unet is not None
    with pytest.raises(DataError, match="cannot load the generator owner/tiny"):
        load_pipeline("owner/tiny", torch.float32, "cpu")


def test_a_folder_without_model_files_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no model files in .*empty"):
        _ = Workspace("cifar100-lt", home=tmp_path, overrides=(("generator", "empty"),)).generator


# ---------------------------------------------------------------- what the key says is honoured


def test_another_scheduler_is_refused(models):
    import torch

    from harness.generation.engine import load_pipeline

    with pytest.raises(UsageError, match="scheduler 'heun'"):
        load_pipeline(str(models / "generator"), torch.float32, "cpu", "heun")


def test_a_unet_that_predicts_something_else_is_refused(models, tmp_path):
    import torch

    from harness.generation.engine import load_pipeline

    shutil.copytree(models / "generator", tmp_path / "generator")
    file = tmp_path / "generator" / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text()) | {"prediction_type": "flow"}
    file.write_text(json.dumps(config))
    with pytest.raises(DataError, match="predicts 'flow'") as refusal:
        load_pipeline(str(tmp_path / "generator"), torch.float32, "cpu")
    assert "\n" not in str(refusal.value)


def test_built_in_models_keep_their_names(tmp_path, monkeypatch):
    from harness.methods.compose import compose

    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    workspace = Workspace("cifar100-lt", home=tmp_path)
    assert workspace.generator.model == "mini"
    recipe = relevant(workspace.recipe, compose("CE+DisCL", "cifar100-lt", "mini"))
    assert (recipe.generator, recipe.clip) == ("mini", "mini")
