"""Random numbers of pictures: they follow from the seed, the purpose and the position alone."""

import numpy as np

from harness.core.draws import Draws


def test_numbers_follow_from_positions_whatever_the_batches():
    draws = Draws((0, 3, 0)).of("crop")
    for count in (1, 3, 4, 9):
        whole = draws.at(slice(0, 100)).uniform(count)
        assert whole.shape == (100, count)
        parts = [draws.at(slice(i, i + 7)).uniform(count) for i in range(91, -1, -7)]
        np.testing.assert_array_equal(np.concatenate(parts[::-1]), whole[:98])


def test_seeds_and_purposes_are_independent_of_each_other():
    kinds = [Draws(seed) for seed in ((1, 2, 0), (1, 2, 1), (2, 2, 0))]
    drawn = [k.of(purpose).at(slice(0, 2000)).uniform(2) for k in kinds for purpose in ("a", "b")]
    both = np.concatenate([some.T for some in drawn])  # (12, 2000)
    assert abs(np.corrcoef(both) - np.eye(len(both))).max() < 0.1
    assert abs(both.mean() - 0.5) < 0.01
    assert ((both >= 0) & (both < 1)).all()
