"""Backbones have the published shapes, sizes and initial weights."""

import pytest
import torch

from harness.core import registry
from harness.core.errors import UsageError
from harness.models import backbones


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("classes", "count"), [(1000, 5_418_792), (8142, 9_082_638), (100, 4_957_092)]
)
def test_resnet10_has_the_published_parameter_count(classes, count):
    assert parameters(backbones.resnet10(classes)) == count


@pytest.mark.parametrize(("classes", "count"), [(1000, 21_797_672), (100, 21_335_972)])
def test_the_builder_makes_deeper_networks_too(classes, count):
    assert parameters(backbones._imagenet_resnet((3, 4, 6, 3), classes, 64, None)) == count


def test_shapes_at_32_px():
    model = backbones.resnet10(7, width=16).eval()
    images = torch.zeros(2, 3, 32, 32)
    assert model.encoder[:4](images).shape == (2, 16, 8, 8)
    assert model.encoder[:-2](images).shape == (2, 128, 1, 1)
    z = model.encoder(images)
    assert z.shape == (2, 128)
    assert model.head(z).shape == (2, 7)
    assert torch.equal(model(images), model.head(z))


def test_initial_weights_follow_the_specification_and_the_generator():
    one, two = (backbones.resnet10(100, 64, torch.Generator().manual_seed(3)) for _ in range(2))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    conv = one.encoder[-3].conv2.weight  # 512 channels out, 3x3
    assert conv.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    bound = 512**-0.5
    for values in (one.head.weight, one.head.bias):
        assert values.abs().max().item() <= bound
    assert one.head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    norms = [m for m in one.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 12
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


def test_stage_one_keeps_the_identity_shortcut():
    shortcuts = [m.shortcut for m in backbones.resnet10(5, 8).encoder if hasattr(m, "shortcut")]
    assert [type(s).__name__ for s in shortcuts] == ["Identity"] + ["Sequential"] * 3


def test_a_backbone_is_named_by_its_function():
    assert registry.function(backbones, "resnet10") is backbones.resnet10
    with pytest.raises(UsageError, match="unknown name 'resnet11' in backbones; did you mean"):
        registry.function(backbones, "resnet11")


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 2), (1, 2), (2, 1), (4, 2)])
def test_convolutions_of_the_smallest_maps_are_those_of_pytorch(side, stride):
    layer = backbones.Conv3x3(3, 5, stride)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.conv2d(x, layer.weight, stride=stride, padding=1)
    torch.testing.assert_close(layer(x), expected)
    gradients = [torch.autograd.grad(y.square().sum(), layer.weight) for y in (layer(x), expected)]
    torch.testing.assert_close(*gradients)
