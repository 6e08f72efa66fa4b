"""Memory by count, against what PyTorch keeps, and what a plan says where a card is too small."""

from dataclasses import replace

import pytest
import torch

from harness.methods.compose import compose
from harness.pipeline.workspace import Workspace
from harness.planning import flops, memory, tensor_bytes
from harness.planning.hardware import CARD_GIB

GIB = 2**30


def of(backbone, **changes):
    recipe = Workspace("iwildcam", "paper", backbone=backbone).recipe
    recipe = replace(recipe, **changes)
    cost = flops.network(flops.shape_of(recipe, 182))
    method = compose("FLYP", "iwildcam", "paper")
    return memory.training(method, recipe, cost, recipe.scratch.batch, 2 * 182)


def test_vit_l_14_does_not_fit_a_card_of_80_gb_and_fits_in_parts():
    large = of("ViT-L-14")
    assert large.batch == 200
    assert large.fixed_gib == pytest.approx(6.4, abs=0.05)  # 4 x 427.8 million x 4 bytes
    images = 200 * flops.network(flops.shape_of(recipe_of("ViT-L-14"), 182)).image_b / GIB
    assert images == pytest.approx(99.6, abs=0.05)
    assert large.gib > CARD_GIB
    text = large.advice(CARD_GIB)
    assert "accumulate gradients over 2 steps of 100 images (--set micro_batch=100)" in text
    assert len(text) <= 300
    parts = large.parts(CARD_GIB)
    within = replace(large, batch=-(-large.batch // parts))
    assert within.advice(CARD_GIB) is None
    assert within.gib <= memory.USABLE * CARD_GIB
    assert of(None).advice(CARD_GIB) is None  # ViT-B/16 with batch 256


def recipe_of(backbone):
    return Workspace("iwildcam", "paper", backbone=backbone).recipe


def test_a_card_that_holds_no_image():
    assert "take a larger card" in of("ViT-L-14").advice(7.0)
    assert of("ViT-L-14").parts(7.0) is None
    many = of("ViT-L-14").parts(12.0)
    assert 1 < many <= 200


def test_mixed_precision_takes_less():
    full, mixed = of("ViT-L-14"), of("ViT-L-14", precision="bf16")
    assert mixed.activations_gib == pytest.approx(memory.MIXED * full.activations_gib)
    assert mixed.fixed_gib == full.fixed_gib


def test_the_engine_fits_a_smaller_card_with_fewer_slots():
    usual = memory.generation("bfloat16", 512, 512, 16)
    assert usual.weights_gib == pytest.approx(5.66, abs=0.01)
    assert usual.advice(CARD_GIB) is None
    text = memory.generation("bfloat16", 1024, 1024, 64).advice(24.0)
    batch = int(text.rsplit("generator_batch=", 1)[1].split()[0])
    assert memory.generation("bfloat16", 1024, 1024, batch).advice(24.0) is None
    assert memory.generation("bfloat16", 1024, 1024, batch + 1).advice(24.0) is not None
    assert "take a larger card" in usual.advice(6.0)


# ---------------------------------------------------------------- counting


def test_what_is_kept_for_the_backward_pass():
    layer = torch.nn.Linear(8, 16)
    x = torch.zeros(4, 8)

    def work():
        return torch.relu(layer(x))

    weights = list(layer.parameters())
    # the input (its gradient is not wanted, the weights' is) and what relu returned
    assert tensor_bytes.saved(work, weights) == 4 * (4 * 8 + 4 * 16)
    assert tensor_bytes.saved(lambda: torch.relu(work()), [*weights, x]) == 4 * 2 * 4 * 16


def test_attention_is_counted_in_tiles():
    q, k, v = (torch.zeros(2, 3, 5, 8, device="meta", requires_grad=True) for _ in range(3))

    def attend():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    assert tensor_bytes.saved(attend) == 4 * (4 * 2 * 3 * 5 * 8 + 2 * 3 * 5)
    usual = torch.nn.functional.scaled_dot_product_attention
    assert tensor_bytes.peak(attend) == 4 * (2 * 3 * 5 * 8 + 2 * 3 * 5)
    assert torch.nn.functional.scaled_dot_product_attention is usual


def test_most_bytes_at_once():
    x = torch.zeros(1000, device="meta")

    def work():
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        return (b.view(10, 100) + c.view(10, 100)).sum()

    assert tensor_bytes.peak(work) == 3 * 4000 + 4  # b, c, their sum and its sum
