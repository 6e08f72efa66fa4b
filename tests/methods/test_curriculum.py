"""Schedules of guidance levels, and the make-up of an epoch."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from epoch_tables import PAPER_LEVELS, RECIPE, progress, table

from baselines import discl
from harness.core.errors import DataError, UsageError
from harness.core.specs import Mixture
from harness.methods import curriculum as curricula
from harness.methods import spectra
from harness.methods.compose import compose
from harness.methods.sampling import Control, hundredths, mix
from harness.methods.terms import Trial
from harness.training.data import batches

IMAGENET = Mixture(keep=0.3, tail_fraction=0.136)


def runs(choose, epochs=65, **more):
    """[(level or None, how many epochs in a row)] of a curriculum with one level per epoch."""
    state, levels = {}, []
    for epoch in range(epochs):
        level = (*choose(progress(epoch, state=state, **more)), None)[0]
        if levels and levels[-1][0] == level:
            levels[-1][1] += 1
        else:
            levels.append([level, 1])
    return [tuple(pair) for pair in levels]


def test_diverse_to_specific_has_the_papers_twelve_epochs_per_level():
    stages = runs(curricula.diverse_to_specific)
    assert stages == [(0, 12), (10, 12), (30, 12), (50, 12), (100, 12), (None, 5)]


def test_the_rest_goes_to_the_first_stages():
    stages = runs(curricula.diverse_to_specific, curriculum_epochs=14, epochs=16)
    assert stages == [(0, 3), (10, 3), (30, 3), (50, 3), (100, 2), (None, 2)]
    stages = runs(curricula.diverse_to_specific, curriculum_epochs=3, epochs=4)
    assert stages == [(0, 1), (10, 1), (30, 1), (None, 1)]


def test_specific_to_diverse_is_the_reverse():
    stages = runs(curricula.specific_to_diverse)
    assert stages == [(100, 12), (50, 12), (30, 12), (10, 12), (0, 12), (None, 5)]


def test_easy_to_hard_rounds_down_and_stays_at_the_last_level():
    stages = runs(curricula.easy_to_hard, levels=(50, 70, 90, 100), curriculum_epochs=15, epochs=20)
    assert stages == [(50, 3), (70, 3), (90, 3), (100, 6), (None, 5)]


def test_random_is_constant_in_a_stage_and_uniform_over_stages():
    lengths = runs(curricula.random)
    assert all(length % 12 == 0 for level, length in lengths[:-1])
    assert lengths[-1] == (None, 5)
    drawn = [curricula.random(progress(0, seed=seed))[0] for seed in range(500)]
    counts = np.bincount(drawn, minlength=101)[list(PAPER_LEVELS)]
    assert counts.sum() == 500
    assert counts.min() > 60


def test_random_goes_on_from_a_stored_state():
    state = {}
    first = [curricula.random(progress(e, state=state)) for e in range(20)]
    again = {"random_stage": 0, "random_level": first[5][0]}
    assert [curricula.random(progress(e, state=again)) for e in range(6, 20)] == first[6:]


def test_levels_without_a_schedule():
    for epoch in (0, 30, 64):
        assert curricula.all_level(progress(epoch)) == PAPER_LEVELS
        assert curricula.text_only(progress(epoch)) == (0,)
        assert curricula.fixed(progress(epoch, levels=(30, 100))) == (30,)
        assert curricula.none(progress(epoch)) == ()
    with pytest.raises(UsageError, match=r"one level below 1, not 0, 0\.1"):
        curricula.fixed(progress(0))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('schedule="released"', [(0, 11), (10, 12), (30, 12), (50, 12), (100, 14), (None, 4)]),
        (
            'schedule="released", level_zero="released"',
            [(10, 14), (30, 15), (50, 15), (100, 17), (None, 4)],
        ),
        (
            'schedule="released", level_zero="released", curriculum="specific-to-diverse"',
            [(100, 14), (50, 15), (30, 15), (10, 17), (None, 4)],
        ),
        ('level_zero="released"', [(10, 15), (30, 15), (50, 15), (100, 15), (None, 5)]),
        ("levels=(0.5, 0.3)", [(30, 20), (50, 20), (100, 20), (None, 5)]),
    ],
)
def test_released_and_own_schedules(arguments, expected):
    method = compose(f"CE+DisCL({arguments})")
    assert runs(method.curriculum.levels) == expected


def test_hundredths():
    assert hundredths((0.57, 0.29, 0, 1)) == (0, 29, 57, 100)
    for wrong in (0.5, "0.5", (), (True,), (0.3, 0.3), (1.01,), (float("nan"),), ("a",)):
        with pytest.raises(UsageError):
            hundredths(wrong)


# ---------------------------------------------------------------- an epoch


def imagenet_lt():
    """864 and 136 classes with ImageNet-LT's 114,203 and 1,643 images."""
    other = table(114_203, label=[i % 864 for i in range(114_203)])
    tail = table(1643, 114_203, label=[864 + i % 136 for i in range(1643)], hard=True)
    return pl.concat([other, tail])


