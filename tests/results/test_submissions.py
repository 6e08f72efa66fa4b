"""Record folders of several people: verified, merged, marked; changed numbers are refused."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.api.shared_leaderboard import shared_leaderboard
from harness.cli.main import main
from harness.core import digests
from harness.core.errors import DataError, UsageError
from harness.core.shipped import REFERENCE
from harness.core.specs import key_of_plain
from harness.results import records, submissions

SET, PROFILE = "cifar100-lt", "smoke"
FOLDER = REFERENCE / "records" / PROFILE / SET
METHOD = "CE+DisCL(curriculum='random')"


def copied(target: Path, *names: str) -> Path:
    """A folder of records: copies of the project's."""
    place = target / PROFILE / SET
    place.mkdir(parents=True)
    for name in names:
        shutil.copy(FOLDER / f"{name}-resnet10-ir100-s0.json", place)
    return target


def changed(file: Path, change: Callable[[dict[str, Any]], None], sealed: bool = True) -> None:
    """Edit a record; sealed: with a digest of what it says now, as a forger would."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(digests.sealed(content) if sealed else content))


def as_method(folder: Path, method: str) -> Path:
    """The only record of a folder as if a run of another method had left it."""
    (file,) = folder.rglob("*.json")
    content = json.loads(file.read_text())
    content["method"] = content["spec"]["method"] = method
    content["key"] = key_of_plain(content["spec"])
    file.unlink()
    content.pop(digests.FIELD)
    return records.write(content, folder)


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return copied(tmp_path / "alice", "ce", "ce+discl", "bs")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    folder = copied(tmp_path / "bob", "bs+discl")
    about = 'name = "Bob & co."\nurl = "https://bob.example"\nnote = "ours, <b>bold</b>"\n'
    (folder / "reporter.toml").write_text(about)
    return folder


def labels(*folders: Path, **options: Any) -> list[str]:
    board = shared_leaderboard([str(f) for f in folders], PROFILE, **options)
    (table,) = board.tables
    return [line.label for line in table.parts[0].lines if " (" in line.label]


def test_records_of_another_method_from_a_second_folder(alice: Path, tmp_path: Path) -> None:
    other = copied(tmp_path / "carol", "ce+discl")
    as_method(other, METHOD)
    shown = labels(alice, other)
    assert shown == [
        "CE (alice)",
        "CE+DisCL (alice)",
        "BS (alice)",
        f"{METHOD} (carol, not published)",
    ]


def test_two_reporters_of_one_method(alice: Path, tmp_path: Path) -> None:
    other = copied(tmp_path / "dave", "ce")
    board = shared_leaderboard([str(alice), str(other)], PROFILE)
    (table,) = board.tables
    lines = [line for line in table.parts[0].lines if line.label.startswith("CE (")]
    assert [line.label for line in lines] == ["CE (alice)", "CE (dave)"]
    assert lines[0].measured == lines[1].measured
    assert any("1 of the records of dave are equal to those of alice" in n for n in table.notes)
    assert board.verified == 4


def test_the_best_of_all_reporters_is_marked(alice: Path, bob: Path) -> None:
    (table,) = shared_leaderboard([str(alice), str(bob)], PROFILE).tables
    best = [line.label for line in table.parts[0].lines if line.measured["Few"].best]
    assert best == ["BS+DisCL (Bob & co.)"]


def test_beside_the_project(alice: Path) -> None:
    shown = labels(alice, reference=True, datasets=[SET])
    assert {"CE (the project)", "CE (alice)", "BS (the project)"} <= set(shown)


def test_who_reports(alice: Path, bob: Path, tmp_path: Path) -> None:
    found, _ = submissions.read([str(alice), str(bob), f"Eve={alice}"])
    assert [s.reporter for s in found] == ["alice", "Bob & co.", "Eve"]
    home = tmp_path / "clone"
    copied(home / "results" / "records", "ce")
    for text in (home, home / "results" / "records"):
        (own,), _ = submissions.read([str(text)])
        assert own.reporter == "clone"
    with pytest.raises(UsageError, match="two folders are of 'alice'"):
        submissions.read([str(alice), str(alice)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown field 'nmae'; did you mean 'name'"),
        ("name = 3", "name is 3, expected a text"),
        ("url = 'javascript:alert(1)'", "expected an http"),
        ("name = ", "not TOML"),
    ],
)
def test_a_wrong_reporter_file(alice: Path, text: str, message: str) -> None:
    (alice / "reporter.toml").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        submissions.read([str(alice)])


def test_folders_without_records(tmp_path: Path, alice: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        submissions.read([str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no records below it"):
        submissions.read([str(tmp_path / "empty")])
    with pytest.raises(DataError, match="no records of profile mini"):
        shared_leaderboard([str(alice)], "mini")


# ---------------------------------------------------------------- what is refused


def more_accurate(content: dict[str, Any]) -> None:
    content["selection"]["last"]["overall"] += 0.01


def other_seed(content: dict[str, Any]) -> None:
    content["seed"] = content["spec"]["seed"] = 7
    content["key"] = key_of_plain(content["spec"])


def other_images(content: dict[str, Any]) -> None:
    content["predictions"]["test"]["ids"] = "0" * 16


def without_predictions(content: dict[str, Any]) -> None:
    content["predictions"] = {}


@pytest.mark.parametrize(
    ("change", "sealed", "message"),
    [
        (more_accurate, True, "refused: selection.last.overall is 0."),
        (more_accurate, False, "selection.last.overall is 0."),
        (other_seed, True, "belongs into ce+discl-resnet10-ir100-s7.json"),
        (other_images, True, "its images of split 'test' are not those of the other records"),
        (without_predictions, True, "refused: "),
    ],
)
def test_a_changed_record_is_refused_with_one_sentence(
    alice: Path, capsys: Any, change: Any, sealed: bool, message: str
) -> None:
    file = alice / PROFILE / SET / "ce+discl-resnet10-ir100-s0.json"
    changed(file, change, sealed)
    page, words = alice / "page.html", ["leaderboard", str(alice), "--profile", PROFILE]
    code = main([*words, "--page", str(page)])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert file.name in err
    assert not page.exists()


def test_all_refused_records_are_listed(alice: Path, capsys: Any) -> None:
    for file in alice.rglob("*.json"):
        changed(file, more_accurate)
    assert main(["leaderboard", str(alice), "--profile", PROFILE]) == 1
    out, err = capsys.readouterr()
    assert out.count("refused: ") == 3
    assert err == "harness: 3 records are refused, 0 prove themselves\n"


def test_a_file_that_is_in_the_wrong_place(alice: Path) -> None:
    file = alice / PROFILE / SET / "ce-resnet10-ir100-s0.json"
    file.rename(alice / file.name)
    _, refused = submissions.read([str(alice)])
    assert [r.sentence.partition("refused: ")[2] for r in refused] == [
        f"this run belongs into {PROFILE}/{SET}/{file.name}"
    ]


def test_records_of_other_parameters_are_named_and_not_shown(alice: Path, tmp_path: Path) -> None:
    other = copied(tmp_path / "frank", "ce")

    def faster(content: dict[str, Any]) -> None:
        content["spec"]["recipe"]["scratch"]["lr"] = 0.5
        content["key"] = key_of_plain(content["spec"])

    (file,) = other.rglob("*.json")
    changed(file, faster)
    (table,) = shared_leaderboard([str(alice), str(other)], PROFILE).tables
    assert not any("frank" in line.label for line in table.parts[0].lines)
    assert any("frank: Not shown" in n and "scratch.lr 0.5 there" in n for n in table.notes)


# ---------------------------------------------------------------- the page


class Cells(HTMLParser):
    """Text of the cells of all rows, and the elements that are open in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_the_page(alice: Path, bob: Path, capsys: Any, tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    words = ["leaderboard", str(alice), str(bob), "--profile", PROFILE, "--page", str(page)]
    assert main(words) == 0
    err = capsys.readouterr().err
    assert "4 records prove themselves, reported by alice, Bob & co." in err
    text = page.read_text()
    cells = Cells()
    cells.feed(text)
    assert "script" not in cells.tags
    assert "img" not in cells.tags
    assert "b" not in cells.tags  # of the reporter's note
    assert not re.search(r'(?:src|href)="(?!#|https://bob\.example")', text)
    reported = {(row[0], row[1]) for row in cells.rows if len(row) > 5 and row[1]}
    assert ("BS+DisCL", "Bob & co.") in reported
    assert ("CE", "alice") in reported
    assert main(words) == 0
    assert page.read_text() == text


def test_formats_for_programs_hold_one_table(alice: Path, capsys: Any) -> None:
    words = ["leaderboard", str(alice), "--profile", PROFILE, "--format", "json"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["label"] for row in rows} >= {"CE (alice)", "CE+DisCL (alice)"}
    assert main([*words, "--reference"]) == 1
    assert "--format json holds one table" in capsys.readouterr().err
