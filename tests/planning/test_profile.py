"""Profiles: seconds that add up, FLOPs that were counted, peers that make the same images."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_workspace
import torch

from harness.cli import profile_text
from harness.cli.main import main
from harness.core import parallel
from harness.core.errors import DataError, UsageError
from harness.generation import stock
from harness.generation.engine import Generator
from harness.mini import weights
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.planning import generation_peers, generation_run, measure, profile
from harness.planning.measure import Clock


@pytest.fixture(scope="module")
def workspace(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        data = small_workspace.write_data(tmp_path_factory.mktemp("data"))
        found = small_workspace.workspace(tmp_path_factory.mktemp("home"), data, steps=4)
        stages.index(found)
        stages.hard(found)
        yield found


@pytest.fixture(scope="module")
def todo(workspace: Workspace) -> generation_run.Work:
    return generation_run.work(workspace, 2, "cpu")


@pytest.fixture(scope="module")
def found(todo: generation_run.Work, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    trace = tmp_path_factory.mktemp("trace") / "new" / "trace.json"
    short_cuts = ["guidance-interval=0-1", "guidance-interval=0.5-1"]
    told = profile.profile(todo, profile.PIPELINES, short_cuts, 1, trace)
    return told | {"trace": trace}


def test_clock_counts_its_own_thread_alone():
    clock = Clock("cpu")
    for _ in range(2):
        with clock("sleep"):
            time.sleep(0.05)
    assert 0 <= clock.seconds["sleep"] < 0.05
    with clock("work"):
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
    assert 0.02 <= clock.seconds["work"] < 0.2


def test_flops_of_a_product_and_its_rate():
    a = torch.zeros(10, 20)
    assert measure.tflop(lambda: a @ a.T) * 1e12 == pytest.approx(2 * 10 * 20 * 10)
    assert 1e-5 < measure.matrix_tflops("cpu", torch.float32, 2) < 100


def test_seconds_and_images_add_up(todo, found):
    assert found["images"] == len(todo.rows) == 2 * small_workspace.SPECTRUM * 2
    assert [row["guidance"] for row in found["levels"]] == [0, 50]
    assert [row["steps"] for row in found["levels"]] == [4, 2]
    assert [row["images"] for row in found["levels"]] == [6, 6]
    phases = found["phases"]
    assert set(phases) == {*profile.PHASES, "idle"}
    assert all(p["seconds"] >= 0 for p in phases.values())
    assert sum(p["share"] for p in phases.values()) == pytest.approx(1)
    assert phases["denoise"]["share"] == max(p["share"] for p in phases.values())
    assert found["images_per_s"] == pytest.approx(found["images"] / found["seconds"])
    by_level = sum(row["images"] / row["images_per_s"] for row in found["levels"])
    assert by_level == pytest.approx(found["seconds"])
    assert found["tflops"] == pytest.approx(found["useful_tflop"] / found["seconds"])
    assert 0 < found["share_of_matrix_rate"] < 1
    assert found["failed"] == 0
    assert found["slots_filled"] == 6 / 16


def test_useful_flops_grow_by_two_passes_per_step(todo, found):
    """Against the count of diffusers' own model, whose cross-attention does more for the text."""
    unet = peers_unet(todo)
    ids = torch.tensor([[32.0, 32, 0, 0, 6]])
    about = {"text_embeds": torch.zeros(1, 16), "time_ids": ids}
    states, x = torch.zeros(1, 24, 16), torch.zeros(1, 8, 8, 8)
    with torch.inference_mode():
        once = measure.tflop(lambda: unet(x, 1, states, added_cond_kwargs=about))
    whole, half = (
        profile._useful_tflop(replace(todo, rows=todo.rows.filter(todo.rows["guidance"] == level)))
        for level in (0, 50)
    )
    passes = 6 * (4 - 2) * 2  # images, steps more, with and without the text
    assert 0.8 * once * passes < whole - half <= 1.0001 * once * passes


def peers_unet(todo: generation_run.Work) -> Any:
    return generation_peers.fresh_pipeline(todo).unet.eval()


def test_peers(found):
    for name in profile.PIPELINES:
        assert found[name]["ratio"] > 0
        assert found[name]["images_per_s"] > 0
    assert found["ratio_to_stock"] == found["stock"]["ratio"]
    assert found["loop"]["images"] == 2
    assert found["stock"]["images"] == 12
    assert list(found["stock"]["images_per_s_by_batch"]) == [6]


