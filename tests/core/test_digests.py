"""Digests of kept files: tables, JSON, listings, and the data files of the package."""

import json
import subprocess

import polars as pl
import pytest

from harness.core import digests, package_files, parquet
from harness.core.digests import Damaged

TABLE = pl.DataFrame({"key": ["a", "b"], "score": [0.25, None]})


def test_a_table_comes_back_with_its_metadata(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write(path, TABLE, {"clip": "a model"})
    table, about = parquet.read_with_metadata(path, "")
    assert table.equals(TABLE)
    assert about["clip"] == "a model"
    assert parquet.dumped(TABLE, {"clip": "a model"}) == path.read_bytes()
    assert pl.read_parquet(path).equals(TABLE)  # as others read it


def test_every_byte_of_a_table_counts(tmp_path):
    path = tmp_path / "t.parquet"
    sound = bytes(parquet.dumped(TABLE))
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(Damaged, match=r"t\.parquet is damaged: .*; `it` makes it again"):
            parquet.read(path, "`it` makes it again")


def test_a_table_of_before_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    TABLE.write_parquet(path, metadata={"clip": "m"})
    assert parquet.read(path, "").equals(TABLE)
    with pytest.raises(Damaged, match="none"):
        parquet.read(path, "", ["none"])
    path.write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(Damaged):
        parquet.read(path, "")


def test_sentences_are_short(tmp_path):
    path = tmp_path / "t.parquet"
    text = str(digests.damaged(path, "x" * 1000 + "\n", "`y` makes it again"))
    assert len(text) == 300
    assert text.endswith("...; `y` makes it again")


def test_json_whatever_its_layout():
    content = {"b": [1, 2.5, None], "a": {"ö": True}}
    sealed = json.loads(json.dumps(digests.sealed(content), indent=3, sort_keys=True))
    assert digests.opened(sealed) == (content, None)
    assert digests.opened(sealed | {"b": []})[1] == "its digest is that of other content"
    assert digests.opened(content, ("a", "b")) == (content, None)
    assert digests.opened(content | {"digesv": ""}, ("a", "b"))[1] == "unknown field 'digesv'"


def test_a_listing_is_that_of_sha256sum(tmp_path):
    (tmp_path / "one").write_text("1")
    path = tmp_path / digests.LISTING
    digests.write_listing(path, {"one": digests.of_file(tmp_path / "one")})
    command = ["sha256sum", "-c", digests.LISTING]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert digests.read_listing(path, "").keys() == {"one"}
    plain = path.read_text().split("\n", 1)[1]
    path.write_text(plain)
    assert digests.read_listing(path, "").keys() == {"one"}
    for text in ("# no header\n" + plain, plain[:-1], plain + plain, "one\n"):
        path.write_text(text)
        with pytest.raises(Damaged, match=digests.LISTING):
            digests.read_listing(path, "")


def test_the_data_files_of_the_package_are_those_listed():
    known = digests.read_listing(package_files.LISTING, "")
    there = {path.relative_to(package_files.PACKAGE).as_posix() for path in package_files.files()}
    assert there == known.keys(), "python -m harness.core.package_files"
    assert package_files.damage() == []
