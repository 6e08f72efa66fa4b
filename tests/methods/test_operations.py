"""Operations on pictures: the table, Pillow by hand, and the same pixels made in batches."""

import numpy as np
import pytest
from PIL import Image

from harness.core.draws import Draws
from harness.training import operations, operations_fast
from harness.training.operations import INDEX, OPERATIONS, TOP, Plan, draw, one, strength

SIZES = [(32, 32), (24, 40), (64, 64), (7, 5), (3, 3)]


def pictures(h: int, w: int) -> np.ndarray:
    """Noise, even colours, gradients, soft shapes with grain, and black-and-white specks."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, h, w, 3))
    even = np.broadcast_to(np.reshape([[0] * 3, [7, 7, 200], [255] * 3], (3, 1, 1, 3)), noise.shape)
    y, x = np.mgrid[:h, :w]
    ramp = np.stack([y * 255 / (h - 1), x * 255 / (w - 1), (x + y) * 100 / (h + w) + 50], -1)[None]
    coarse = rng.normal(0, 40, (3, h // 4 + 1, w // 4 + 1, 3)).repeat(4, 1).repeat(4, 2)
    soft = 120 + coarse[:, :h, :w] + rng.normal(0, 8, (3, h, w, 3))
    specks = (rng.random((2, h, w, 3)) < 0.5) * 255
    return np.concatenate([noise, even, ramp, soft.clip(0, 255), specks]).astype(np.uint8)


def drawn(states: np.ndarray, seed: int = 1) -> Plan:
    return draw(states, Draws((seed,), 0, len(states)))


def chain(*names: str) -> Plan:
    """One picture's plan: these operations."""
    row = [INDEX[name] for name in names] + [0] * (TOP - len(names))
    return Plan(np.array([len(names)]), np.array([row]), np.zeros((1, TOP), bool))


# ---------------------------------------------------------------- the table


def test_the_operations_in_their_order():
    assert [operation.name for operation in OPERATIONS] == (
        "Flip Mirror EdgeEnhance Detail Smooth AutoContrast Equalize Invert GaussianBlur "
        "ResizeCrop Rotate Posterize Solarize SolarizeAdd Color Contrast Brightness Sharpness "
        "ShearX ShearY TranslateX TranslateY"
    ).split(" ")
    signed = {operation.name for operation in OPERATIONS if operation.signed}
    assert signed == {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}
    none = {operation.name for operation in OPERATIONS if operation.low is None}
    assert none == set(
        "Flip Mirror EdgeEnhance Detail Smooth AutoContrast Equalize Invert".split(" ")
    )


@pytest.mark.parametrize(
    ("name", "first", "last"),  # strength at states 1 and 10: a thirtieth and a third of the range
    [
        ("GaussianBlur", 2 / 30, 2 / 3),
        ("ResizeCrop", 1 + 0.5 / 30, 1 + 0.5 / 3),
        ("Rotate", 1, 10),
        ("Posterize", 4 / 30, 4 / 3),
        ("Solarize", 256 / 30, 256 / 3),
        ("SolarizeAdd", 110 / 30, 110 / 3),
        ("Color", 0.16, 0.70),
        ("Contrast", 0.16, 0.70),
        ("Brightness", 0.16, 0.70),
        ("Sharpness", 0.16, 0.70),
        ("ShearX", 0.01, 0.1),
        ("ShearY", 0.01, 0.1),
        ("TranslateX", 100 / 30, 100 / 3),
        ("TranslateY", 100 / 30, 100 / 3),
        ("Flip", 0, 0),
    ],
)
def test_strengths(name, first, last):
    assert strength(INDEX[name], 1) == pytest.approx(first)
    assert strength(INDEX[name], TOP) == pytest.approx(last)


# ---------------------------------------------------------------- the definition, by hand


def ramp(values=range(256)) -> np.ndarray:
    """A picture of one row, grey."""
    return np.repeat(np.array(values, np.uint8)[None, :, None], 3, axis=2)


@pytest.mark.parametrize("state", range(1, TOP + 1))
def test_posterize_leaves_one_bit_at_every_level(state):
    np.testing.assert_array_equal(one(ramp(), INDEX["Posterize"], state), ramp() & 128)