def test_the_peers_make_the_engines_images(todo):
    asked = todo.requests(50)
    engine = Generator(todo.pipeline, todo.spec, todo.sources.__getitem__)
    ours = {r.key: image for r, image in engine.images(asked)}
    theirs = stock.stock(generation_peers.fresh_pipeline(todo), todo.spec, asked, todo.sources)
    for request, image in zip(asked, theirs, strict=True):
        assert np.abs(np.asarray(image).astype(int) - ours[request.key]).max() <= 1


def test_loop_scores_as_the_scorer_does(todo):
    request = todo.requests(50)[0]
    loop = stock.Loop(generation_peers.fresh_pipeline(todo), todo.spec, todo.scorer)
    text, image = loop.make(request, todo.sources)
    made = stock.stock(generation_peers.fresh_pipeline(todo), todo.spec, [request], todo.sources)[0]
    seen = todo.scorer.images(np.stack([np.asarray(made), todo.sources[request.source]]))
    assert text == pytest.approx(float(seen[0] @ todo.scorer.texts([request.prompt])[0]), abs=1e-4)
    assert image == pytest.approx(float(seen[0] @ seen[1]), abs=1e-4)


def test_short_cuts_beside_the_exact(found):
    whole, part = found["approximate"].values()
    assert whole["mean_absolute_difference"] < 0.01
    assert whole["clip_score_largest_difference"] < 1e-3
    assert part["mean_absolute_difference"] > 0.01
    assert part["rms_difference"] >= part["mean_absolute_difference"]


def test_trace_is_one_that_viewers_read(found):
    events = json.loads(found["trace"].read_text())["traceEvents"]
    assert {"denoise", "decode", "CLIP"} <= {event.get("name") for event in events}


def test_pending(found, workspace):
    assert found["pending"]["images"] == small_workspace.HARD * small_workspace.SPECTRUM * 2
    assert found["pending"]["worker_h"] > 0


def test_command(workspace, capsys, tmp_path):
    values = dict(workspace.overrides)
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps({"smoke": {"cifar100-lt": values}}))
    where = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", str(workspace.home)]
    where += ["--root", str(workspace.data), "--params", str(params)]
    assert main(["profile", *where, "--sources", "1", "--levels", "0.5"]) == 0
    out = capsys.readouterr().out
    for words in ("guidance", "denoise", "useful FLOPs", "pending", "GiB"):
        assert words in out
    folder = workspace.home / "results/profile"
    told = json.loads((folder / "cifar100-lt-smoke-generation.json").read_text())
    assert (told["images"], told["what"]) == (3, "generation")
    assert told["machine"]["cores"] >= 1
    assert "torch" in told["versions"]

    assert main(["profile", *where, "--what", "reading"]) == 1
    assert "harness: there is no pool" in capsys.readouterr().err
    assert stages.generate(workspace) > 0
    assert main(["profile", *where, "--what", "reading", "training"]) == 0
    out = capsys.readouterr().out
    assert "pixels, mapped" in out
    assert "Training CE on cifar100-lt" in out
    rates = json.loads((folder / "cifar100-lt-smoke-reading.json").read_text())["images_per_s"]
    assert rates["pixels, mapped"] > rates["decoded, threads: 1"] > 0
    assert json.loads((folder / "cifar100-lt-smoke-training.json").read_text())["images_per_s"] > 0


def test_what_is_refused(todo, workspace):
    with pytest.raises(UsageError, match="unknown pipeline 'stok'; available: stock, loop"):
        profile.profile(todo, ["stok"])
    with pytest.raises(UsageError, match="0 sources"):
        generation_run.work(workspace, 0, "cpu")
    with pytest.raises(UsageError, match="unknown approximation"):
        profile.profile(todo, approximate=["fp8"])


def test_figures_are_rounded_and_failures_told(found, workspace):
    told = {k: v for k, v in found.items() if k != "trace"} | {"failed": 3}
    assert "3 images failed" in profile_text.render(told)
    rounded = json.loads(profile_text.write(workspace, told).read_text())
    assert rounded["images_per_s"] == pytest.approx(found["images_per_s"], rel=1e-3)
    with pytest.raises(DataError):
        profile_text.write(Workspace("cifar100-lt", home=Path("/proc/nothing")), told)
