"""Records: where they lie, what they hold, and how damaged ones are met."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import random_records

from harness.core.errors import DataError, UsageError
from harness.core.specs import RunSpec, key
from harness.datasets.cifar100_lt import MINI
from harness.results import predictions, records

SPEC = RunSpec(
    dataset="cifar100-lt",
    imbalance=100,
    method="BS+DisCL",
    seed=1,
    recipe=MINI,
    index="a" * 64,
    pool="b" * 64,
    start=None,
    arguments="BS()+DisCL()",
    reference=None,
    pretrained=None,
)
GROUPS = {"many": 0.5, "medium": None, "few": 0.25, "classes": [1, 0, 1]}
SCORES = {"overall": 0.375, "per_class": [0.5, 0.25], "rules": {"A": GROUPS}}


def sample(**changes: Any) -> dict[str, Any]:
    selection = {"last": SCORES, "oracle": SCORES}
    return records.record(replace(SPEC, **changes), selection, [200, 5], 8, {"torch": "2.0"})


def test_round_trip(tmp_path: Path) -> None:
    file = records.write(sample(), tmp_path)
    assert file == tmp_path / "mini/cifar100-lt/bs+discl-resnet10-ir100-s1.json"
    content = records.read(file)
    assert content == json.loads(json.dumps(sample()))
    assert content["key"] == key(SPEC)
    assert content["spec"]["recipe"]["levels"] == [0.0, 0.1, 0.3]
    assert content["selection"]["last"] == SCORES


def test_text_depends_on_the_run_alone(tmp_path: Path) -> None:
    one = records.write(sample(), tmp_path / "a").read_bytes()
    shuffled = dict(reversed(sample().items()))
    assert records.write(shuffled, tmp_path / "b").read_bytes() == one
    assert one.endswith(b"}\n")
    assert b'"per_class": [0.5, 0.25]' in one  # lists of numbers on one line
    assert b"time" not in one


def test_strings_survive_the_layout(tmp_path: Path) -> None:
    method = "CE+DisCL(levels=[0.5,   0.7])"
    assert records.read(records.write(sample(method=method), tmp_path))["method"] == method


def test_writing_again_replaces(tmp_path: Path) -> None:
    records.write(sample(), tmp_path)
    file = records.write(sample(index="c" * 64), tmp_path)
    assert records.read(file)["spec"]["index"] == "c" * 64
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_versions_of_what_is_installed() -> None:
    versions = records.installed(("numpy", "no-such-package"))
    assert list(versions) == ["numpy"]


@pytest.mark.parametrize(
    ("method", "slug"), [("CE", "ce"), ("BS+DisCL", "bs+discl"), ("LP-FT+WE", "lp-ft+we")]
)
def test_slug(method: str, slug: str) -> None:
    assert records.slug(method) == slug


def test_slugs_of_expressions_with_arguments_stay_apart() -> None:
    methods = ["CE(control=True)", "CE+control-True", "CE(control='True')", "CE(controlTrue=1)"]
    slugs = [records.slug(m) for m in methods]
    assert len(set(slugs)) == 4
    assert slugs[0].startswith("ce-control-true-")
    assert all(set(s) <= set("abcdefghijklmnopqrstuvwxyz0123456789+-._") for s in slugs)


def test_data_set_without_imbalance(tmp_path: Path) -> None:
    assert records.write(sample(imbalance=None), tmp_path).name == "bs+discl-resnet10-s1.json"


def test_read_all(tmp_path: Path) -> None:
    assert records.read_all("mini", "cifar100-lt", tmp_path) == []
    for seed in (2, 0, 1):
        records.write(sample(seed=seed), tmp_path)
    records.write(sample(recipe=replace(MINI, profile="smoke")), tmp_path)
    runs = records.read_all("mini", "cifar100-lt", tmp_path)
    assert [r["seed"] for r in runs] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": None}, "key is None"),
        ({"seed": 2}, "seed 2 is not that of its spec, 1"),
        ({"method": "CE"}, "method 'CE' is not that of its spec, 'BS[+]DisCL'"),
        ({"profile": "paper"}, "profile 'paper' is not that of its recipe"),
        ({"version": 5}, "version 5, this code reads version 4"),
        ({"version": 2}, "version 2, this code reads version 4"),
        ({"version": None}, "version is None"),
        ({"key": "0" * 64}, "key '0000000000000000' is not that of its spec, '[0-9a-f]{16}'"),
        (
            {"predictions": {"test": {"last": "AAAA"}}},
            "predictions of 'test' are not of any images",
        ),
        (
            {"predictions": {"test": {"images": [1], "last": 3}}},
            "predictions of 'test' are no text",
        ),
        ({"selection": {}}, "selection is empty"),
        ({"selection": {"last": {}}}, "selection 'last' holds no metrics"),
        ({"spec": {}}, "method 'BS[+]DisCL' is not that of its spec, None"),
        ({"counts": "many"}, "counts is 'many'"),
        ({"n_test": True}, "n_test is True"),
    ],
)
def test_damaged_record(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    file = records.write(sample(), tmp_path)
    file.write_text(json.dumps({**sample(), **changes}))
    with pytest.raises(DataError, match=says) as caught:
        records.read_all("mini", "cifar100-lt", tmp_path)
    assert str(file) in str(caught.value)
    with pytest.raises(UsageError, match=says):
        records.write({**sample(), **changes}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"version": 1}'])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    file = records.write(sample(), tmp_path)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged record|not UTF-8") as caught:
        records.read_all("mini", "cifar100-lt", tmp_path)
    assert str(file) in str(caught.value)


def test_a_copy_that_was_edited_into_another_run_is_refused(tmp_path: Path) -> None:
    """Two records with one key and different results."""
    file = records.write(sample(), tmp_path)
    content = json.loads(file.read_text())
    content["seed"] = content["spec"]["seed"] = 7
    content["selection"]["last"]["overall"] = 0.9
    copy = file.with_name("bs+discl-resnet10-ir100-s7.json")
    copy.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"s7\.json: damaged record: key .* is not that of"):
        records.read_all("mini", "cifar100-lt", tmp_path)


def test_half_a_record_is_refused(tmp_path: Path) -> None:
    file = records.write(sample(), tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"s1\.json: damaged record, not JSON"):
        records.read_all("mini", "cifar100-lt", tmp_path)


def test_whether_a_record_is_that_of_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = records.write(sample(), tmp_path)
    assert records.is_of(file, key(SPEC))
    assert not records.is_of(file, "0" * 64)
    assert not records.is_of(file.with_name("nothing.json"), key(SPEC))
    file.write_text(json.dumps({"version": 2, "key": key(SPEC)}))  # to be written again
    assert not records.is_of(file, key(SPEC))
    for text in ("{", json.dumps({"version": 0}), "[]"):  # likewise
        file.write_text(text)
        assert not records.is_of(file, key(SPEC))
        assert f"{file}: damaged record" in caplog.messages[-1]
    file.write_text(json.dumps({"version": 5}))
    with pytest.raises(DataError, match="version 5"):
        records.is_of(file, key(SPEC))


def run() -> dict[str, Any]:
    about = replace(random_records.spec("BS+DisCL", 1), recipe=MINI)
    return random_records.run("BS+DisCL", 1, 0.5, about=about)


def test_a_record_of_before_proves_itself(tmp_path: Path) -> None:
    file = records.write(run(), tmp_path)
    file.write_text(json.dumps(run()))
    assert records.read(file) == json.loads(json.dumps(run()))
    assert not records.is_of(file, run()["key"])  # written again, with its digest


@pytest.mark.parametrize(
    "path", ["selection.last.overall", "selection.last.rules.B.few", "selection.last.per_class[3]"]
)
@pytest.mark.parametrize("with_digest", [True, False])
def test_an_edited_figure_is_named(tmp_path: Path, path: str, with_digest: bool) -> None:
    file = records.write(run(), tmp_path)
    content = json.loads(file.read_text())
    if not with_digest:
        del content["digest"]
    *names, last = path.replace("[3]", ".3").split(".")
    place: Any = content
    for name in names:
        place = place[name]
    place[3 if last == "3" else last] += 0.125
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=re.escape(f"{path} is ")) as caught:
        records.read(file)
    assert str(caught.value).startswith(f"{file}: damaged record: ")
    assert len(str(caught.value)) <= 300


def test_any_other_edited_field_is_told(tmp_path: Path) -> None:
    file = records.write(run(), tmp_path)
    content = json.loads(file.read_text()) | {"versions": {"torch": "9"}}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="damaged record: its digest is that of other content"):
        records.read(file)


def test_misplaced_record(tmp_path: Path) -> None:
    file = records.write(sample(), tmp_path)
    file.rename(file.with_name("ce-ir100-s1.json"))
    with pytest.raises(DataError, match=r"belongs into bs\+discl-resnet10-ir100-s1.json"):
        records.read_all("mini", "cifar100-lt", tmp_path)


def test_record_of_another_profile_in_the_folder(tmp_path: Path) -> None:
    file = records.write(sample(), tmp_path)
    (tmp_path / "paper/cifar100-lt").mkdir(parents=True)
    file.rename(tmp_path / "paper/cifar100-lt" / file.name)
    with pytest.raises(DataError, match="holds a run of mini"):
        records.read_all("paper", "cifar100-lt", tmp_path)


def test_not_a_number_is_not_stored(tmp_path: Path) -> None:
    bad = {**sample(), "selection": {"last": {"overall": float("nan")}}}
    with pytest.raises(UsageError, match="holds what JSON cannot say"):
        records.write(bad, tmp_path)
    assert list(tmp_path.rglob("*.json")) == []


def test_place_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "mini").write_text("a file, not a folder")
    with pytest.raises(DataError):
        records.write(sample(), tmp_path)


def test_needs_neither_torch_nor_polars() -> None:
    code = "import sys, harness.results.records; "
    code += "print({'torch', 'polars', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_selection_may_be_of_fewer_images() -> None:
    columns = {"split": ["test"] * 6, "id": range(6), "label": [0, 0, 0, 1, 1, 1]}
    whole = pl.DataFrame(columns | {"prediction": [0, 0, 1, 1, 1, 0]})
    part = whole[[1, 4]]
    packed = predictions.pack({"last": whole, "oracle": part}, 2)
    assert predictions.fault(packed) is None
    record = sample() | {"predictions": packed}
    for selection, table in (("last", whole), ("oracle", part)):
        labels, guesses = predictions.unpack(record, "test", selection)
        assert labels.tolist() == table["label"].to_list()
        assert guesses.tolist() == table["prediction"].to_list()
        images = predictions.of_split(record, "test", selection)["images"]
        assert images == [len(labels) // 2] * 2
    assert predictions.pack({"last": whole, "oracle": whole}, 2)["test"].keys() == {
        "images", "ids", "last", "oracle"
    }  # fmt: skip
    other = part.with_columns(id=pl.col("id") + 9)
    with pytest.raises(DataError, match="oracle has other images"):
        predictions.pack({"last": whole, "oracle": other}, 2)
    packed["test"]["parts"] = {"oracle": {}}
    assert predictions.fault(packed) == "predictions of 'test' are of parts that are none"
