"""Pictures that claim more than they hold are refused by their headers."""

import io
import time

import numpy as np
import official_files
import pytest
from PIL import Image

from harness.core.errors import DataError, UsageError
from harness.datasets import codec, picture_limits, pictures

SIDES = (40, 48)


def encoded(form, **settings):
    return official_files.encoded(official_files.pixels(1, *SIDES), form, **settings)


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"mode": "L"}),
        ("JPEG", {"mode": "CMYK"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"lossless": True, "mode": "RGBA"}),
        ("WEBP", {"exif": b"Exif\0\0"}),
    ],
)
def test_headers_are_understood(monkeypatch, form, settings):
    data = encoded(form, **settings)
    assert picture_limits.check_header(data, "a")
    assert pictures.decode(data).shape == (*SIDES, 3)
    monkeypatch.setenv("HARNESS_MEGAPIXELS", "0.001")
    with pytest.raises(
        DataError, match=r"^a: 48x40 px, at most 0\.001 megapixels are decoded; \$H"
    ):
        picture_limits.check_header(data, "a")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_the_limit_holds_for_every_format(monkeypatch, tmp_path, form):
    path = tmp_path / "a"
    path.write_bytes(encoded(form))
    assert pictures.size(path) == SIDES
    monkeypatch.setenv("HARNESS_MEGAPIXELS", "0.001")
    for function in (pictures.read, pictures.size):
        with pytest.raises(DataError, match="48x40 px, at most"):
            function(path)


@pytest.mark.parametrize("side", [20_000, 65_000])
def test_a_jpeg_that_claims_to_be_huge(side):
    data = encoded("JPEG")
    at = data.find(b"\xff\xc0")
    data = data[: at + 5] + side.to_bytes(2, "big") * 2 + data[at + 9 :]
    began = time.process_time()
    for decode in (pictures.decode, codec.decode):
        with pytest.raises(DataError, match=f"{side}x{side} px, at most 100 megapixels"):
            decode(data)
    assert time.process_time() - began < 0.5


def test_an_empty_picture_of_many_pixels_is_a_bomb():
    out = io.BytesIO()
    Image.new("L", (3000, 3000)).save(out, "WEBP", lossless=True)
    with pytest.raises(DataError, match=r"3000x3000 px in \d+ bytes, expected a photo"):
        pictures.decode(out.getvalue())


def test_a_jpeg_of_many_scans():
    data = encoded("JPEG", progressive=True)
    at = data.find(b"\xff\xda")
    scan = data[at : data.find(b"\xff\xda", at + 2)]
    with pytest.raises(DataError, match="a JPEG of more than 100 scans"):
        pictures.decode(data[:at] + scan * 200 + data[at:])


@pytest.mark.parametrize("value", ["0", "-1", "much", "nan", "inf"])
def test_what_is_no_limit(monkeypatch, value):
    monkeypatch.setenv("HARNESS_MEGAPIXELS", value)
    with pytest.raises(UsageError, match=r"\$HARNESS_MEGAPIXELS: '.*' is not allowed"):
        picture_limits.megapixels()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK", "I;16", "RGB"])
def test_large_pictures_are_converted_in_strips(monkeypatch, mode):
    picture = Image.fromarray(official_files.pixels(2, *SIDES))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 200)
    else:
        image = picture.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(official_files.pixels(3, *SIDES)[:, :, 0]))
    whole = codec.rgb(image)
    monkeypatch.setattr(codec, "_AT_ONCE_PX", 100)
    np.testing.assert_array_equal(codec.rgb(image), whole)
