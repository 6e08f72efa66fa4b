"""Batches in parts, activations computed again, and a GPU's full memory."""

import json
from dataclasses import replace
from pathlib import Path

import noise_world
import pytest
import torch
from accelerate import Accelerator
from epoch_tables import RECIPE
from training_world import CPU, MINI, SCRATCH, world

from harness.core.errors import DataError, UsageError
from harness.core.specs import Schedule
from harness.methods.compose import compose
from harness.methods.terms import Augment, Batch
from harness.training import gradients
from harness.training.gradients import by_parts
from harness.training.loop import Step
from harness.training.trainer import first_weights, fit

SHORT = replace(MINI, scratch=replace(SCRATCH, epochs=2))


def clip_recipe(folder, **more):
    config = json.loads((Path(folder) / "open_clip_config.json").read_text())
    return replace(
        RECIPE, backbone="clip", pretrained=f"local-dir:{folder}", onward=None, mixture=None,
        scratch=Schedule("sgd", 1e-2, 12, 2, momentum=0.9),
        view_px=config["model_cfg"]["vision_cfg"]["image_size"], **more,
    )  # fmt: skip


def grads(step, x, batch, size, dtype=torch.float64):
    accelerator = Accelerator(cpu=True)
    step.zero_grad()
    if size is None:
        loss = step(x, batch, False)
        loss.backward()
        loss = loss.detach()
    else:
        loss = by_parts(step, accelerator, x, batch, False, size)
    return loss, {k: p.grad.clone() for k, p in step.named_parameters() if p.grad is not None}


def flyp(folder, tmp_path, hooks=()):
    recipe = clip_recipe(folder)
    method, data = compose("FLYP"), noise_world.world(recipe.view_px, None)
    loop, _ = first_weights(method, data, recipe, 0, tmp_path, CPU)
    model = loop.model.double().train()
    x = torch.randn(13, 3, recipe.view_px, recipe.view_px, dtype=torch.float64)
    y = torch.arange(13) % 3
    batch = Batch(y, torch.full((3,), 1 / 3), torch.arange(13) % 2)
    return Step(model, method.objective, hooks), x, batch


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_the_contrastive_loss_in_parts_has_the_gradients_of_the_whole_batch(
    clip_folder, tmp_path, size
):
    step, x, batch = flyp(clip_folder, tmp_path)
    loss, whole = grads(step, x, batch, None)
    of_parts, parts = grads(step, x, batch, size)
    assert float(of_parts) == pytest.approx(float(loss), rel=1e-6)
    assert whole.keys() == parts.keys()
    assert {name.split(".")[1] for name in whole} == {"encoder", "text", "logit_scale"}
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-8, atol=1e-12)


def test_a_mean_of_parts_would_be_another_loss(clip_folder, tmp_path):
    """The check above can fail: negatives from the own part alone give other gradients."""
    step, x, batch = flyp(clip_folder, tmp_path)
    loss, _ = grads(step, x, batch, None)
    wrong = gradients._accumulated(step, Accelerator(cpu=True), x, batch, False, 5)
    assert abs(float(wrong) - float(loss)) > 0.1


class Mixed(Augment):
    """Features of neighbours in the batch are averaged."""

    def features(self, z, y):
        return (z + z.roll(1, 0)) / 2, y


@pytest.mark.parametrize("hooks", [(), (Mixed(),)])
def test_a_mean_over_images_in_parts_has_the_gradients_of_the_whole_batch(
    clip_folder, tmp_path, hooks
):
    step, x, batch = flyp(clip_folder, tmp_path, hooks)
    step.objective = compose("CE").objective
    torch.nn.init.normal_(step.model.head.weight)
    loss, whole = grads(step, x, batch, None)
    of_parts, parts = grads(step, x, batch, 4)
    assert float(of_parts) == pytest.approx(float(loss), rel=1e-6)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-8, atol=1e-12)


def test_dropout_draws_for_both_makings_of_a_part_the_same(clip_folder, tmp_path):
    """With what is dropped known, the gradients are those of one batch with the same masks."""
    step, x, batch = flyp(clip_folder, tmp_path)
    encoder = step.model.encoder
    step.model.encoder = torch.nn.Sequential(encoder, torch.nn.Dropout(0.5))
    seen = []
    hook = step.model.encoder.register_forward_hook(
        lambda module, inputs, output: seen.append(output.detach().clone())
    )
    grads(step, x, batch, 5)
    hook.remove()
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first, second)
    assert (first == 0).any()


def test_parts_train_like_whole_batches_and_batch_norm_sees_one_part(tmp_path, clip_folder):
    recipe = clip_recipe(clip_folder)
    data = noise_world.world(recipe.view_px, None)
    whole = fit(compose("FLYP"), data, recipe, 0, tmp_path / "whole", CPU)
    parts = fit(compose("FLYP"), data, replace(recipe, micro_batch=5), 0, tmp_path / "parts", CPU)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)
    whole = fit(compose("CE"), world(), SHORT, 0, tmp_path / "norm", CPU)
    parts = fit(compose("CE"), world(), replace(SHORT, micro_batch=8), 0, tmp_path / "nparts", CPU)
    assert not all(torch.allclose(parts[k], v, rtol=1e-2, atol=1e-2) for k, v in whole.items())


def test_activations_computed_again_leave_the_bits_alone(tmp_path, clip_folder, monkeypatch):
    recipe, calls = clip_recipe(clip_folder), []
    data = noise_world.world(recipe.view_px, None)
    kept = fit(compose("FLYP"), data, recipe, 0, tmp_path / "kept", CPU)
    real = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(
        "open_clip.transformer.checkpoint", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    again = fit(compose("FLYP"), data, replace(recipe, recompute=True), 0, tmp_path / "again", CPU)
    assert calls
    assert all(torch.equal(again[name], value) for name, value in kept.items())


def test_a_network_without_blocks_cannot_compute_its_activations_again(tmp_path):
    with pytest.raises(UsageError, match=r"recompute is for image-text models .*resnet10.*micro_b"):
        fit(compose("CE"), world(), replace(SHORT, recompute=True), 0, tmp_path, CPU)


def test_tf32_is_of_the_run_and_on_a_cpu_as_float32(tmp_path):
    before = torch.get_float32_matmul_precision()
    full = fit(compose("CE"), world(), SHORT, 0, tmp_path / "no", CPU)
    short = fit(compose("CE"), world(), replace(SHORT, precision="tf32"), 0, tmp_path / "tf32", CPU)
    assert all(torch.equal(short[name], value) for name, value in full.items())
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (SHORT, r"too small for 16 images at once: set micro_batch=8: .* 16 .*precision=bf16"),
        (replace(SHORT, micro_batch=4, precision="bf16"), "4 images at once: set micro_batch=2"),
    ],
)
def test_a_full_gpu_is_one_sentence_that_says_what_to_set(tmp_path, monkeypatch, recipe, words):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    monkeypatch.setattr("harness.training.loop.Loop._step", full)
    with pytest.raises(DataError, match=words) as told:
        fit(compose("CE"), world(), recipe, 0, tmp_path, CPU)
    assert len(str(told.value)) <= 300
    from harness.cli.guard import out_of_memory

    assert not out_of_memory(told.value)  # which would say less
