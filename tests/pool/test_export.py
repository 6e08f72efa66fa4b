"""Exports of the pool: what other tools find in them."""

import csv
import io
import json
import tarfile

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_pools import SPEC, files, grid, make, picture

from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec
from harness.pool import exports
from harness.pool.exports import export


@pytest.fixture
def pool(tmp_path):
    return tmp_path / "pool", make(tmp_path / "pool", grid())


def test_files(pool, tmp_path):
    out = export(*pool, tmp_path / "out", "files")
    with open(out / "metadata.csv") as file:
        rows = list(csv.DictReader(file))
    assert [r["key"] for r in rows] == pool[1]["key"].to_list()
    assert {r["file_name"].split("/")[0] for r in rows} == {"class 0", "class 1"}
    for r in rows:
        np.testing.assert_array_equal(Image.open(out / r["file_name"]), picture(r["key"]))


def test_webdataset(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ROWS_PER_FILE", 7)
    out = export(*pool, tmp_path / "out", "webdataset")
    samples = []
    for path in sorted(out.iterdir()):
        with tarfile.open(path) as tar:
            members = [(m.name, tar.extractfile(m).read()) for m in tar]
        assert len(members) <= 14
        for (image, data), (about, text) in zip(members[::2], members[1::2], strict=True):
            stem, ending = image.split(".")
            assert (ending, about) == ("webp", f"{stem}.json")
            assert json.loads(text)["key"] == stem
            np.testing.assert_array_equal(Image.open(io.BytesIO(data)), picture(stem))
            samples.append(stem)
    assert samples == pool[1]["key"].to_list()
    again = export(*pool, tmp_path / "again", "webdataset")
    assert files(again) == files(out)


def test_hf(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ROWS_PER_FILE", 7)
    out = export(*pool, tmp_path / "out", "hf")
    names = [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    assert sorted(p.name for p in (out / "data").iterdir()) == names
    meta = json.loads(pq.read_schema(out / "data" / names[0]).metadata[b"huggingface"])
    assert meta["info"]["features"]["image"] == {"_type": "Image"}
    assert meta["info"]["features"]["guidance"] == {"dtype": "int16", "_type": "Value"}
    table = pl.read_parquet(out / "data" / "*.parquet")
    assert table["key"].to_list() == pool[1]["key"].to_list()
    assert set(meta["info"]["features"]) == set(table.columns)
    for key, image in table.select("key", "image").iter_rows():
        np.testing.assert_array_equal(Image.open(io.BytesIO(image["bytes"])), picture(key))
        assert image["path"] == f"{key}.webp"


@pytest.mark.parametrize("format", list(exports.FORMATS))
def test_an_export_is_whole_or_not_there(pool, tmp_path, format):
    folder, index = pool
    path = folder / index["shard"][-1]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=path.name):
        export(folder, index, tmp_path / "out", format)
    assert [p.name for p in tmp_path.iterdir()] == ["pool"]
    assert export(folder, index[:0], tmp_path / "none", format).is_dir()


def test_jpeg_keeps_its_ending(tmp_path):
    spec = GeneratorSpec(model="test", weights="0" * 64, size_px=8, codec="jpeg")
    index = make(tmp_path / "pool", grid(2, spec=spec), spec)
    out = export(tmp_path / "pool", index, tmp_path / "out", "files")
    assert len(list(out.glob("*/*.jpg"))) == len(index)


def test_refusals(pool, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'webdataset'"):
        export(*pool, tmp_path / "out", "webdatasets")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        export(*pool, tmp_path / "full", "files")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        export(*pool, tmp_path / "file", "files")
    with pytest.raises(DataError, match="cannot export"):
        export(*pool, tmp_path / "file" / "out", "files")


@pytest.mark.parametrize(
    ("name", "folder"),
    [("maple tree", "maple tree"), ("a/b", "a_b"), ("..", "_"), ("", "_"), ("x.", "x_")],
)
def test_class_names_make_safe_folders(name, folder):
    assert exports._folder(name) == folder
    assert SPEC.codec == "webp-lossless"