@pytest.mark.parametrize("fraction", [0.136, None])
def test_an_epoch_of_imagenet_lt_has_the_released_numbers(fraction):
    rows = imagenet_lt()
    spectra = table(24_141, 200_000, guidance=30, label=900, hard=True, score=0.31)
    mixture = replace(IMAGENET, tail_fraction=fraction)
    epoch = mix(rows, spectra, mixture, np.random.default_rng(0))
    assert epoch.height == 39_652
    assert epoch.filter(~pl.col("hard")).height == 34_260
    real = epoch.filter(pl.col("hard") & (pl.col("guidance") == 100))
    assert real["image"].sort().to_list() == list(range(114_203, 114_203 + 1643))
    assert epoch.filter(pl.col("guidance") == 30).height == 3749
    assert epoch["image"].n_unique() == 39_652  # nothing is drawn twice
    assert len(list(batches(epoch.height, 128))) == 310
    assert epoch.schema == rows.schema


def test_an_epoch_of_real_images_draws_the_tail_with_replacement():
    epoch = mix(imagenet_lt(), None, IMAGENET, np.random.default_rng(0))
    assert epoch.height == 39_652
    tail = epoch.filter("hard")
    assert tail.height == 5392
    assert 1500 < tail["image"].n_unique() < 1643
    assert (tail["guidance"] == 100).all()


def small():
    return pl.concat([table(20), table(6, 20, label=1, hard=True)])


def test_spectra_are_drawn_again_only_when_they_are_too_few():
    rng = np.random.default_rng(0)
    mixture = Mixture(keep=0.5, tail_fraction=0.5)  # 10 + 10, of which 4 synthetic
    enough = mix(small(), table(5, 100, 50, 1, True, 0.5), mixture, rng)
    assert enough.filter(pl.col("guidance") == 50)["image"].n_unique() == 4
    few = mix(small(), table(2, 100, 50, 1, True, 0.5), mixture, rng)
    assert few.filter(pl.col("guidance") == 50).height == 4
    with pytest.raises(DataError, match="needs 4 rows, but there is no synthetic image"):
        mix(small(), table(0), mixture, rng)


def test_too_small_a_tail_share_is_refused_with_the_gap():
    rng = np.random.default_rng(0)
    mixture = Mixture(keep=0.5, tail_fraction=0.2)  # 2 places for 6 images
    with pytest.raises(UsageError, match="2 places an epoch, 4 fewer than the 6 real ones"):
        mix(small(), table(5, 100, 50, 1, True, 0.5), mixture, rng)
    assert mix(small(), None, mixture, rng).filter("hard").height == 2
    with pytest.raises(UsageError, match="tail fraction 1"):
        mix(small(), None, replace(mixture, tail_fraction=1.0), rng)


@pytest.mark.parametrize(("scale", "synthetic"), [(0, 0), (0.5, 3), (2, 12)])
def test_scale_counts_synthetic_images_by_real_hard_ones(scale, synthetic):
    rng, spectra = np.random.default_rng(0), table(30, 100, 50, 1, True, 0.5)
    epoch = mix(small(), spectra, IMAGENET, rng, scale=scale)
    assert epoch.filter(pl.col("guidance") == 50).height == synthetic
    assert epoch.filter(pl.col("hard") & (pl.col("guidance") == 100)).height == 6
    assert mix(small(), None, IMAGENET, rng, scale=scale).filter("hard").height == 6 + synthetic
    alone = mix(small(), spectra, IMAGENET, rng, scale=scale, real_hard=False)
    assert alone.filter("hard").height == synthetic


def test_dropped_real_hard_images_are_replaced():
    mixture = Mixture(keep=0.5, tail_fraction=0.5)
    spectra = table(30, 100, 50, 1, True, 0.5)
    epoch = mix(small(), spectra, mixture, np.random.default_rng(0), real_hard=False)
    assert epoch.filter("hard")["guidance"].to_list() == [50] * 10


