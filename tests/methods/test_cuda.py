"""CUDA: the update of the levels worked by hand, what training sees, what is kept."""

import io
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from baselines import cuda
from harness.core.draws import Draws
from harness.core.errors import UsageError
from harness.methods.arguments import check, declared
from harness.methods.compose import compose
from harness.training import operations, operations_fast

COUNTS = (5, 3, 1, 0)  # real images of four classes
NOISE = torch.randint(256, (32, 32, 3), generator=torch.Generator().manual_seed(0)).byte()


class Tools:
    """The loop's side. right: (class, state) -> right answers of trials * (state + 1), all alike.

    The state is known from the number of rows that a class is asked with.
    """

    def __init__(self, right=None, trials=10, batch=4):
        labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
        labels = np.concatenate([labels, [0, 3]])  # and two synthetic images
        n = len(labels)
        columns = {"image": np.arange(n), "label": labels, "guidance": [100] * (n - 2) + [50] * 2}
        self.data = SimpleNamespace(rows=pl.DataFrame(columns), counts=COUNTS)
        self.right, self.trials, self.batch = right or {}, trials, batch
        self.calls, self.images, self.probed = [], [], []

    def probe(self, rows, change, seed):
        labels = rows["label"].to_numpy()
        guesses = np.full(len(labels), -1)
        counts = {}
        for label in np.unique(labels):
            numbers = np.flatnonzero(labels == label)
            state = len(numbers) // self.trials - 1
            assert len(numbers) == self.trials * (state + 1)
            counts[int(label)] = state
            guesses[numbers[: self.right.get((label, state), 0)]] = label
        self.calls.append(counts)
        self.images += rows["image"].to_list()
        pixels = NOISE.expand(len(labels), 32, 32, 3)
        parts = (
            slice(i, min(i + self.batch, len(labels))) for i in range(0, len(labels), self.batch)
        )
        self.probed += [change(pixels[part], Draws((seed,)).at(part)) for part in parts]
        return guesses, None


def updated(levels, right, tools=None, **arguments):
    """Levels after one update of those of the four classes."""
    tools = tools or Tools(right, arguments.get("trials", 10))
    hook = compose_hook(**arguments)
    hook.rows(tools.data.rows, progress := progress_of(tools, levels))
    return progress.state["class_levels"]


def compose_hook(**arguments):
    return cuda.term(**arguments).augment


def progress_of(tools, levels=None, seed=0, epoch=0):
    state = {} if levels is None else {"class_levels": levels}
    rng = np.random.default_rng(seed)
    return SimpleNamespace(tools=tools, state=state, rng=rng, epoch=epoch)


# ---------------------------------------------------------------- the update, by hand


@pytest.mark.parametrize(
    ("level", "right", "after"),
    [
        (0, (7,), 1),  # 7 / 10 > 0.6
        (0, (6,), 0),  # 6 / 10 is not above 0.6, and there is no level -1
        (0, (0,), 0),
        (1, (7, 13), 2),  # 13 / 20 = 0.65
        (1, (7, 12), 0),  # 12 / 20 = 0.6
        (1, (6, 20), 0),
        (2, (10, 20, 30), 3),
        (2, (10, 20, 18), 1),  # 18 / 30 = 0.6
        (2, (10, 12, 30), 1),  # one in the middle
        (2, (0, 20, 30), 1),  # the first one
        (10, tuple(10 * (s + 1) for s in range(11)), 10),  # there is no level 11
        (10, (*(10 * (s + 1) for s in range(10)), 66), 9),  # 66 / 110 = 0.6
        (9, (*(10 * (s + 1) for s in range(9)), 61), 10),  # 61 / 100
    ],
)
def test_a_level_rises_when_all_levels_up_to_it_are_recognised(level, right, after):
    answers = {(0, state): n for state, n in enumerate(right)}
    assert updated([level, 0, 0, 0], answers) == [after, 0, 0, 0]


def test_the_share_and_the_number_of_trials_are_arguments():
    """3 of 7 = 0.43 and 5 of 14 = 0.36."""
    assert updated([0] * 4, {(0, 0): 3}, accept=0.4, trials=7) == [1, 0, 0, 0]
    assert updated([1] * 4, {(0, 0): 3, (0, 1): 5}, accept=0.4, trials=7) == [0] * 4
    assert updated([0] * 4, {(0, 0): 3}, accept=0.45, trials=7) == [0] * 4
    assert updated([0] * 4, {(0, 0): 10}, accept=1) == [0] * 4  # nothing is above 1


