"""The gallery: which pictures it shows, how many, and the scores of all."""

import base64
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scored_pools
import small_workspace
from page_text import stored, visible

from harness import report
from harness.datasets.codec import decode
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.report.gallery import SCALE, gallery, shares

SET = "cifar100-lt"


def test_the_gallery_shows_whole_spectra(home: Path) -> None:
    shown = gallery(Workspace(SET, "mini", home), 3 * 8)
    assert (shown.levels, shown.seeds) == (scored_pools.LEVELS, scored_pools.SEEDS)
    assert (shown.shown, shown.total, shown.sources) == (24, 160, 20)
    assert "The real pictures are not shown" in shown.note
    names = [shown.plain["classes"][s["class"]] for s in shown.plain["sources"]]
    assert len(set(names)) == 3  # the classes in turn
    source = shown.plain["sources"][0]
    assert source["scores"][1][1] == 6500 - 1  # 0.65 as float32 is below 0.65, and stays so
    assert decode(base64.b64decode(source["images"][0][0])).shape == (16, 16, 3)


def test_all_scores_are_there_whatever_is_shown(home: Path) -> None:
    plain = gallery(Workspace(SET, "mini", home), 8).plain
    assert len(plain["sources"]) == 1
    cells = [[np.frombuffer(base64.b64decode(c), "<i2") for c in row] for row in plain["scores"]]
    rows = pl.read_parquet(home / "work/mini" / SET / "spectrum.parquet")
    for threshold in (0.5, 0.55, 0.62, 0.7, 0.9):
        ours = sum(int((c >= round(threshold * SCALE)).sum()) for row in cells for c in row)
        assert ours == len(rows.filter(pl.col("text_score") >= threshold))
    assert all((np.diff(c) >= 0).all() for row in cells for c in row)


def test_real_pictures_where_the_data_is(tmp_path: Path) -> None:
    workspace = small_workspace.workspace(tmp_path, small_workspace.write_data(tmp_path / "data"))
    stages.index(workspace)
    hard = stages.hard(workspace)
    scored_pools.pool(workspace, sources=2)
    spectrum = pl.read_parquet(workspace.work / "spectrum.parquet")
    old = spectrum["source"].unique().sort()
    new = hard["source"].unique().sort()[: len(old)]
    assert len(old) == 2
    # the pool's own sources are invented, so the spectrum is told of real ones
    named = spectrum.with_columns(pl.col("source").replace(old, new))
    named.write_parquet(workspace.work / "spectrum.parquet")
    shown = gallery(workspace, 100)
    assert shown.note == ""
    assert all(
        decode(base64.b64decode(s["real"])).shape == (32, 32, 3) for s in shown.plain["sources"]
    )


@pytest.mark.parametrize("pictures", [1, 7, 13, 159, 160, 5000])
def test_the_page_shows_as_many_pictures_as_it_is_asked_for(home: Path, pictures: int) -> None:
    """Also where other data sets have no pool; all of them where the pool has fewer."""
    page = report.make(report.workspaces("mini", home, ()), pictures=pictures)
    sources = stored(page, f"gallery-{SET}")["sources"]
    images = [image for s in sources for level in s["images"] for image in level]
    assert sum(image is not None for image in images) == min(pictures, 160)
    assert f"{min(pictures, 160)} of 160 synthetic images" in visible(page)


def test_pools_share_the_pictures(tmp_path: Path) -> None:
    names = (SET, "imagenet-lt", "inaturalist2018")
    workspaces = [Workspace(name, "mini", tmp_path) for name in names]
    scored_pools.pool(workspaces[0], sources=2)  # 16 images
    scored_pools.pool(workspaces[1], sources=20)  # 160
    assert shares(workspaces, 100) == [16, 84, 0]
    assert shares(workspaces, 20) == [10, 10, 0]
    assert shares(workspaces, 3) == [2, 1, 0]
    assert shares(workspaces, 1000) == [16, 160, 0]
    assert gallery(workspaces[1], 0).shown == 0


def test_large_pictures_become_thumbnails(tmp_path: Path) -> None:
    workspace = Workspace(SET, "mini", tmp_path)
    scored_pools.pool(workspace, sources=1, px=96)
    source = gallery(workspace, 8).plain["sources"][0]
    assert decode(base64.b64decode(source["images"][0][0])).shape == (64, 64, 3)
