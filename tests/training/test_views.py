"""Views of pictures: torchvision's functions, picture after picture, are the definition."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness.core.draws import Draws
from harness.datasets import pictures
from harness.training import augmentation

SIDE = 64


def photos(n, seed=0):
    """Soft shapes with grain, of many sizes."""
    rng = np.random.default_rng(seed)
    found = []
    for h, w in rng.integers(40, 160, (n, 2)):
        shapes = rng.normal(120, 60, (h // 8 + 1, w // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:h, :w]
        grain = rng.normal(0, 20, shapes.shape)
        found.append((shapes + grain).clip(0, 255).astype(np.uint8))
    return found


def defined(picture, draws, index, n):
    """The view `imagenet` of a picture in the words of torchvision."""
    x = torch.from_numpy(picture).permute(2, 0, 1)
    sizes = np.array([picture.shape[:2]])
    u = draws.of("crop").uniform(4 * augmentation.TRIES)[index : index + 1]
    box = augmentation._crop_boxes(sizes, u, (0.08, 1.0))[0].tolist()
    bilinear = functional.InterpolationMode.BILINEAR
    x = functional.resized_crop(x, *box, [SIDE, SIDE], bilinear, antialias=True)
    if draws.of("flip").uniform(1)[index, 0] < 0.5:
        x = functional.horizontal_flip(x)
    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
    )
    u = draws.of("jitter").uniform(4)[index]
    for which in augmentation.ORDERS[int(len(augmentation.ORDERS) * u[3])]:
        x = changes[which](x, float(0.6 + 0.8 * u[which]))
    return x.permute(1, 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_quick_crops_and_colours_are_torchvision_s_to_the_bit(seed):
    some, draws = photos(60, seed), Draws((seed,), 0, 60)
    views = augmentation.imagenet(some, draws, SIDE)
    assert views.shape == (60, SIDE, SIDE, 3)
    assert views.dtype == torch.uint8
    for index, picture in enumerate(some):
        assert torch.equal(views[index], defined(picture, draws, index, 60))


def test_pictures_stay_as_they_were_and_may_be_read_only():
    some, draws = photos(8), Draws((1,), 0, 8)
    before = [picture.copy() for picture in some]
    views = augmentation.imagenet(some, draws, SIDE)
    assert all(np.array_equal(a, b) for a, b in zip(some, before, strict=True))
    for picture in some:
        picture.flags.writeable = False
    assert torch.equal(augmentation.imagenet(some, draws, SIDE), views)


def test_a_jpeg_is_turned_by_what_its_header_says_and_not_by_bytes_of_its_scan():
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    plain, turned, exif = io.BytesIO(), io.BytesIO(), Image.Exif()
    exif[pictures.ORIENTATION] = 6
    Image.fromarray(noise).save(plain, "JPEG")
    Image.fromarray(noise).save(turned, "JPEG", exif=exif)
    assert pictures.decode(turned.getvalue()).shape == (24, 16, 3)
    block = turned.getvalue()
    block = block[block.index(b"\xff\xe1") : block.index(b"\xff\xdb")]
    assert pictures.decode(plain.getvalue() + block).shape == (16, 24, 3)