def test_epochs_differ_and_repeat_with_their_generator():
    one, same, other = (
        mix(small(), None, RECIPE.mixture, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert one.equals(same)
    assert not one.equals(other)


# ---------------------------------------------------------------- a spectrum's epochs


def pool():
    scores = {0: 0.1, 10: 0.31, 30: 0.31, 50: 0.31}
    parts = [table(20, 1000 + g, g, 1, True, score) for g, score in scores.items()]
    return pl.concat([*parts, table(20, 2000, 30, 1, True, 0.29)])


def epoch_of(expression, epoch, pool_rows=None):
    pool_rows = pool() if pool_rows is None else pool_rows
    state = {}
    now = progress(
        epoch, state=state, at=lambda levels: pool_rows.filter(pl.col("guidance").is_in(levels))
    )
    method = compose(expression)
    state["levels"] = list(method.curriculum.levels(now)) if method.curriculum else []
    rows = small()
    for hook in method.augment:
        rows = hook.rows(rows, now)
    return rows


def guidances(rows):
    return sorted(set(rows["guidance"].to_list()))


def test_a_spectrum_follows_its_curriculum():
    text = "CE+DisCL(threshold=0)"
    assert guidances(epoch_of(text, 0)) == [0, 100]
    assert guidances(epoch_of(text, 12)) == [10, 100]
    assert guidances(epoch_of(text, 50)) == [100]  # the stage of the real images
    assert guidances(epoch_of(text, 62)) == [100]
    assert guidances(epoch_of('CE+DisCL(threshold=0, curriculum="all-level")', 3))[0] < 50
    assert guidances(epoch_of('CE+DisCL(threshold=0, curriculum="text-only")', 64)) == [0, 100]
    dropped = 'CE+DisCL(curriculum="fixed", levels=(0.5,), drop_real_hard=True)'
    assert guidances(epoch_of(dropped, 0).filter("hard")) == [50]


def test_a_threshold_keeps_images_from_that_score_on():
    for text, lowest in (
        ("CE+DisCL(levels=(0.3,))", 0.3),
        ("CE+DisCL(levels=(0.3,), threshold=0.29)", 0.28),
    ):
        drawn = [epoch_of(text, e)["score"].drop_nulls().min() for e in range(8)]
        assert 0.0 <= min(drawn) - lowest < 0.02


def test_a_level_without_images_stops_the_first_epoch():
    with pytest.raises(DataError, match=r"guidance 0 has a CLIPScore of at least 0.3 .* has 20"):
        epoch_of("CE+DisCL", 0)
    with pytest.raises(DataError, match=r"guidance 0.7 .* has 0 "):
        epoch_of("CE+DisCL(levels=(0.1, 0.7))", 0)
    unscored = pool().with_columns(score=pl.lit(None, pl.Float32))
    with pytest.raises(DataError, match="have no CLIPScore"):
        epoch_of("CE+DisCL", 0, unscored)


def test_no_synthetic_images_is_every_real_tail_image_once():
    rows = epoch_of("CE+DisCL(scale=0)", 0)
    assert rows.filter("hard")["image"].sort().to_list() == list(range(20, 26))


def test_control_and_the_last_epochs_draw_the_same_rows():
    control = epoch_of("CE(control=True)", 62)
    assert control.equals(epoch_of("CE+DisCL", 62))
    assert control.equals(epoch_of("BS(control=True)", 62))
    assert isinstance(compose("BS(control=True)").augment[0], Control)


@pytest.mark.parametrize("scale", [0, 1, 3, 6])
def test_a_control_of_a_scale_has_the_same_share_of_tail_images(scale):
    for epoch in (0, 62):
        with_pool = epoch_of(f"CE+DisCL(levels=(0.1,), scale={scale}, threshold=-1)", epoch)
        for objective in ("CE", "BS"):
            control = epoch_of(f"{objective}(control=True, scale={scale})", epoch)
            assert control.height == with_pool.height
            assert control["hard"].sum() == with_pool["hard"].sum() == 6 + 6 * scale
            assert set(control["image"]) <= set(range(26))  # real images


def test_a_control_of_a_scale_needs_a_mixture():
    (control,) = compose("CE(control=True, scale=3)").augment
    tools = SimpleNamespace(recipe=replace(RECIPE, mixture=None))
    with pytest.raises(UsageError, match="scale 3: its recipe has no mixture"):
        control.start(None, tools)
    control.start(None, SimpleNamespace(recipe=RECIPE))


# ---------------------------------------------------------------- without a mixture


UNION = replace(RECIPE, mixture=None)


def unmixed(expression, epoch, state=None):
    """Rows of an epoch of 20 real images, 6 hard ones and the pool, where nothing is drawn."""
    method = compose(expression)
    now = progress(
        epoch,
        state={} if state is None else state,
        at=lambda levels: pool().filter(pl.col("guidance").is_in(levels)),
    )
    now = replace(now, recipe=UNION)
    now.state["levels"] = list(method.curriculum.levels(now))
    rows = small()
    for hook in method.augment:
        rows = hook.rows(rows, now)
    return {
        key: rows.filter(rows["hard"] == hard, (rows["guidance"] == 100) == real).height
        for key, hard, real in (("other", False, True), ("hard", True, True), ("made", True, False))
    }


def test_a_stage_is_the_levels_images_and_the_other_real_ones():
    text = "CE+DisCL(threshold=0.29)"
    assert unmixed(text.replace("29", "0"), 0) == {"other": 20, "hard": 0, "made": 20}
    assert unmixed(text.replace("29", "0"), 50) == {"other": 20, "hard": 6, "made": 0}  # level 1
    assert unmixed(text.replace("29", "0"), 62) == {"other": 20, "hard": 6, "made": 0}
    fixed = 'CE+DisCL(curriculum="fixed", levels=(0.3,), threshold=0{})'
    assert unmixed(fixed.format(""), 9) == {"other": 20, "hard": 6, "made": 40}
    assert unmixed(fixed.format(".3"), 9) == {"other": 20, "hard": 6, "made": 20}
    assert unmixed(fixed.format(", scale=2"), 9) == {"other": 20, "hard": 6, "made": 12}
    assert unmixed(fixed.format(", drop_real_hard=True"), 9)["hard"] == 0
    every = 'CE+DisCL(curriculum="all-level", threshold=0)'
    assert unmixed(every, 9) == {"other": 20, "hard": 6, "made": 100}


def test_the_released_code_leaves_the_other_real_images_out():
    text = 'CE+DisCL(threshold=0, non_hard="released")'
    assert unmixed(text, 0) == {"other": 0, "hard": 0, "made": 20}
    assert unmixed(text, 62) == {"other": 0, "hard": 6, "made": 0}

    class Tools:
        class data:
            pool = ()

        recipe = RECIPE

    with pytest.raises(UsageError, match="for recipes without a mixture"):
        compose(text).augment[0].start(None, Tools)


# ---------------------------------------------------------------- adaptive


class Looks:
    """Tools whose model answers what it was told, and who remember what was trained."""

    batch = 2

    def __init__(self, before, after):
        self.answers, self.trained = [before, after], []

    def probe(self, rows):
        answer = self.answers.pop(0)
        return None, np.array([p for level in sorted(answer) for p in answer[level]])

    def train(self, rows):
        self.trained.append(rows.height)


def adaptive(before, after, trim=False, late=False):
    tools = Looks(before, after)
    rows = [table(len(v), 0, level) for level, v in sorted(before.items())]
    trial = Trial(pl.concat(rows), table(9), trim, late)
    now = progress(3, tuple(sorted(before)), tools=tools, trial=lambda: trial)
    return curricula.adaptive(now), now.state["gains"], tools.trained


def test_adaptive_takes_the_level_that_gained_most():
    before = {0: [0.1, 0.2], 50: [0.5, 0.5], 100: [0.6, 0.9]}
    after = {0: [0.1, 0.3], 50: [0.6, 0.7], 100: [0.7, 0.9]}
    chosen, gains, trained = adaptive(before, after)
    assert chosen == (50,)
    assert gains == pytest.approx({0: 0.05, 50: 0.15, 100: 0.05})
    assert trained == [9]


def test_adaptive_looks_late_and_trims_as_the_released_code():
    before = {0: [0.0] * 5, 50: [0.0] * 5}
    # rises of level 0: quartiles 0.1 and 0.1, so 0.9 is an outlier; the mean is 0.26, then 0.1
    after = {0: [0.1, 0.1, 0.1, 0.1, 0.9], 50: [0.2] * 5}
    assert adaptive(before, after)[0] == (0,)
    chosen, gains, trained = adaptive(before, after, trim=True, late=True)
    assert chosen == (50,)
    assert gains == pytest.approx({0: 0.1, 50: 0.2})
    assert trained == [4, 5]  # two batches before the first look


def test_adaptive_prefers_the_lower_of_two_and_ends_with_the_curriculum():
    same = {0: [0.5], 50: [0.5]}
    assert adaptive(same, same)[0] == (0,)
    assert curricula.adaptive(progress(60)) == ()
    with pytest.raises(UsageError, match="needs validation images"):
        curricula.adaptive(progress(0))


def hard_of(classes):
    """Real hard images, `classes` by label, and two synthetic ones of each at two levels."""
    labels = [label for label, n in enumerate(classes) for _ in range(n)]
    n = len(labels)
    real = table(n, 0, label=labels, hard=True)
    rows = [
        table(n, n * (1 + i), level, labels, True, 0.5, parent=range(n))
        for i, level in enumerate((0, 0, 50, 50))
    ]
    return real, pl.concat(rows)


def test_validation_images_have_every_level_and_leave_each_class_one():
    real, synthetic = hard_of((5, 1, 3))
    held = spectra.validation(real, synthetic, (0, 50, 100), 4, 42)
    assert len(set(held["parents"])) == 4
    assert 5 not in held["parents"]  # the only one of its class
    rows = pl.concat([real, synthetic]).filter(pl.col("image").is_in(held["images"]))
    per_parent = rows.group_by("parent").agg(pl.col("guidance").sort())
    assert sorted(per_parent["parent"].to_list()) == held["parents"]
    assert per_parent["guidance"].to_list() == [[0, 50, 100]] * 4
    everything = spectra.validation(real, synthetic, (0, 50, 100), 99, 42)["parents"]
    assert len(everything) == 4 + 2
    gap = synthetic.filter(~((pl.col("parent") == 0) & (pl.col("guidance") == 50)))
    assert 0 not in spectra.validation(real, gap, (0, 50, 100), 99, 42)["parents"]
    assert held == spectra.validation(real, synthetic, (0, 50, 100), 4, 42)


def test_validation_images_that_cannot_be_had_are_told():
    real, synthetic = hard_of((1, 1))
    with pytest.raises(DataError, match="no hard image that its class can spare"):
        spectra.validation(real, synthetic, (0, 50, 100), 4, 42)
    with pytest.raises(UsageError, match="probe_images"):
        spectra.validation(real, synthetic, (0, 50, 100), 0, 42)


@pytest.mark.parametrize("recipe", [RECIPE, UNION])
def test_an_adaptive_run_never_trains_on_its_validation_images(recipe):
    recipe = replace(recipe, probe_images=2, probe_train=15, levels=(0.0, 0.5))
    real, synthetic = hard_of((4, 3))
    other = table(20, 500, label=2)
    rows = pl.concat([other, real])

    class Tools(Looks):
        def __init__(self):
            super().__init__({}, {})
            self.tables = []

        def probe(self, rows):
            self.tables.append(rows)
            return None, np.linspace(0, len(self.tables), rows.height)

        def train(self, rows):
            self.trained.append(rows)

        class data:
            pass

    tools, state = Tools(), {}
    tools.data.rows = rows
    method = compose('CE+DisCL(curriculum="adaptive", threshold=0.5)')
    drawn, both = [], pl.concat([real, synthetic])
    for epoch in (0, 1, 61):
        now = progress(epoch, (0, 50, 100), state=state, tools=tools)
        now = replace(now, recipe=recipe, at=lambda g: both.filter(pl.col("guidance").is_in(g)))
        state["levels"] = list(method.curriculum.levels(now))
        drawn.append(method.augment[0].rows(rows, now))
    held = set(state["validation"]["parents"])
    assert len(held) == 2
    assert [t.height for t in tools.tables] == [6] * 4  # 2 sources x 3 levels, twice an epoch
    for table_ in (*drawn, *tools.trained):
        assert not held & set(table_["parent"].to_list())
    expected = 15 if recipe.mixture is None else 10 + 5  # half of the others, and 5 hard ones
    assert [t.height for t in tools.trained] == [expected] * 2


def test_a_missing_pool_is_told_at_the_start():
    hook = compose("CE+DisCL").augment[0]
    assert isinstance(hook, discl.Spectrum)
    with pytest.raises(DataError, match="no pool"):
        hook.start(None, type("Tools", (), {"data": type("Data", (), {"pool": None})}))