@pytest.mark.parametrize(("state", "from_"), [(1, 9), (10, 86)])  # 8.53 and 85.3, rounded up
def test_solarize_inverts_less_at_higher_levels(state, from_):
    expected = [x if x < from_ else 255 - x for x in range(256)]
    np.testing.assert_array_equal(one(ramp(), INDEX["Solarize"], state), ramp(expected))


def test_solarize_add_adds_cuts_and_inverts_the_upper_half():
    """36.67 is added at state 10: 91 becomes 127.67, cut to 127; 92 becomes 128, inverted 127."""
    pixels = one(ramp([0, 91, 92, 218, 219, 255]), INDEX["SolarizeAdd"], 10)
    np.testing.assert_array_equal(pixels, ramp([36, 127, 127, 1, 0, 0]))


def test_brightness_grows_with_the_level():
    values = [int(one(ramp([200]), INDEX["Brightness"], s)[0, 0, 0]) for s in range(1, TOP + 1)]
    assert values == [32, 44, 56, 68, 80, 92, 104, 116, 128, 140]  # 200 x (0.16, 0.22, .. 0.70)


def test_color_goes_towards_grey():
    """Grey of pure red: (255 x 19595 + 2^15) / 2^16 = 76; 76 + 0.7 x (255 - 76) = 201.3."""
    pixels = one(np.full((1, 1, 3), (255, 0, 0), np.uint8), INDEX["Color"], 10)
    assert pixels[0, 0].tolist() == [201, 22, 22]  # 76 + 0.7 x (0 - 76) = 22.8


@pytest.mark.parametrize(("name", "axis"), [("TranslateX", 1), ("TranslateY", 0)])
@pytest.mark.parametrize("minus", [False, True])
def test_a_translation_of_level_ten_leaves_nothing_of_32_pixels(name, axis, minus):
    white = np.full((32, 32, 3), 255, np.uint8)
    assert not one(white, INDEX[name], 10, minus).any()  # by 33.3 px
    left = one(white, INDEX[name], 9, minus).any(axis=(1 - axis, 2))  # by 30 px
    assert np.flatnonzero(left).tolist() == ([30, 31] if minus else [0, 1])


def test_a_sign_turns_the_other_way():
    picture = pictures(32, 32)[-3]
    for name in ("Rotate", "ShearX", "ShearY"):
        plus, minus = (one(picture, INDEX[name], 8, sign) for sign in (False, True))
        assert (plus != minus).any()
    mirrored = one(one(picture[:, ::-1], INDEX["Rotate"], 8, True)[:, ::-1], INDEX["Rotate"], 0)
    close = (mirrored == one(picture, INDEX["Rotate"], 8)).mean()
    assert close > 0.95  # nearest pixels; ties may fall otherwise
    for name in ("Flip", "Color"):
        np.testing.assert_array_equal(*(one(picture, INDEX[name], 8, s) for s in (False, True)))


@pytest.mark.parametrize("state", range(TOP + 1))
def test_resize_crop_keeps_the_size_and_the_middle(state):
    """int(32 v) is 32, 32, 33, .. 37; what is cut off before: half the difference, rounded down."""
    side = int(32 * (1 + state / 60))
    picture = pictures(32, 32)[6]
    big = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    first = side // 2 - 16
    expected = big[first : first + 32, first : first + 32]
    np.testing.assert_array_equal(one(picture, INDEX["ResizeCrop"], state), expected)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", INDEX)
