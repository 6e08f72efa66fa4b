"""What a machine has and what a profile needs, on faked machines."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import doctor_text
from harness.core import registry
from harness.mini.weights import weights_digest
from harness.models import identity
from harness.pipeline.workspace import Workspace
from harness.planning import doctor, local_files, packages
from harness.planning.devices import Gpu
from harness.planning.doctor import Report
from harness.planning.local_files import Files
from harness.planning.packages import OK, Package

ROOT = Path(__file__).parents[2]
REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
B16 = "timm/vit_base_patch16_clip_224.openai"


def fake_versions(monkeypatch, **found):
    """Versions by distribution name; None: not installed. Others are as they are."""
    real = metadata.version

    def version(name):
        told = found.get(name, "as it is")
        if told is None:
            raise metadata.PackageNotFoundError(name)
        return real(name) if told == "as it is" else told

    monkeypatch.setattr(metadata, "version", version)


def hub_files(cache, repository, *names):
    """A hub cache with these files, as huggingface_hub lays it out."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")
    for name in names:
        file = folder / "snapshots" / "0123456789abcdef0123456789abcdef01234567" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def look(tmp_path, **options):
    options = {"roots": {}, "environment": {}, "cache": tmp_path / "hub"} | options
    return doctor.doctor(tmp_path / "home", **options)


# ---------------------------------------------------------------- packages


def test_a_missing_and_an_old_package(monkeypatch, tmp_path):
    fake_versions(monkeypatch, torch=None, numpy="1.26.4", **{"dvc-s3": None})
    report = look(tmp_path)
    by_name = {p.name: p for p in report.packages}
    assert (by_name["torch"].status, by_name["numpy"].status) == ("missing", "older than 2.0")
    assert by_name["polars"].status == OK
    assert (by_name["dvc-s3"].extra, by_name["dvc-s3"].requirement) == ("s3", "dvc-s3>=3.2")
    assert report.gpus is None
    assert all(needs[:2] == ("numpy", "torch") for needs in report.ready["mini"].values())
    text = doctor_text.render(report)
    assert "GPUs unknown: PyTorch does not start" in text
    assert "  torch: missing (needed); pip install 'torch>=2.11'" in text
    assert "  numpy: older than 2.0 (needed); pip install 'numpy>=2.0'" in text
    assert "  dvc-s3: missing (optional, for s3); pip install 'dvc-s3>=3.2'" in text


@pytest.mark.parametrize(
    ("found", "wanted", "status"),
    [
        ("2.14.1+cpu", "torch>=2.11", OK),
        ("2.9.1", "torch>=2.11", "older than 2.11"),
        ("2.11rc1", "torch>=2.11", OK),
        ("1.0", "anything", OK),
        (None, "anything", "missing"),
    ],
)
def test_versions_are_compared_by_number(found, wanted, status):
    assert Package("torch", wanted, found, None).status == status


def test_an_installed_package_tells_what_the_checkout_tells(monkeypatch, tmp_path):
    of_checkout = [(p.name, p.extra) for p in packages.packages()]
    lines = ["torch>=2.11", "pytest>=8.4; extra == 'test'", 'wilds[all]>=2.0; extra == "wilds"']
    monkeypatch.setattr(packages, "ROOT", tmp_path)  # no pyproject.toml
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    of_package = [(p.name, p.extra) for p in packages.packages()]
    assert of_package == [("torch", None), ("pytest", "test"), ("wilds", "wilds")]
    assert set(of_package) <= set(of_checkout)


def test_a_home_that_is_a_link_to_itself(tmp_path):
    (tmp_path / "home").symlink_to("home")
    assert look(tmp_path).home == str(tmp_path.resolve() / "home")


