"""Text files within bounds, what is no file, and what a message may hold."""

import os

import pytest

from harness.core import cells, documents, regular_files
from harness.core.errors import (
    LONGEST,
    QUOTED,
    DataError,
    Instructions,
    UsageError,
    escaped,
    quoted,
    shortened,
)

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 60 + b"]" * 60, "nested too deeply"),
        (b'{"a": ' * 60 + b"1" + b"}" * 60, "nested too deeply"),
        (b"9" * 310, "a number of more than 64 bits"),
        (b"9" * 5000, "not JSON"),
        (b"[NaN]", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b"1e999", "a number that is not finite"),
        (b'["\x1b[31m"]', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
def test_json_out_of_bounds(file, content, words):
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"^{file}.*{words}"):
        documents.json_value(file, "record")


def test_json_within_bounds(file):
    file.write_bytes(b"\xef\xbb\xbf[18446744073709551615, -1e308, " + b"[" * 40 + b"]" * 41)
    assert documents.json_value(file, "record")[0] == 2**64 - 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "aliases stand for more than 100,000 values"),
        (
            BOMB.replace("[", "{<<: [").replace("]", "]}").replace("1, " * 8 + "1", "{x: 1}"),
            "aliases",
        ),
        ("- " * 1000, "nested too deeply"),
        ("&a [*a]", "nested too deeply|aliases|recursive"),
        ("a: " + "9" * 310, "a number of more than 64 bits"),
        ("a: 0x" + "f" * 310, "a number of more than 64 bits"),
        ("? {a: 1}\n: 1", "unhashable"),
        ("!!python/object/apply:os.system [x]", "tag"),
        ("x" * 200_000, r"MiB"),
    ],
    ids=range(9),
)
def test_yaml_out_of_bounds(file, content, words):
    file.write_text(content)
    with pytest.raises(DataError, match=words):
        documents.yaml_file(file, "parameters")


def test_yaml_within_bounds(file):
    file.write_text("a: &a {lr: 1e-3}\nb: {<<: *a, name: no}\nc: [*a, *a]\n")
    value = documents.yaml_file(file, "parameters")
    assert value == {"a": {"lr": 0.001}, "b": {"lr": 0.001, "name": "no"}, "c": [{"lr": 0.001}] * 2}


@pytest.mark.parametrize(
    "content",
    ["a = " + "[" * 10_000, "a" + ".a" * 50_000 + " = 1", "a = " + "1" * 310, "a = 0x" + "f" * 99],
)
def test_toml_out_of_bounds(file, content):
    file.write_text(content)
    with pytest.raises(DataError, match=r"nested too deeply|64 bits"):
        documents.toml_table(file, "table")


def test_a_long_text_in_toml_takes_no_time(file):
    file.write_text("a = '" + "x" * 200_000 + "'")
    assert len(documents.toml_table(file, "table")["a"]) == 200_000


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name, words in (
        ("pipe", "is a pipe, expected a list"),
        ("device", "is a device, expected a list"),
        (".", "is a folder, expected a list"),
        ("none", "no such file; expected a list"),
        ("loop", "cannot be read .*symbolic links"),
        ("a\0b", "cannot be read .*null"),
    ):
        with pytest.raises(DataError, match=words):
            regular_files.read(tmp_path / name, 1, "a list")


def test_resolved_paths(tmp_path):
    """On every version of Python: of a link to itself its reader says what is wrong."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to(tmp_path / "below" / "..")
    assert regular_files.resolved(tmp_path / "link" / "none") == tmp_path.resolve() / "none"
    assert regular_files.resolved(tmp_path / "loop").name == "loop"


def test_a_file_that_is_too_large(file):
    with file.open("wb") as some:
        some.truncate(2**31)
    with pytest.raises(DataError, match=r"2,048\.0 MiB, at most 1 MiB are allowed"):
        regular_files.read(file, 1)


# ---------------------------------------------------------------- messages


def test_messages_are_one_printable_line_of_bounded_length():
    for kind in (DataError, UsageError):
        text = str(kind("file\n\x1b[31m\ud800" + "x" * 1000 + "end"))
        assert text.startswith("file\\n\\x1b[31m\\ud800xxx")
        assert text.endswith("xxxend")
        assert len(text) == LONGEST
        assert text.isprintable()
    assert str(Instructions("1. one\n2. two")) == "1. one\n2. two"


def test_quoted_values_are_short():
    deep: list[object] = []
    for _ in range(60):
        deep = [deep, deep]
    for value in (deep, "x" * 10**6, {"a": "\x1b" * 100}, 9**300, list(range(10**5))):
        assert len(quoted(value)) <= QUOTED
        assert quoted(value).isprintable()
    assert quoted("a") == "'a'"
    assert escaped("ä – b") == "ä – b"
    assert shortened("abc", 3) == "abc"


def test_cells():
    risky = ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "'x", "＝1"]
    assert [cells.safe(text) for text in risky] == [f"'{text}" for text in risky]
    assert [cells.safe(value) for value in ("a=1", "", -1.5, None)] == ["a=1", "", -1.5, None]
