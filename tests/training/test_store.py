"""One numbering for real and synthetic images."""

import numpy as np
import pytest

from harness.core.errors import DataError
from harness.datasets.pictures import Block
from harness.training.numbered_images import Store


def blocks(n=5, side=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 4, 4, 3), np.uint8), rng.integers(
        0, 256, (3, side, side, 3), np.uint8
    )


def test_real_images_come_first():
    real, synthetic = blocks()
    store = Store(Block(real), Block(synthetic))
    for ids in ([7, 0, 4, 5, 7], [1, 2], [5, 6]):
        found = store.take(np.array(ids))
        np.testing.assert_array_equal(found, np.concatenate([real, synthetic])[ids])
    assert len(store) == 8
    assert store.take(np.array([], int)).shape == (0, 4, 4, 3)
    only = Store(Block(real))
    assert len(only) == 5
    np.testing.assert_array_equal(only.take(np.array([4, 4])), real[[4, 4]])
    for wrong in ([8], [-1]):
        with pytest.raises(DataError, match=r"not in 0\.\.7"):
            store.take(np.array(wrong))


def test_sizes_may_differ():
    real, synthetic = blocks(side=8)
    found = Store(Block(real), Block(synthetic)).take(np.array([6, 1, 7]))
    assert [image.shape[0] for image in found] == [8, 4, 8]
    np.testing.assert_array_equal(found[1], real[1])
    np.testing.assert_array_equal(found[2], synthetic[2])
