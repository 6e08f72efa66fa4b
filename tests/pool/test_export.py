"""Exports of the pool: what other tools find in them."""

import csv
import io
import json
import tarfile

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from small_pools import SPEC, files, grid, labelled, make, picture

from harness.api.exports import open_export
from harness.core import cells
from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec, key
from harness.pool import cache, exports
from harness.pool.export_card import Provenance
from harness.pool.exports import export

CLASSES = ("train", "test tube", "Maple", "maple", "CON", "=1+1", "'quoted'", "toy train", "NA")
CELLS = "key source classname label guidance seed prompt text_score image_score".split()


@pytest.fixture
def pool(tmp_path):
    return tmp_path / "pool", labelled(make(tmp_path / "pool", grid()))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """360 images of 10 classes, two of one name; names that file systems and tools trip over."""
    folder = tmp_path_factory.mktemp("large") / "pool"
    names = ("maple", *CLASSES)
    columns = ["source", "classname", "guidance", "seed", "prompt"]
    rows = [
        (f"{s:064x}", names[s % 10], g, n, f"-{names[s % 10]}, {g}")
        for s in range(60)
        for g in (0, 30, 90)
        for n in (10, 20)
    ]
    requests = cache.request_rows(pl.DataFrame(rows, schema=columns, orient="row"), SPEC)
    index = make(folder, requests, size=100)
    labels = pl.col("source").str.tail(2).str.to_integer(base=16, dtype=pl.Int32) % 10 + 3
    return folder, labelled(index).with_columns(label=labels)


@pytest.fixture
def exported(large, tmp_path, request, monkeypatch):
    """Folder of the export in a format, and what is in it by key."""
    monkeypatch.setattr(exports, "ROWS_PER_FILE", 150)
    out = export(*large, tmp_path / "out", request.param, origin())
    rows = large[1].with_columns(pl.col("guidance") / 100).select(CELLS)
    return out, {row["key"]: row for row in rows.to_dicts()}


def origin(**changes):
    about = {"dataset": "set", "profile": "mini", "generator": SPEC, "scorer": "clip-1"}
    about |= {"threshold": 0.1, "licences": ("mit",), "licence": "By us."}
    sizes = {label: 10 * label for label in range(3, 13)}
    return Provenance(**(about | {"class_sizes": sizes} | changes))


def hugging_face(tmp_path, *arguments, **options):
    """All rows that datasets reads, the image as an array."""
    import datasets

    splits = datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)
    assert list(splits) == ["train"]
    rows = list(splits["train"])
    return [{**row, "image": np.asarray(row.get("image", row.get("webp")))} for row in rows]


def assert_same(rows, expected, texts=True):
    """texts: whether class names and prompts are to be equal, too."""
    assert sorted(row["key"] for row in rows) == sorted(expected)
    for row in rows:
        about = expected[row["key"]]
        names = CELLS if texts else [c for c in CELLS if c not in ("classname", "prompt")]
        for name in names:
            assert row[name] == about[name]
        np.testing.assert_array_equal(row["image"], picture(row["key"]))


@pytest.mark.parametrize("exported", ["files"], indirect=True)
def test_other_tools_read_all_files(exported, tmp_path):
    from torchvision.datasets import ImageFolder

    out, expected = exported
    rows = hugging_face(tmp_path, "imagefolder", data_dir=str(out))
    assert_same(rows, expected, texts=False)
    assert {r["classname"] for r in rows} >= {"train", "test tube", "Maple", "maple", "'=1+1"}
    folder = ImageFolder(out)
    assert len(folder) == len(expected)
    for path, target in folder.samples:
        about = expected[path.rsplit("/", 1)[1].removesuffix(".webp")]
        assert int(folder.classes[target]) == about["label"]


@pytest.mark.parametrize("exported", ["hf"], indirect=True)
def test_datasets_reads_all_of_hf(exported, tmp_path):
    assert_same(hugging_face(tmp_path, str(exported[0])), exported[1])


@pytest.mark.parametrize("exported", ["webdataset"], indirect=True)
def test_webdataset_and_datasets_read_all_tars(exported, tmp_path):
    import webdataset

    out, expected = exported
    rows = hugging_face(tmp_path, str(out))
    assert_same([row["json"] | {"image": row["image"]} for row in rows], expected)
    data = webdataset.WebDataset(sorted(map(str, out.glob("*.tar"))), shardshuffle=False)
    samples = list(data.decode("rgb8"))
    assert_same([s["json"] | {"image": s["webp"]} for s in samples], expected)


@pytest.mark.parametrize("exported", ["files"], indirect=True)
def test_no_cell_is_a_formula(exported):
    out, expected = exported
    with open(out / "metadata.csv") as file:
        rows = list(csv.DictReader(file))
    assert not [c for row in rows for c in row.values() if c[:1] in cells.FORMULA and c]
    names = {r["key"]: r["classname"] for r in open_export(out)[0].to_dicts()}
    assert names == {key: about["classname"] for key, about in expected.items()}


@pytest.mark.parametrize("exported", list(exports.FORMATS), indirect=True)
def test_the_card(exported):
    _, front, text = (exported[0] / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == ["mit"]
    assert about["size_categories"] == ["n<1K"]
    for words in ("By us.", key(SPEC), "clip-1", "at least 0.1", "360 images of 10 classes"):
        assert words in text
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    by_name = {row[0]: row[1:] for row in cells if row}
    assert [by_name[level][0] for level in ("0", "0.3", "0.9")] == ["120"] * 3
    assert by_name["medium"][:3] == ["20..100", "8", "288"]
    assert {f"`{name}`" for name in CELLS} <= set(by_name)


def test_a_card_without_licence_or_scores(large, tmp_path):
    folder, images = large
    images = images[:3].with_columns(text_score=pl.lit(None, pl.Float32))
    export(folder, images, tmp_path / "out", "hf", origin(licences=(), licence="As the source."))
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "other"
    assert "| –" in card
    export(folder, images[:0], tmp_path / "none", "hf", origin())


def test_files(pool, tmp_path):
    out = export(*pool, tmp_path / "out", "files")
    with open(out / "metadata.csv") as file:
        rows = list(csv.DictReader(file))
    assert [r["key"] for r in rows] == pool[1]["key"].to_list()
    assert {r["file_name"].split("/")[0] for r in rows} == {"0000", "0001"}
    for r in rows:
        np.testing.assert_array_equal(Image.open(out / r["file_name"]), picture(r["key"]))


def test_webdataset(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ROWS_PER_FILE", 7)
    out = export(*pool, tmp_path / "out", "webdataset")
    samples = []
    for path in sorted(out.glob("*.tar")):
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
    assert meta["info"]["features"]["guidance"] == {"dtype": "float64", "_type": "Value"}
    table = pl.read_parquet(out / "data" / "*.parquet")
    assert table["key"].to_list() == pool[1]["key"].to_list()
    assert set(meta["info"]["features"]) == set(table.columns)
    for name, image in table.select("key", "image").iter_rows():
        np.testing.assert_array_equal(Image.open(io.BytesIO(image["bytes"])), picture(name))
        assert image["path"] == f"{name}.webp"


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
    index = labelled(make(tmp_path / "pool", grid(2, spec=spec), spec))
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
    with pytest.raises(DataError, match="cannot write"):
        export(*pool, tmp_path / "file" / "out", "files")
