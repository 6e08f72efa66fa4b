"""What charts share: colours that can be told apart, names that differ, and the library."""

import hashlib
import itertools
import math
import re
from importlib import resources

import pytest

from harness.report import figures
from harness.report.figures import COLOURS, distinct, level_colour

ASSETS = resources.files("harness.report").joinpath("assets")
GROUNDS = ("#ffffff", "#12161c")  # of style.css, light and dark


def linear(colour: str) -> list[float]:
    """Linear sRGB in [0, 1] of "#rrggbb" (IEC 61966-2-1)."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]


def oklab(colour: str) -> tuple[float, float, float]:
    """Ottosson, A perceptual color space for image processing (2020)."""
    r, g, b = linear(colour)
    long = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    medium = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    short = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def apart(a: str, b: str) -> float:
    """Distance in OKLab; about 0.02 can just be seen."""
    return math.dist(oklab(a), oklab(b))


def contrast(a: str, b: str) -> float:
    """WCAG 2.2's contrast ratio."""
    weights = (0.2126, 0.7152, 0.0722)
    light, dark = sorted(
        (sum(w * c for w, c in zip(weights, linear(x), strict=True)) for x in (a, b)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("levels", [(0, 10, 30, 50, 70, 80, 90, 100), (0, 90, 100)])
def test_guidance_levels_have_colours_apart(levels: tuple[int, ...]) -> None:
    for a, b in itertools.pairwise(levels):
        assert apart(level_colour(a), level_colour(b)) > 0.035
    assert apart(level_colour(90), level_colour(100)) > 0.15


def test_series_have_colours_apart() -> None:
    assert min(apart(a, b) for a, b in itertools.combinations(COLOURS, 2)) > 0.05


def test_colours_are_seen_on_both_grounds() -> None:
    style = ASSETS.joinpath("style.css").read_text()
    assert re.findall(r"--ground: (\S+);", style) == list(GROUNDS)
    some = [*COLOURS, *(level_colour(g) for g in range(0, 101, 5))]
    assert min(contrast(c, ground) for c in some for ground in GROUNDS) >= 3


def test_colour_and_symbol_or_dash_tell_series_apart() -> None:
    looks = [(figures.colour(i), figures.symbol(i)) for i in range(98)]
    assert len(set(looks)) == len(looks)
    looks = [(figures.colour(i), figures.dash(i)) for i in range(42)]
    assert len(set(looks)) == len(looks)


def test_names_are_made_distinct() -> None:
    assert distinct(["a", "b"]) == ["a", "b"]
    assert distinct(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]
    assert distinct(["a", "b", "a"], ["x", "y", "z"]) == ["a: x", "b", "a: z"]
    assert distinct(["a", "a"], ["x", "x"]) == ["a: x (1)", "a: x (2)"]


def test_libraries_are_the_files_that_are_listed() -> None:
    listed = re.findall(r"^\| (\S+\.js) \| .*? \| ([0-9a-f]{64}) \|$", text("LIBRARIES.md"), re.M)
    assert {name for name, _ in listed} == {f.name for f in ASSETS.iterdir() if ".min." in f.name}
    for name, digest in listed:
        assert hashlib.sha256(ASSETS.joinpath(name).read_bytes()).hexdigest() == digest


def text(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8")
