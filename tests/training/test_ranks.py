"""Data parallelism: two processes train what one does."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import torch
import torch.multiprocessing as mp
from epoch_tables import RECIPE
from noise_world import CPU, world

from harness.core.specs import Mixture, Schedule
from harness.methods.compose import compose
from harness.training.trainer import fit


def rank(number, port, expression, recipe, folder):
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    method = compose(expression, "iwildcam", "smoke")
    weights = fit(method, world(recipe.view_px, method.reads), recipe, 0, folder, CPU)
    if number == 0:
        torch.save(weights, folder / "weights.pt")


def two_ranks(expression, recipe, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(rank, (port, expression, recipe, folder), nprocs=2)
    return torch.load(folder / "weights.pt", weights_only=True)


def test_two_processes_end_with_the_weights_of_one(clip_folder, tmp_path):
    """Without batch norm nothing but rounding may differ, crops and flips included."""
    expression = 'FLYP+DisCL(curriculum="adaptive")'  # the loss and the looks cross processes
    config = json.loads((Path(clip_folder) / "open_clip_config.json").read_text())
    recipe = replace(
        RECIPE, backbone="clip", pretrained=f"local-dir:{clip_folder}", onward=None, mixture=None,
        scratch=Schedule("sgd", 1e-2, 12, 3, momentum=0.9), curriculum_epochs=2,
        levels=(0.0, 0.3, 0.5), threshold=0.2, probe_images=2, probe_train=30,
        view_px=config["model_cfg"]["vision_cfg"]["image_size"],
    )  # fmt: skip
    method = compose(expression, "iwildcam", "smoke")
    data = world(recipe.view_px, method.reads)
    alone = fit(method, data, recipe, 0, tmp_path / "one", CPU)
    both = two_ranks(expression, recipe, tmp_path / "two")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5)
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / name / "epochs.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [e["levels"] for e in ours] == [e["levels"] for e in theirs]
    assert all(e["images"] % 2 == 0 for e in ours)  # an odd one would be left out


def test_batch_norm_and_crops_train_on_two_processes(tmp_path):
    recipe = replace(
        RECIPE, scratch=Schedule("sgd", 0.05, 16, 2, momentum=0.9),
        mixture=Mixture(keep=0.5, tail_fraction=0.5),
    )  # fmt: skip
    found = two_ranks("CE", recipe, tmp_path)
    assert all(torch.isfinite(value).all() for value in found.values())
    assert (tmp_path / "predictions-last.parquet").exists()
