"""Pictures of a pool that a run reads as raw pixels of the view's size."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from epoch_tables import RECIPE
from small_pools import SPEC, grid, make

from harness.datasets.pictures import Block
from harness.pipeline import run_data
from harness.pool.reader import Pool


@pytest.fixture
def pool(tmp_path):
    spec = replace(SPEC, size_px=80)
    return tmp_path, make(tmp_path, grid(spec=spec), spec)


@pytest.mark.parametrize(
    ("gib", "augment", "kind"),
    [(16, "crop-flip", Block), (0, "crop-flip", Pool), (16, "imagenet", Pool)],
)
def test_large_pictures_of_a_small_view_are_resized_once(pool, monkeypatch, gib, augment, kind):
    """The pixels are those of resizing at each reading; too many of them, and it is done then."""
    folder, index = pool
    monkeypatch.setattr(run_data, "RAW_GIB", gib)
    workspace = SimpleNamespace(
        pool=folder, recipe=replace(RECIPE, size_px=80, view_px=32, augment=augment)
    )
    images, ids = run_data._pool_images(workspace, index), np.arange(len(index))
    assert type(images) is kind
    side = 32 if augment == "crop-flip" else None
    np.testing.assert_array_equal(images.take(ids), Pool(folder, index, side_px=side).take(ids))
    if kind is Block:
        assert isinstance(images.pixels, np.memmap)
        assert images.pixels.shape == (len(index), 32, 32, 3)