def test_a_batch_has_pillows_pixels_for_every_state_and_sign(name, size):
    """The operation, then flips to the end of the chain; all states and signs in one batch."""
    images = pictures(*size)
    cases = [(state, minus) for state in range(1, TOP + 1) for minus in (False, True)]
    states, signs = (np.repeat(column, len(images)) for column in zip(*cases, strict=True))
    row = [INDEX[name]] + [INDEX["Flip"]] * (TOP - 1)
    plan = Plan(states, np.tile(row, (len(states), 1)), np.tile(signs[:, None], (1, TOP)))
    pixels = operations_fast.apply(np.tile(images, (len(cases), 1, 1, 1)), plan)
    for case, (state, minus) in enumerate(cases):
        expected = np.stack([one(picture, INDEX[name], state, minus) for picture in images])
        if state % 2 == 0:
            expected = expected[:, ::-1]
        part = pixels[case * len(images) : (case + 1) * len(images)]
        np.testing.assert_array_equal(part, expected, err_msg=f"state {state}, minus {minus}")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random_chains_have_pillows_pixels(size):
    images = np.tile(pictures(*size), (12, 1, 1, 1))
    states = np.random.default_rng(1).integers(0, TOP + 1, len(images))
    plan = drawn(states)
    pixels = operations_fast.apply(images, plan)
    np.testing.assert_array_equal(pixels, operations.apply_one_by_one(images, plan))
    assert len(set(plan.operations[states == TOP].ravel().tolist())) == len(OPERATIONS)


def test_a_chain_does_its_operations_in_turn(monkeypatch):
    """Grey of 90: inverted, it is 165; the black that a shear of state 2 brings becomes white only
    when the inversion comes after it.
    """
    monkeypatch.setattr(operations_fast, "CHUNK_BYTES", 1)  # a picture at a time
    images = np.full((3, 32, 32, 3), 90, np.uint8)
    before, after = chain("ShearX", "Invert"), chain("Invert", "ShearX")
    plan = Plan(
        np.array([2, 2, 0]),
        np.concatenate([before.operations, after.operations, after.operations]),
        np.zeros((3, TOP), bool),
    )
    changed = operations_fast.apply(images, plan)
    assert changed[:, 0, 0, 0].tolist() == [165, 165, 90]
    assert changed[:, -1, -1, 0].tolist() == [255, 0, 90]
    np.testing.assert_array_equal(changed, operations.apply_one_by_one(images, plan))


def test_state_zero_and_the_given_images_stay_as_they_are():
    images = pictures(32, 32)
    before = images.copy()
    states = np.arange(len(images)) % 2 * 5
    plan = drawn(states, 3)
    for change in (operations_fast.apply, operations.apply_one_by_one):
        changed = change(images, plan)
        np.testing.assert_array_equal(images, before)
        np.testing.assert_array_equal(changed[::2], images[::2])
        assert (changed[1::2] != images[1::2]).any(axis=(1, 2, 3)).sum() > 3
    none = drawn(np.zeros(0, np.int64))
    assert operations_fast.apply(images[:0], none).shape == (0, 32, 32, 3)


def test_images_may_lie_in_memory_in_any_order():
    images = pictures(24, 40)
    plan = drawn(np.full(len(images), 4))
    turned = np.ascontiguousarray(images.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    assert not turned.flags.c_contiguous
    pixels = operations_fast.apply(turned, plan)
    np.testing.assert_array_equal(pixels, operations_fast.apply(images, plan))


@pytest.mark.parametrize("size", [(2, 2), (1, 50), (160, 160)], ids=str)
def test_sizes_left_to_pillow(size):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    plan = drawn(np.array([6, 7]))
    pixels = operations_fast.apply(images, plan)
    np.testing.assert_array_equal(pixels, operations.apply_one_by_one(images, plan))


# ---------------------------------------------------------------- draws


def test_a_plan_follows_from_the_seed():
    states = np.arange(11)
    plans = [drawn(states, seed) for seed in (5, 5, 6)]
    for name in ("states", "operations", "minus"):
        first, again = (getattr(plan, name) for plan in plans[:2])
        np.testing.assert_array_equal(first, again)
    assert (plans[0].operations != plans[2].operations).any()
    part = plans[0].part(slice(3, 6))
    np.testing.assert_array_equal(part.operations, plans[0].operations[3:6])
    assert part.states.tolist() == [3, 4, 5]


def test_operations_and_signs_are_uniform():
    plan = drawn(np.full(22_000, 3))
    counts = np.bincount(plan.operations.ravel(), minlength=22)
    assert len(counts) == 22
    assert abs(counts - 10_000).max() < 500  # five standard deviations of 98
    assert abs(plan.minus.mean() - 0.5) < 0.005
