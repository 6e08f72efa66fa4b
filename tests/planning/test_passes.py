"""Passes as a dry run counts them, against those of real runs, image by image."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from training_world import CPU, MINI, world

from harness.methods.compose import compose
from harness.planning.dataset_sizes import DatasetSizes
from harness.planning.dry_run import DryRun
from harness.training import ensemble, trainer

SIZES = DatasetSizes(None, (40, 20, 6), 6, 1, {"test": 30})
VALIDATED = replace(SIZES, splits={"test": 30, "val": 30}, validated=True, validation=30)


@pytest.fixture
def counted(monkeypatch):
    """Images that passed the encoders of runs, by whether gradients were kept for them."""
    tally = Counter()
    build = trainer._model

    def model(*arguments):
        network, view = build(*arguments)

        def count(module, inputs, output):
            with_gradients = torch.is_grad_enabled() and output.requires_grad
            tally["trained" if with_gradients else "forward"] += len(inputs[0])

        network.encoder.register_forward_hook(count)
        return network, view

    monkeypatch.setattr(trainer, "_model", model)
    return tally


def planned(expression, recipe, sizes=SIZES):
    passes = DryRun(compose(expression), recipe, sizes, 64, None, 1.0).passes()
    return {"trained": passes.trained, "forward": passes.forward}


def with_validation(data):
    return replace(data, splits=data.splits | {"val": data.splits["test"]}, val="val")


@pytest.mark.parametrize(
    ("expression", "changes"),
    [
        ("CE", {}),
        ("CE", {"look_every": 3, "look_share": 0.5}),
        ("CE+LDMLR(epochs=2, timesteps=3, head_epochs=2, dim=8)", {}),
    ],
)
def test_runs_of_networks(counted, tmp_path, expression, changes):
    recipe = replace(MINI, **changes)
    method = compose(expression)
    start = None
    if method.start is not None:
        start = trainer.fit(compose("CE"), world(), recipe, 0, tmp_path / "ce", CPU)
    counted.clear()
    trainer.fit(method, world(), recipe, 0, tmp_path, CPU, start=start)
    assert dict(counted) | {"trained": counted["trained"]} == planned(expression, recipe)


@pytest.mark.parametrize("expression", ["Zero-shot", "FLYP", "LP-FT(grid=2, max_iter=3)"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_runs_of_image_text_models(counted, tmp_path, clip_folder, expression, share):
    recipe = replace(
        MINI, pretrained=f"local-dir:{clip_folder}", onward=None, look_every=4, look_share=share
    )
    data = with_validation(replace(world(), captions=(("a bear",), ("a bus",), ("an apple",))))
    method = compose(expression)
    weights = trainer.fit(method, data, recipe, 0, tmp_path, CPU)
    assert dict(counted) | {"trained": counted["trained"]} == planned(expression, recipe, VALIDATED)
    counted.clear()
    merged = f"{expression}+WE"
    ensemble.merge(compose(merged), method, data, recipe, 0, tmp_path, CPU, weights)
    assert dict(counted) | {"trained": 0} == planned(merged, recipe, VALIDATED)
