"""Pictures of every mode come as the RGB that is seen: exact pixels."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official_files import pixels, write_imagenet_lt
from PIL import Image, ImageOps

from harness.core.errors import DataError, UsageError
from harness.datasets import codec, imagenet_lt, pictures
from harness.datasets.pictures import Files


def saved(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **settings)
    return out.getvalue()


def first(data: bytes) -> tuple[int, ...]:
    return tuple(pictures.decode(data)[0, 0].tolist())


def test_16_bit_grey_is_scaled_to_8() -> None:
    values = [0, 1, 128, 129, 255, 256, 257, 32_768, 65_406, 65_407, 65_535]
    expected = [0, 0, 0, 1, 1, 1, 1, 128, 254, 255, 255]
    seen = pictures.decode(saved(Image.fromarray(np.array([values], np.uint16))))
    assert seen.dtype == np.uint8
    assert seen.tolist() == [[[v] * 3 for v in expected]]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((10, 20, 30, 255), (10, 20, 30)),
        ((10, 20, 30, 0), (255, 255, 255)),
        ((10, 20, 30, 51), (206, 208, 210)),
        ((0, 100, 255, 128), (127, 177, 255)),
    ],
)
def test_alpha_is_laid_on_white(form: str, pixel: tuple[int, ...], expected: object) -> None:
    exact = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = saved(Image.new("RGBA", (4, 4), pixel), form, **exact)
    assert first(data) == expected
    if form == "WEBP":
        assert tuple(codec.decode(data)[0, 0].tolist()) == expected


def test_grey_with_alpha() -> None:
    assert first(saved(Image.new("LA", (4, 4), (100, 51)))) == (224, 224, 224)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palettes(form: str) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 12, 34, 56, 7, 8, 9])
    assert first(saved(image, form)) == (12, 34, 56)
    assert first(saved(image, form, transparency=1)) == (255, 255, 255)
    assert first(saved(image, form, transparency=2)) == (12, 34, 56)


def test_1_bit_and_8_bit_grey() -> None:
    assert first(saved(Image.new("1", (4, 4), 1))) == (255, 255, 255)
    assert first(saved(Image.new("1", (4, 4), 0))) == (0, 0, 0)
    for form in ("PNG", "BMP", "JPEG"):
        assert first(saved(Image.new("L", (16, 16), 77), form)) == (77, 77, 77)


def test_cmyk_and_ycck() -> None:
    """Adobe's JPEGs; the second is the first with its mark of the colours changed."""
    data = saved(Image.new("CMYK", (16, 16), (10, 200, 60, 30)), "JPEG", quality=100)
    assert first(data) == (217, 50, 173)  # within 1 of (255 - C)(255 - K) / 255
    transform = data.index(b"Adobe") + 11
    ycck = data[:transform] + b"\x02" + data[transform + 1 :]
    assert first(ycck) == (1, 30, 124)
    by_pillow = np.asarray(Image.open(io.BytesIO(ycck)).convert("RGB"))[0, 0]
    assert np.abs(by_pillow.astype(int) - first(ycck)).max() <= 1


# ---------------------------------------------------------------- EXIF


def turned(number: int, form: str = "PNG", **settings: Any) -> bytes:
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = number
    return saved(Image.fromarray(pixels(2, 5, 9)), form, exif=exif, **settings)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_exif_turns_pictures(tmp_path: Path, form: str, number: int) -> None:
    data = turned(number, form, **({"lossless": True} if form == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    seen = pictures.decode(data)
    assert seen.shape == ((9, 5, 3) if number > 4 else (5, 9, 3))
    assert np.abs(seen.astype(int) - expected).max() <= (1 if form == "JPEG" else 0)
    (tmp_path / "x").write_bytes(data)
    assert pictures.size(tmp_path / "x") == seen.shape[:2]


def test_exif_may_be_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then other pixels have another digest; what nobody turned keeps its own."""
    files = {"turned": turned(6), "upright": turned(1)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    own = [hashlib.sha256(data).hexdigest() for data in files.values()]
    both = Files(tmp_path, list(files))
    assert both.digests(np.arange(2)) == own
    monkeypatch.setenv("HARNESS_EXIF", "ignore")
    assert pictures.decode(files["turned"]).shape == (5, 9, 3)
    assert pictures.size(tmp_path / "turned") == (5, 9)
    ignored = both.digests(np.arange(2))
    assert ignored[0] != own[0]
    assert ignored[1] == own[1]
    monkeypatch.setenv("HARNESS_EXIF", "ignored")
    with pytest.raises(UsageError, match="HARNESS_EXIF: 'ignored' is not allowed; did you mean"):
        pictures.decode(files["turned"])


def test_damaged_exif_is_no_harm() -> None:
    data = turned(6, "JPEG")
    start = data.index(b"Exif\x00\x00") + 6
    spoilt = data[:start] + b"\xff" * 8 + data[start + 8 :]
    assert pictures.decode(spoilt).shape == (5, 9, 3)


def test_the_index_hash_of_sound_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_imagenet_lt(tmp_path)
    golden = "81de71523d1992957f6a27d8723352cdc8d0c63d2d71cf9caa47f472ebea8b47"
    assert imagenet_lt.load(root, None, imagenet_lt.MINI).index_hash == golden
    monkeypatch.setenv("HARNESS_EXIF", "ignore")
    assert imagenet_lt.load(root, None, imagenet_lt.MINI).index_hash != golden


def test_size_of_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.jpg: empty"):
        pictures.size(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(b"text")
    with pytest.raises(DataError, match=r"x\.jpg: 4 bytes that begin b'text'"):
        pictures.size(tmp_path / "x.jpg")
