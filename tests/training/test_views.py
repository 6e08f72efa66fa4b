"""Views of pictures: torchvision's functions, picture after picture, are the definition."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness.core.draws import Draws
from harness.core.specs import Machine
from harness.datasets import pictures
from harness.methods.compose import compose
from harness.training import augmentation, device_views
from harness.training.device_views import DEVICE_VIEWS, DeviceView
from harness.training.trainer import fit

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


# ---------------------------------------------------------------- made by the device


# torchvision resizes bytes, rounding between its two passes as the device does; without AVX2 it
# resizes floats and rounds once, so that one grey level more or less is common.
BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
UNLIKE, FAR = (0.03, 1e-3) if BYTES else (0.25, 1e-2)  # shares: another grey level, over 2 levels


def on_device(name, some, draws):
    view = DEVICE_VIEWS[name]
    return view.rendered(view.packed(some, draws, SIDE), SIDE, torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "most"),
    # of 255; two grey levels of a resized picture count up to 1.4 ** 3 times after three changes
    [("imagenet", 6), ("inaturalist", 2), ("image_text", 2)],
)
def test_views_of_the_device_are_those_of_the_cpu_to_rounding(name, most):
    """The same random numbers, so not only the distribution is the same, but picture by picture."""
    some, draws = photos(100), Draws((3,), 0, 100)
    ours = getattr(augmentation, name)(some, draws, SIDE).int()
    difference = on_device(name, some, draws).int() - ours
    assert difference.float().mean().abs() < 0.03
    assert difference.abs().max() <= most
    assert (difference != 0).float().mean() < UNLIKE
    assert (difference.abs() > 2).float().mean() < FAR


@pytest.mark.parametrize("name", ["centre", "image_text_centre"])
def test_test_views_of_the_device_are_those_of_the_cpu_to_rounding(name):
    some = [*photos(60), np.full((40, 150, 3), 9, np.uint8), photos(1)[0][:50, :50]]
    ours = getattr(augmentation, name)(some, None, SIDE).int()
    difference = on_device(name, some, None).int() - ours
    assert difference.float().mean().abs() < 0.03
    assert difference.abs().max() <= 2
    assert (difference != 0).float().mean() < UNLIKE


def test_colours_of_the_device_are_those_of_the_cpu_where_pixels_are():
    """Squares that no resizing touches: of the same grey levels come the same ones."""
    rng = np.random.default_rng(0)
    some = [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(60)]
    draws = Draws((5,), 0, 60)
    x = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float()
    ours = device_views._coloured(x, DeviceView(colours=True)._colours(draws))
    jitter = augmentation._jitter(draws)
    theirs = torch.stack([jitter(plane, i).clone() for i, plane in enumerate(x.byte())])
    assert (ours - theirs).abs().max() <= 2  # the products of a sum may be rounded once or twice
    assert (ours != theirs).float().mean() < 1e-3


def test_a_view_of_the_device_does_not_depend_on_its_batch():
    some, draws = photos(70), Draws((2,))
    whole = on_device("imagenet", some, draws.at(slice(0, 70)))
    part = on_device("imagenet", some[40:], draws.at(slice(40, 70)))
    assert (whole[40:].int() - part.int()).abs().max() <= 4
    assert (whole[40:] != part).float().mean() < 1e-3


def test_a_run_with_views_of_the_device_learns_as_one_with_the_cpu_s(tmp_path):
    from test_ahead import SHORT, of_files

    recipe = replace(SHORT, augment="imagenet", test_view="centre")
    (tmp_path / "pictures").mkdir()
    data, runs = of_files(tmp_path / "pictures"), {}
    for name, machine in (
        ("cpu", Machine()),
        ("device", Machine(device_views=True)),
        ("workers", Machine(device_views=True, input_workers=2)),
    ):
        weights = fit(compose("CE"), data, recipe, 0, tmp_path / name, machine)
        about = json.loads((tmp_path / name / "behaviour.json").read_text())
        runs[name] = weights, about
    assert all(torch.equal(runs["device"][0][k], v) for k, v in runs["workers"][0].items())
    assert runs["device"][1]["grey"] == pytest.approx(runs["cpu"][1]["grey"], abs=0.1)
    assert not all(torch.equal(runs["device"][0][k], v) for k, v in runs["cpu"][0].items())
    assert runs["device"][1]["first_loss"]["all"] == pytest.approx(
        runs["cpu"][1]["first_loss"]["all"], rel=1e-2
    )