@pytest.mark.parametrize("gone", ["torch", "polars", "huggingface_hub"])
def test_it_answers_whatever_is_missing(gone, tmp_path):
    """In a fresh process in which that package can neither be found nor imported."""
    code = f"""
import sys
from importlib import metadata
sys.modules[{gone!r}] = None
real = metadata.version
def version(name):
    if name == {gone!r}:
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
from harness.cli import doctor_text
from harness.planning import doctor
print(doctor_text.render(doctor.doctor(roots={{}}, environment={{}})))
there = {{name for name, module in sys.modules.items() if module is not None}}
print("imported:", sorted({{"torch", "open_clip", "diffusers"}} & there))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if gone != "huggingface_hub":  # not a requirement of its own
        assert f"  {gone}: missing (needed)" in run.stdout
    assert ("imported: []" if gone == "torch" else "imported: ['torch']") in run.stdout


# ---------------------------------------------------------------- the machine


def test_gpus_as_pytorch_sees_them(monkeypatch, tmp_path):
    import torch

    cards = [SimpleNamespace(name="H200", total_memory=141 * 2**30, major=9)]
    cards += [SimpleNamespace(name="T4", total_memory=15 * 2**30, major=7)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    report = look(tmp_path)
    assert report.gpus == (Gpu("H200", 141, True), Gpu("T4", 15, False))
    assert "H200, 141 GiB, bfloat16; T4, 15 GiB, no bfloat16" in doctor_text.render(report)
    assert all("a GPU" not in needs for needs in report.ready["paper"].values())
    cards.clear()
    assert all("a GPU" in needs for needs in look(tmp_path).ready["paper"].values())


def test_the_home_need_not_be_there_but_must_be_writable(monkeypatch, tmp_path):
    report = look(tmp_path)
    assert report.home == str(tmp_path / "home")
    assert 0 < report.free_gib < 1e6
    assert report.written == {"mini": (), "smoke": ()}
    (tmp_path / "home" / "data" / "mini" / "cifar100-lt").mkdir(parents=True)
    assert look(tmp_path).written == {"mini": ("cifar100-lt",), "smoke": ()}
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    needs = look(tmp_path).ready["mini"].values()
    assert all("a folder for results" in some for some in needs)


def test_nothing_is_asked_of_the_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    report = look(tmp_path)
    assert {f.status for f in report.weights if "mini" not in f.name} == {"missing"}


# ---------------------------------------------------------------- weights


def test_weights_in_the_hub_cache(tmp_path):
    cache = tmp_path / "hub"
    recipe = registry.find("harness.datasets", "iwildcam").RECIPES["paper"]
    assert [f.status for f in local_files.weights_of(recipe, cache)] == ["missing"] * 3
    hub_files(cache, REFINER, "model_index.json", "unet/diffusion_pytorch_model.safetensors")
    hub_files(cache, B16, "open_clip_pytorch_model.bin")
    generator, scorer, start = local_files.weights_of(recipe, cache)
    assert (generator.name, generator.status) == (f"generator {REFINER}", "2 of 4 files missing")
    assert generator.where == "fetched from the hub when first used"
    assert scorer.status == "missing"
    assert start.where == "hub cache, revision 0123456789ab"
    hub_files(
        cache,
        REFINER,
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder_2/model.safetensors",
    )
    assert local_files.weights_of(recipe, cache)[0].status == OK


def test_where_open_clip_takes_openai_weights_from():
    from open_clip import get_pretrained_cfg

    for model, repository in identity.OPENAI.items():
        assert get_pretrained_cfg(model, "openai")["hf_hub"] == f"{repository}/"


def test_built_in_weights(monkeypatch, tmp_path, models):
    recipe = registry.find("harness.datasets", "cifar100-lt").RECIPES["mini"]
    monkeypatch.setattr("harness.mini.weights.MODELS", models)
    made_px = json.loads((models / "generator/vae/config.json").read_text())["sample_size"]
    generator, scorer = local_files.weights_of(replace(recipe, size_px=made_px))
    digest = weights_digest(str(models / "generator"))
    assert generator == Files("generator mini", OK, f"SHA-256 {digest[:12]}")
    assert (scorer.name, scorer.status) == ("CLIP mini", OK)
    larger = local_files.weights_of(replace(recipe, size_px=made_px + 8))[0]
    assert larger.name == f"generator mini for {made_px + 8} px"
    assert larger.where == f"the one there is makes pictures of {made_px} px"
    monkeypatch.setattr("harness.mini.weights.MODELS", tmp_path)
    assert [f.status for f in local_files.weights_of(recipe)] == ["missing", "missing"]


def test_other_names_of_clip_models(tmp_path):
    recipe = registry.find("harness.datasets", "iwildcam").RECIPES["paper"]

    def start(name):
        return local_files.weights_of(replace(recipe, pretrained=name), tmp_path / "hub")[2]

    hub_files(tmp_path / "hub", "someone/clip", "open_clip_model.safetensors")
    assert start("hf-hub:someone/clip").status == OK
    assert start("ViT-B-16:laion400m_e32").status == "not looked for"
    assert start(f"local-dir:{tmp_path}/none").where == f"no model files in {tmp_path}/none"


# ---------------------------------------------------------------- official files


@pytest.fixture
def camera_traps(monkeypatch):
    module = registry.find("harness.datasets", "iwildcam")
    told = {"files": ("metadata.csv", "train"), "folder": "iwildcam_v2.0"}
    monkeypatch.setattr(module, "FACTS", told, raising=False)
    return module


def test_official_files(camera_traps, tmp_path):
    def status(root):
        found = local_files.official_files(camera_traps, root, "iwildcam")
        return found.status, found.where.split(";")[0]

    assert status(None) == ("missing", "name their folder by --root or $HARNESS_DATA")
    assert status(tmp_path / "none") == ("missing", f"no folder {tmp_path}/none")
    assert status(tmp_path) == ("2 of 2 missing", f"no {tmp_path}/metadata.csv")
    (tmp_path / "train").mkdir()
    assert status(tmp_path) == ("1 of 2 missing", f"no {tmp_path}/metadata.csv")
    (tmp_path / "metadata.csv").touch()
    assert status(tmp_path) == (OK, str(tmp_path))


def test_official_files_in_the_folder_that_the_download_makes(camera_traps, tmp_path):
    inner = tmp_path / "iwildcam_v2.0"
    (inner / "train").mkdir(parents=True)
    (inner / "metadata.csv").touch()
    assert local_files.official_files(camera_traps, tmp_path, "iwildcam").where == str(inner)


def test_roots_and_the_environment(camera_traps, tmp_path):
    for folder in ("data/iwildcam", "elsewhere"):
        (tmp_path / folder / "train").mkdir(parents=True)
        (tmp_path / folder / "metadata.csv").touch()

    def where(**options):
        report = look(tmp_path, **options)
        return {f.name: f.where for f in report.data}["official files of iwildcam"]

    environment = {"HARNESS_DATA": str(tmp_path / "data")}
    assert where(environment=environment) == str(tmp_path / "data/iwildcam")
    roots = {"iwildcam": tmp_path / "elsewhere"}
    assert where(environment=environment, roots=roots) == str(tmp_path / "elsewhere")
    needs = look(tmp_path, roots=roots).ready["paper"]["iwildcam"]
    assert "official files of iwildcam" not in needs


def test_what_one_data_set_and_profile_needs(camera_traps, monkeypatch, tmp_path):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    fake_versions(monkeypatch, polars="1.0")
    paper = Workspace("iwildcam", "paper", tmp_path, tmp_path)
    found = doctor.missing(paper, tmp_path / "hub")
    assert found[0] == "polars: older than 2.1; pip install 'polars>=2.1'"
    assert found[1] == f"generator {REFINER}: missing; fetched from the hub when first used"
    assert found[3].startswith("CLIP ViT-B-16-quickgelu:openai: missing; fetched from the hub (")
    assert found[4].startswith("official files of iwildcam: 2 of 2 missing; no ")
    mini = Workspace("cifar100-lt", "mini", tmp_path)
    assert doctor.missing(mini, tmp_path / "hub") == found[:1]


# ---------------------------------------------------------------- text


REPORT = Report(
    python="3.12.1",
    system="Linux",
    packages=(
        Package("torch", "torch>=2.11", "2.14.1", None),
        Package("polars", "polars>=2.1", None, None),
        Package("wilds", "wilds[all]>=2.0", "1.2.2", "wilds"),
    ),
    cores=16,
    memory_gib=128,
    gpus=(),
    home="/home/me",
    free_gib=63.96,
    data=(
        Files("official files of a", OK, "/data/a"),
        Files("official files of bc", "missing", "x"),
    ),
    written={"mini": ("a", "bc"), "smoke": ()},
    weights=(Files("generator mini", OK, "SHA-256 0123"),),
    ready={
        "mini": {"a": (), "bc": ()},
        "smoke": {"a": (), "bc": ("polars",)},
        "paper": {"a": ("polars", "a GPU"), "bc": ("polars", "a GPU")},
    },
)

TEXT = """\
Python 3.12.1, Linux
16 cores, 128.0 GiB of memory; no GPU that PyTorch sees
64.0 GiB free at /home/me

Packages
  torch 2.14.1
  polars: missing (needed); pip install 'polars>=2.1'
  wilds: older than 2.0 (optional, for wilds); pip install 'wilds[all]>=2.0'

Weights
  generator mini  ok  SHA-256 0123

Official data
  a   ok       /data/a
  bc  missing  x

Built-in data, written when first used
  mini     a, bc
  smoke    none yet

Profiles
  mini   a, bc: ready
  smoke  a: ready
  smoke  bc: needs polars
  paper  a, bc: needs polars, a GPU
"""


def test_text():
    assert doctor_text.render(REPORT) == TEXT


def test_weights_of_another_backbone_are_told_but_not_needed(tmp_path):
    report = look(tmp_path)
    names = [f.name for f in report.weights]
    assert "CLIP mini-large" in names
    assert "CLIP ViT-L-14-quickgelu:openai" in names
    assert not any("ViT-L-14" in need for need in report.ready["paper"]["iwildcam"])
