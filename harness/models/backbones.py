"""Image encoders with a linear head: each public function builds one, with fresh weights.

A backbone is named by its function. Initialisation: convolutions Kaiming-normal with
fan-out, batch norm 1 and 0, the head PyTorch's default; all drawn from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """`encoder`: images (B, 3, H, W) -> z (B, D); `head`: z -> logits (B, classes)."""

    def __init__(self, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


class Conv3x3(nn.Conv2d):
    """3x3 conv of maps with a border of zeros, without a bias.

    Where a single pixel comes out of it, most of its weights meet the border alone: what is left is
    a linear layer, which takes a third of the time on a CPU.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        if max(h, w) > min(self.stride):
            return super().forward(x)
        met = self.weight[:, :, 1 : 1 + h, 1 : 1 + w].permute(0, 2, 3, 1).flatten(1)
        return nn.functional.linear(x.permute(0, 2, 3, 1).flatten(1), met)[:, :, None, None]


class BasicBlock(nn.Module):
    """3x3 conv, BN, ReLU, 3x3 conv, BN, plus the shortcut, ReLU (He et al. 2016)."""

    def __init__(
        self, channels_in: int, channels: int, stride: int, shortcut: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = Conv3x3(channels_in, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = Conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = shortcut or nn.Identity()
        if shortcut is None and (stride != 1 or channels_in != channels):
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(h + self.shortcut(x))
        return out


class Padded(nn.Module):
    """Every second pixel, with channels of zeros before and after (shortcut of option A)."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.before, self.after = more // 2, more - more // 2

    def forward(self, x: Tensor) -> Tensor:
        pad = (0, 0, 0, 0, self.before, self.after)
        return nn.functional.pad(x[:, :, ::2, ::2], pad)


def resnet10(classes: int, width: int = 64, generator: torch.Generator | None = None) -> Network:
    """ResNet-10 with the ImageNet stem: D = 8 * width; 32 px images end as 1x1 maps."""
    return _imagenet_resnet((1, 1, 1, 1), classes, width, generator)


def resnet34(classes: int, width: int = 64, generator: torch.Generator | None = None) -> Network:
    """ResNet-34 with the ImageNet stem: D = 8 * width."""
    return _imagenet_resnet((3, 4, 6, 3), classes, width, generator)


def resnet32(classes: int, width: int = 16, generator: torch.Generator | None = None) -> Network:
    """ResNet-32 of CIFAR (He et al. 2016, 4.2): 3 stages of 5 blocks, D = 4 * width.

    Shortcuts without parameters (option A). Initialisation: convolutions and head Kaiming-normal
    with fan-in, as LDAM's code has it.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    channels = width
    for stage in range(3):
        for block in range(5):
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = Padded(width * 2**stage - channels) if stride == 2 else nn.Identity()
            layers.append(BasicBlock(channels, width * 2**stage, stride, shortcut))
            channels = width * 2**stage
    encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Network(encoder, channels, classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    _uniform(model.head.bias, channels**-0.5, generator)
    return model


def _imagenet_resnet(
    blocks: Sequence[int], classes: int, width: int, generator: torch.Generator | None
) -> Network:
    """Torchvision's layout: stages of `blocks` BasicBlocks with width, 2, 4, 8 * width channels."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.ReLU(inplace=True),  # of the maxima: what it would be before them, on a quarter
    ]
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(BasicBlock(channels, width * 2**stage, stride))
            channels = width * 2**stage
    encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _initialised(Network(encoder, channels, classes), generator)


def _initialised(model: Network, generator: torch.Generator | None) -> Network:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            _uniform(module.weight, bound, generator)
            _uniform(module.bias, bound, generator)
    return model


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator | None) -> None:
    nn.init.uniform_(parameter, -bound, bound, generator=generator)