def test_classes_rise_and_fall_on_their_own():
    right = {(0, s): 10 * (s + 1) for s in range(3)} | {(1, 1): 20, (2, 0): 10}
    assert updated([2, 1, 0, 0], right) == [3, 0, 1, 0]


def test_a_class_without_images_is_not_asked_and_has_level_zero():
    tools = Tools({(c, s): 10 * (s + 1) for c in range(4) for s in range(11)})
    assert updated([0, 0, 0, 5], None, tools) == [1, 1, 1, 0]
    assert all(3 not in call for call in tools.calls)


def test_who_fails_is_not_asked_again():
    """Each class from its own level down; class 1 fails at once, class 0 at state 1."""
    right = {(0, 3): 40, (0, 2): 30, (0, 1): 12, (2, 1): 20, (2, 0): 10}
    tools = Tools(right)
    assert updated([3, 2, 1, 0], None, tools) == [2, 1, 2, 0]
    assert tools.calls == [{0: 3, 1: 2, 2: 1}, {0: 2, 2: 0}, {0: 1}]


def test_real_images_of_the_class_are_drawn_with_replacement():
    tools = Tools({(0, 0): 10, (0, 1): 20})
    updated([1, 0, 0, 0], None, tools)
    drawn = np.array(tools.images)
    assert set(drawn.tolist()) == set(range(9))  # 0..4, 5..7, 8; the synthetic ones are 9 and 10
    counts = np.bincount(drawn)
    assert counts[:5].sum() == 20 + 10
    assert counts[5:8].sum() == counts[8] == 10


def test_chains_of_the_asked_state_whatever_the_probe_s_batches():
    """Level 4 is right only about state 4: pictures of 50 chains of 4, then 40 chains of 3."""
    runs = {}
    for batch in (7, 1000):
        tools = Tools({(0, 4): 50}, batch=batch)
        updated([4, 0, 0, 0], None, tools)
        runs[batch] = torch.cat(tools.probed)
    np.testing.assert_array_equal(runs[7], runs[1000])
    unchanged = (runs[7] == NOISE).all(dim=(1, 2, 3))
    assert len(unchanged) == 50 + 10 + 10 + 40
    assert unchanged[50:70].all()  # classes 1 and 2 are at level 0
    assert unchanged[:50].sum() + unchanged[70:].sum() < 5  # two flips, for instance


# ---------------------------------------------------------------- training


@pytest.fixture
def plans(monkeypatch):
    """The plans that `pixels` makes."""
    drawn = []
    real = operations_fast.apply

    def apply(images, plan):
        drawn.append(plan)
        return real(images, plan)

    monkeypatch.setattr(operations_fast, "apply", apply)
    return drawn


def dressed(levels, **arguments):
    hook = compose_hook(**arguments)
    tools = Tools()
    assert hook.dress(tools.data.rows, progress_of(tools, levels)) is tools.data.rows
    return hook


def batch(n):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))
    return images, torch.arange(n) % 4


def test_half_of_the_images_get_the_level_of_their_class(plans):
    images, y = batch(4000)
    changed = dressed([0, 2, 10, 1]).pixels(images, y, Draws((1,), 0, len(y)))
    (plan,) = plans
    np.testing.assert_array_equal(changed, operations.apply_one_by_one(images.numpy(), plan))
    levels = np.array([0, 2, 10, 1])[y]
    assert np.isin(plan.states, (0, *levels)).all()
    assert ((plan.states == levels) | (plan.states == 0)).all()
    assert abs((plan.states[levels > 0] > 0).mean() - 0.5) < 0.05  # five standard deviations


@pytest.mark.parametrize("probability", [0, 0.2, 1])
def test_the_probability_is_an_argument(plans, probability):
    hook = dressed([3] * 4, probability=probability)
    hook.pixels(*batch(2000), Draws((1,), 0, 2000))
    share = (plans[0].states == 3).mean()
    assert share == probability if probability in (0, 1) else abs(share - probability) < 0.05


