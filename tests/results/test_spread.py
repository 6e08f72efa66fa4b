"""The spread of repeated runs: what is estimated, what is tolerated, what a whole check flags."""

import math

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.results import spread
from harness.results.spread import Spread, pooled, tolerance


def rows(sds: list[float], n: int, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0.4, sd, n).tolist() for sd in sds]


def test_rows_that_agree_have_one_variance() -> None:
    family = rows([0.02] * 12, 5)
    (found,) = pooled([family])
    variances = [np.var(row, ddof=1) for row in family]
    assert np.std([s.sd for s in found]) < 0.5 * np.std(np.sqrt(variances))
    assert all(0.015 < s.sd < 0.025 for s in found)
    assert all(s.df <= 48 for s in found)


def test_rows_that_differ_keep_their_own() -> None:
    """A row five times as noisy as the others is not judged by their variance."""
    family = rows([0.01] * 10 + [0.05], 9)
    (found,) = pooled([family])
    assert found[-1].sd > 2.5 * np.median([s.sd for s in found[:-1]])


def test_seeds_that_agree_by_luck_are_not_certain() -> None:
    family = [*rows([0.02] * 10, 3), [0.4, 0.4, 0.4]]
    (found,) = pooled([family])
    assert found[-1].sd > 0.005
    assert tolerance(found[-1], 3, 3, 0.001) > 0.02


def test_a_row_that_was_run_once_takes_the_others() -> None:
    family = [*rows([0.02] * 10, 4), [0.5]]
    (found,) = pooled([family])
    assert 0.012 < found[-1].sd < 0.03


def test_nothing_was_run_twice() -> None:
    with pytest.raises(UsageError, match="no row of a column was run twice"):
        pooled([[[0.1], [0.2]]])


@pytest.mark.parametrize("before", [1, 3, 9])
def test_the_tolerance_is_students(before: int) -> None:
    known = Spread(0.02, 10)
    # 2.7638: the 99 % quantile of t with 10 degrees of freedom, from any table
    expected = 2.7638 * 0.02 * math.sqrt(1 / before + 1)
    assert tolerance(known, before, 1, 0.01) == pytest.approx(expected, rel=1e-4)
    assert spread.detectable(known, before, 1, 0.01) > expected


@pytest.mark.parametrize("hits", [0, 1, 10, 200])
def test_the_upper_bound_of_a_rate(hits: int) -> None:
    """At the bound, as few hits as these come in one series of twenty."""
    from scipy.stats import binom

    assert binom.cdf(hits, 2000, spread.upper_bound(hits, 2000)) == pytest.approx(0.05)
    assert spread.upper_bound(0, 2000) == pytest.approx(1 - 0.05 ** (1 / 2000))
    assert spread.upper_bound(2000, 2000) == 1


@pytest.mark.parametrize("unequal", [0.0, 0.5])
def test_simulated_checks_flag_as_often_as_they_are_made_for(unequal: float) -> None:
    rng = np.random.default_rng(1)
    sds = [0.02 * math.exp(unequal * z) for z in rng.standard_normal(24)]
    families = [rows(sds[:12], 9, 2), rows(sds[12:], 9, 3)]
    alpha = 0.05
    found = spread.simulate(families, 1, alpha / 2 / 24, 400, 0)
    assert found.flagged / found.checks < 2.2 * alpha
    assert found.flagged > 0
    assert 0.8 < found.factor < 2


def test_coverage_of_rows_drawn_from_many_variances() -> None:
    """New runs lie within the tolerance as often as it says, seen over rows."""
    rng, outside, total = np.random.default_rng(5), 0, 0
    for number in range(60):
        sds = [0.02 * math.exp(0.4 * z) for z in rng.standard_normal(10)]
        family = rows(sds, 5, number)
        for row, sd, known in zip(family, sds, pooled([family])[0], strict=True):
            new = rng.normal(0.4, sd)
            outside += abs(new - np.mean(row)) > tolerance(known, 5, 1, 0.025)
            total += 1
    assert 0.03 < outside / total < 0.08
