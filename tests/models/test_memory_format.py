"""Narrow networks stay out of channels_last, where AVX2 kernels write outside their memory."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from harness.models.backbones import resnet10, resnet32, resnet34
from harness.models.memory_format import memory_format

TRAIN = """
import sys
import torch
from harness.models.backbones import resnet10
from harness.models.memory_format import memory_format

torch.set_num_threads(1)
torch.manual_seed(0)
for width in map(int, sys.argv[1:]):
    model, plain = resnet10(5, width), resnet10(5, width)
    plain.load_state_dict(model.state_dict())
    layout = memory_format(model)
    model.to(memory_format=layout)
    model.eval(), plain.eval()  # batch statistics would magnify the last digits
    for step in range(60):
        x = torch.randn(16, 3, 64, 64)
        y = torch.randint(0, 5, (16,))
        for network, images in ((model, x.contiguous(memory_format=layout)), (plain, x)):
            network.zero_grad()
            torch.nn.functional.cross_entropy(network(images), y).backward()
        ours, theirs = (
            torch.cat([p.grad.flatten() for p in network.parameters()])
            for network in (model, plain)
        )
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()
print("right")
"""


@pytest.mark.parametrize("widths", [("4", "6"), ("8",)])
def test_gradients_are_right_on_a_processor_without_avx512(widths):
    isa = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    run = subprocess.run(
        [sys.executable, "-c", TRAIN, *widths],
        env=os.environ | isa,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "right\n", "")


@pytest.mark.parametrize("width", [1, 2, 4, 6, 7])
def test_narrow_networks_are_contiguous(width):
    assert memory_format(resnet10(3, width)) == torch.contiguous_format
    assert memory_format(resnet34(3, width)) == torch.contiguous_format


@pytest.mark.parametrize("width", [8, 9, 16, 64])
def test_others_are_channels_last(width):
    assert memory_format(resnet10(3, width)) == torch.channels_last


def test_only_strided_projections_count():
    assert memory_format(resnet32(3, 4)) == torch.channels_last  # its shortcuts have no weights
    assert memory_format(nn.Conv2d(4, 8, 1)) == torch.channels_last
    assert memory_format(nn.Conv2d(4, 8, 3, stride=2)) == torch.channels_last
    assert memory_format(nn.Conv2d(16, 16, 1, stride=2, groups=4)) == torch.contiguous_format