def test_pixels_follow_from_the_seed():
    hook, (images, y) = dressed([1, 5, 9, 3], cutout=True), batch(64)
    first, again, other = (hook.pixels(images, y, Draws((seed,), 0, 64)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pixels_do_not_depend_on_the_batch():
    hook, (images, y), draws = dressed([1, 5, 9, 3], cutout=True), batch(64), Draws((4,))
    whole = hook.pixels(images, y, draws.at(slice(0, 64)))
    for part in (slice(40, 64), slice(0, 25), slice(25, 40)):
        assert torch.equal(hook.pixels(images[part], y[part], draws.at(part)), whole[part])


def test_levels_are_zero_before_the_first_update(plans):
    hook = dressed(None)
    images, y = batch(16)
    assert torch.equal(hook.pixels(images, y, Draws((1,), 0, 16)), images)
    assert not plans[0].states.any()


def test_cutout_blackens_one_square_around_any_pixel():
    """A square of 16 is cut by the border down to 8 at the upper left: 8 x 8 to 16 x 16 pixels."""
    white = torch.full((2000, 32, 32, 3), 255, dtype=torch.uint8)
    y = torch.zeros(2000, dtype=torch.int64)
    cut = dressed(None, cutout=True).pixels(white, y, Draws((1,), 0, 2000))
    black = (cut == 0).all(-1)
    assert ((cut == 255).all(-1) | black).all()
    rows, columns = black.any(2).sum(1), black.any(1).sum(1)
    assert torch.equal(black.sum((1, 2)), rows * columns)
    for sides in (rows, columns):
        assert (sides.min(), sides.max()) == (8, 16)
    covered = black.float().mean(0)
    assert covered[16, 16] == pytest.approx(0.25, abs=0.05)  # 16 x 16 of 32 x 32 centres
    assert covered[0, 0] == pytest.approx(81 / 1024, abs=0.03)  # centres 0..8
    small = dressed(None, cutout=True, hole_px=4).pixels(white, y, Draws((1,), 0, 2000))
    assert (small == 0).all(-1).sum((1, 2)).max() == 16


def test_an_update_has_no_cutout():
    tools = Tools({(0, 0): 10})
    updated([0] * 4, None, tools, cutout=True)
    assert (torch.cat(tools.probed) == NOISE).all()


# ---------------------------------------------------------------- what is kept


def test_levels_go_on_from_the_state_as_a_checkpoint_keeps_it():
    right = {(c, s): 7 * (s + 1) for c in range(4) for s in range(11)}
    tools, hook = Tools(right), compose_hook()
    progress = progress_of(tools)
    for epoch in range(3):
        progress.epoch = epoch
        assert hook.rows(tools.data.rows, progress) is tools.data.rows
    file = io.BytesIO()
    torch.save(progress.state, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    assert content == {"class_levels": [3, 3, 3, 0]}
    again = progress_of(tools, content["class_levels"])
    compose_hook().rows(tools.data.rows, again)
    assert again.state["class_levels"] == [4, 4, 4, 0]
    assert content["class_levels"] == [3, 3, 3, 0]  # a checkpoint's own


def test_an_update_follows_from_the_epoch_s_generator():
    updates = []
    for seed in (1, 1, 2):
        tools = Tools({(0, 2): 30})
        compose_hook().rows(tools.data.rows, progress_of(tools, [2, 1, 0, 0], seed))
        updates.append((tools.images, torch.cat(tools.probed)))
    assert updates[0][0] == updates[1][0] != updates[2][0]
    assert torch.equal(updates[0][1], updates[1][1])
    assert not torch.equal(updates[0][1], updates[2][1])


def test_updates_may_be_rarer():
    tools = Tools({(c, s): 10 * (s + 1) for c in range(4) for s in range(11)})
    hook, progress, levels = compose_hook(every=3), progress_of(tools), []
    for epoch in range(7):
        progress.epoch = epoch
        hook.rows(tools.data.rows, progress)
        levels.append(progress.state["class_levels"][0])
    assert levels == [1, 1, 1, 2, 2, 2, 3]


# ---------------------------------------------------------------- the term


def test_the_share_to_recognise_is_smaller_for_large_pictures():
    assert "accept=0.6" in compose("CE+CUDA", "cifar100-lt").arguments
    for dataset in ("imagenet-lt", "inaturalist2018", "iwildcam"):
        assert "accept=0.4" in compose("BS+CUDA", dataset).arguments
    assert "trials=10" in compose("CE+CUDA").arguments


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("accept", 3, r"a number in \[0, 1\]"),
        ("accept", True, r"a number in \[0, 1\]"),
        ("probability", -0.1, r"a number in \[0, 1\]"),
        ("probability", "half", r"a number in \[0, 1\]"),
        ("trials", 0, r"a whole number in \[1, 10000\]"),
        ("trials", 2.0, r"a whole number in \[1, 10000\]"),
        ("every", 0, r"a whole number in \[1, 10000\]"),
        ("hole_px", 0, r"a whole number in \[1, 10000\]"),
        ("cutout", 1, "allowed: False, True"),
    ],
)
def test_values_that_it_cannot_use(argument, value, allowed):
    with pytest.raises(UsageError, match=rf"CUDA\({argument}=...\): .*{value}.* {allowed}"):
        check("CUDA", declared(cuda.term, "cuda.py"), {argument: value})
