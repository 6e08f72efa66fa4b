"""Data parallelism: two processes train what one does."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.multiprocessing as mp
from epoch_tables import RECIPE
from noise_world import CPU, world

from harness.core.specs import Mixture, Schedule
from harness.methods.compose import compose
from harness.training import inference
from harness.training.evaluation import _rank_share
from harness.training.trainer import first_weights, fit


def rank(number, port, expression, recipe, folder):
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    inference.BATCH = 5  # so that there are batches for both to test
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


@pytest.mark.parametrize("part", [0, 4])
def test_two_processes_end_with_the_weights_of_one(clip_folder, tmp_path, part):
    """Without batch norm nothing but rounding may differ, crops and flips included.

    Each process has 6 images of a batch; part: images of which it has the activations at once.
    """
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
    both = two_ranks(expression, replace(recipe, micro_batch=part), tmp_path / "two")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5)
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / name / "epochs.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [e["levels"] for e in ours] == [e["levels"] for e in theirs]
    assert all(e["images"] % 2 == 0 for e in ours)  # an odd one would be left out


NORM = replace(
    RECIPE, scratch=Schedule("sgd", 0.02, 16, 1, momentum=0.9),
    mixture=Mixture(keep=0.5, tail_fraction=0.5),
)  # fmt: skip


def distance(one, two):
    """The largest difference of weights and running statistics, by the size of the values."""
    pairs = [(one[name].double(), two[name].double()) for name in one]
    return max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-6)) for a, b in pairs)


def test_batch_norm_on_two_processes_is_that_of_one_only_where_it_is_shared(tmp_path):
    """Five steps of 16: each process normalises its 8 images alone, or all 16 with the other.

    Shared, weights and running statistics are those of one process to rounding. Alone, both differ:
    the running statistics are the first process's.
    """
    alone = fit(compose("CE"), world(32, None), NORM, 0, tmp_path / "one", CPU)
    shared = two_ranks("CE", replace(NORM, sync_batch_norm=True), tmp_path / "shared")
    apart = two_ranks("CE", NORM, tmp_path / "apart")
    assert alone.keys() == shared.keys() == apart.keys()
    assert distance(alone, shared) < 1e-3
    assert distance(alone, apart) > 1e-2
    assert all(torch.isfinite(value).all() for value in apart.values())
    for folder, weights in (("apart", apart), ("shared", shared)):
        check_predictions(tmp_path / folder, weights)
    assert pictures(tmp_path / "one") == pytest.approx(pictures(tmp_path / "shared"), rel=1e-5)


def pictures(folder):
    """Mean brightness of each class in the record, by both processes' pictures."""
    return json.loads((folder / "behaviour.json").read_text())["grey"]


def check_predictions(folder, weights):
    """Both tested half of the batches; together they say what one process says of the weights."""
    data = world(32, None)
    loop, _ = first_weights(compose("CE"), data, NORM, 0, folder, CPU)
    loop.model.load_state_dict(weights)
    table = pl.read_parquet(folder / "predictions-last.parquet")
    for name, split in data.splits.items():
        classes, p = inference.true_class(
            loop.model, loop.method.objective, lambda n=name: loop.split_features(n), split.labels
        )
        rows = table.filter(table["split"] == name)
        np.testing.assert_array_equal(rows["prediction"], classes)
        np.testing.assert_allclose(rows["p_true"], p, rtol=1e-5)


def test_images_are_dealt_to_ranks_in_batches_of_one_process():
    shares = [_rank_share(23, 3, rank) for rank in range(3)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(23))
    whole = [_rank_share(600, 2, rank) for rank in range(2)]
    assert whole[0].tolist() == [*range(256), *range(512, 600)]
    assert whole[1].tolist() == list(range(256, 512))
    assert _rank_share(3, 2, 1).tolist() == []
