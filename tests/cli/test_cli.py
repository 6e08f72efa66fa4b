"""The command: one sentence for every mistake, exit codes, and nothing left half-written."""

import errno
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import small_workspace

from harness.cli.examples import EXAMPLES
from harness.cli.main import main
from harness.core import files
from harness.mini import weights
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace

ROOT = Path(__file__).parents[2]
SET = "cifar100-lt"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where results would go."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


def harness(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as leaving:  # argparse
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def refused(capsys: Any, code: int, home: Path, *arguments: Any) -> str:
    """What a command says that must fail at once: one line, and no file is there after it."""
    before = everything(home)
    status, out, err = harness(capsys, *arguments, "--home", home)
    assert (status, out) == (code, ""), err
    assert err.count("\n") == 1, err
    assert err.startswith("harness")
    assert everything(home) == before
    return err


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], ["--dataset"]),
        (["compare", "--dataset", "cifar10-lt"], ["'cifar10-lt'", "mean 'cifar100-lt'"]),
        (["index", "--dataset", ""], ["unknown name ''", "cifar100-lt"]),
        (["index", "--dataset", SET, "--profile", "minni"], ["'minni'", "mean 'mini'", "smoke"]),
        (["compare", "--dataset", SET, "--rows", "CEE"], ["'CEE'", "mean 'CE'", "Available: "]),
        (["compare", "--dataset", SET, "--rows", "DisCL"], ["no objective", "+DisCL'", "BS, CE"]),
        (["compare", "--dataset", SET, "--rows", "CE+BS"], ["both bring an objective"]),
        (["compare", "--dataset", SET, "--rows", "CE(controll=True)"], ["mean 'control'"]),
        (["compare", "--dataset", SET, "--rows", "CE(1)"], ["named arguments only"]),
        (["compare", "--dataset", SET, "--rows", "CE+DisCL("], ["parentheses do not match"]),
        (
            ["compare", "--dataset", SET, "--rows", 'CE+DisCL(curriculum="divers-to-specific")'],
            ["mean 'diverse-to-specific'"],
        ),
        (
            ["compare", "--dataset", SET, "--rows", "CE+DisCL(levels=(0.5, 1.5))"],
            ["1.5 is not allowed", "[0, 1]"],
        ),
        (
            ["compare", "--dataset", SET, "--rows", "CE+DisCL(levels=0.5)"],
            ["write one value as (0.5,)"],
        ),
        (["compare", "--dataset", SET, "--rows", "CE+DisCL(threshold=28)"], ["[-1, 1]"]),
        (["compare", "--dataset", SET, "--rule", "a"], ["mean A"]),
        (["compare", "--dataset", SET, "--rule", "Z"], ["no grouping rule 'Z'", "A, B, C, D"]),
        (["compare", "--dataset", SET, "--select", "orakel"], ["'orakel'", "mean 'oracle'"]),
        (["table", "--dataset", SET, "--select", "best"], ["'best'", "last, oracle"]),
        (["table", "--dataset", SET, "--rule", "E"], ["no grouping rule 'E'"]),
        (["table", "--dataset", SET, "--format", "pdf"], ["'pdf'", "markdown"]),
        (["table", "--dataset", SET, "--select", "best_val"], ["no validation split", "oracle"]),
        (["table"], ["--dataset", "--table"]),
        (["table", "--table", "statistics"], ["imagenet-lt, cifar100-lt", "--dataset"]),
        (["table", "--table", "statistics", "--dataset", SET], ["`harness hard` prints it"]),
        (["train", "--dataset", SET, "--seeds", "-1"], ["'-1' is not a whole number from 0"]),
        (["train", "--dataset", SET, "--seeds", "abc"], ["'abc' is not a whole number from 0"]),
        (["train", "--dataset", SET, "--seeds", "1.5"], ["'1.5' is not a whole number from 0"]),
        (["train", "--dataset", SET, "--seeds"], ["--seeds"]),
        (["train", "--dataset", SET, "--imbalance", "0"], ["'0' is not a whole number from 1"]),
        (["train", "--dataset", SET, "--imbalance", "20"], ["imbalance 20", "available: 100, 50"]),
        (["compare", "--dataset", SET, "--imbalance", "100", "20"], ["imbalance 20", "100, 50"]),
        (["compare", "--dataset", SET, "--workers", "0"], ["'0' is not a whole number from 1"]),
        (["compare", "--dataset", SET, "--device", "gpu0"], ["device 'gpu0' cannot be used"]),
        (["compare", "--dataset", SET, "--colour"], ["unknown option", "--colour"]),
        (["comapre", "--dataset", SET], ["unknown name 'comapre'", "did you mean 'compare'?"]),
        (["compare", "--datset", SET], ["unknown option --datset", "did you mean '--dataset'?"]),
        (
            ["table", "--dataset", SET, "--table", "table1"],
            ["does not show", "tables of cifar100-lt: table2, table7"],
        ),
        (["compare", "--dataset", SET, "--table", "table22"], ["no table 'table22'", "table2"]),
        (["train", "--dataset", SET, "--backbone", "resnet43"], ["mean 'resnet34'", "resnet10"]),
        (["train", "--dataset", SET, "--rows", "FLYP"], ["FLYP needs an image-text", "resnet10"]),
        (["data", "--dataset", SET, "verify"], ["'verify'", "check"]),
        (["data", "--dataset", SET, "fetch"], ["--root DIR"]),
        (["cache", "--dataset", SET, "clean"], ["'clean'", "rekey"]),
        (["cache", "--dataset", SET, "export"], ["--to"]),
        (["cache", "--dataset", SET, "export", "--format", "tar"], ["'tar'", "webdataset"]),
        (["index", "--dataset", SET, "--profile", "paper"], ["official files", "--root"]),
    ],
)
def test_usage(capsys, home, arguments, message):
    err = refused(capsys, 2, home, *arguments)
    for words in message:
        assert words in err


def test_a_word_that_is_no_command(capsys):
    code, out, err = harness(capsys, "tabel")
    assert (code, out) == (2, "")
    assert "'tabel'" in err
    assert "table" in err
    assert err.count("\n") == 1


def test_no_command_shows_the_help(capsys):
    code, out, err = harness(capsys)
    assert code == 2
    assert "harness compare --dataset cifar100-lt" in out
    assert err == ""


# ---------------------------------------------------------------- params.yaml


def params(text: str) -> str:
    return f"mini:\n  cifar100-lt:\n    {text}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (params("treshold: 0.3"), ["unknown parameter 'treshold'", "mean 'threshold'"]),
        (params("profile: paper"), ["unknown parameter 'profile'"]),
        (params("levels: [0.5, 1.0]"), ["levels", "1.0 is not allowed", "[0, 1)"]),
        (params("levels: [-0.1]"), ["levels", "-0.1 is not allowed"]),
        (params("levels: [0.333]"), ["0.333", "two decimals"]),
        (params("levels: [0.5, 0.5]"), ["[0.5, 0.5] is not allowed", "names no value twice"]),
        (params("levels: 0.5"), ["levels: 0.5 is not a list"]),
        (params("levels: [half]"), ["'half' is not a finite number"]),
        (params("levels: [true]"), ["True is not a finite number"]),
        (params("levels: [[0.5]]"), ["[0.5] is not a finite number"]),
        (params("threshold: high"), ["threshold: 'high' is not a finite number"]),
        (params("threshold: .nan"), ["threshold: nan is not a finite number"]),
        (params("threshold: 28"), ["28 is not allowed", "[-1, 1]"]),
        (params("text_guidance: .inf"), ["text_guidance: inf is not a finite number"]),
        (params("steps: 0"), ["steps: 0 is not allowed", "1 to 1000"]),
        (params("steps: 12.5"), ["steps: 12.5 is not a whole number"]),
        (params("steps: true"), ["steps: True is not a whole number"]),
        (params("run_seeds: [0.5]"), ["run_seeds: 0.5 is not a whole number"]),
        (params("run_seeds: [-1]"), ["run_seeds: -1 is not allowed"]),
        (params("pool_seeds: [99999999999]"), ["pool_seeds: 99999999999 is not allowed"]),
        (params("approximate: fp8"), ["approximate: 'fp8' is not a list"]),
        (params("approximate: [fp8]"), ["unknown approximation 'fp8'"]),
        (params("approximate: [8]"), ["approximate: 8 is not a text"]),
        (params("size_px: 128"), ["pictures of 128 px", "make 64"]),
        (params("height_px: -8"), ["height_px: -8 is not allowed", "0 for a square"]),
        (params("backbone: 10"), ["backbone: 10 is not a text"]),
        (params("scratch: 1"), ["scratch: 1 is not a table of fields"]),
        (params("scratch: {lr: 0}"), ["scratch.lr: 0 is not allowed", "above 0"]),
        (params("scratch: {lrr: 1}"), ["unknown parameter 'scratch.lrr'", "mean 'scratch.lr'"]),
        (params("scratch: {lr: 1}\n    scratch.lr: 2"), ["scratch.lr is set twice: 1 and 2"]),
        (params("backbone: 2020-01-01"), ["backbone: datetime.date(2020, 1, 1) is not allowed"]),
        (params("5: 5"), ["unknown parameter '5'"]),
        ("mini: 5\n", ["mini is 5", "expected profile"]),
        ("mini:\n  cifar100-lt: [levels]\n", ["mini: cifar100-lt is ['levels']"]),
        ("- mini\n", ["the file is ['mini']"]),
        ("minni:\n  cifar100-lt: {}\n", ["unknown name 'minni'", "mean 'mini'"]),
        ("mini:\n  cifar10-lt: {}\n", ["unknown name 'cifar10-lt'", "mean 'cifar100-lt'"]),
    ],
)
def test_params_that_mean_nothing(capsys, home, content, message):
    (home / "params.yaml").write_text(content)
    err = refused(capsys, 2, home, "compare", "--dataset", SET)
    for words in message:
        assert words in err


@pytest.mark.parametrize(
    "content", [b"mini: [", b"mini:\n\t- 1", b"\xff\xfe\x00", b"when: 2020-13-45", b"a: *b"]
)
def test_params_that_cannot_be_read(capsys, home, content):
    (home / "params.yaml").write_bytes(content)
    err = refused(capsys, 1, home, "compare", "--dataset", SET)
    assert "params.yaml" in err
    assert "not YAML" in err or "not UTF-8" in err


def test_params_elsewhere(capsys, home, tmp_path):
    err = refused(capsys, 1, home, "index", "--dataset", SET, "--params", tmp_path / "no.yaml")
    assert "no.yaml" in err
    err = refused(capsys, 1, home, "index", "--dataset", SET, "--params", tmp_path)
    assert "is a folder, expected a file" in err


@pytest.mark.parametrize("content", ["", "mini:\n", "mini:\n  cifar100-lt:\n", "# nothing\n"])
def test_params_that_say_nothing(capsys, home, content):
    (home / "params.yaml").write_text(content)
    code, out, _ = harness(capsys, "table", "--dataset", SET, "--home", home)
    assert code == 0
    assert "imbalance ratio 100" in out


def test_params_that_ship_with_the_project():
    """Each value is one that the recipe takes; --home is the project's own folder."""
    from harness.pipeline.config import overrides

    changed = overrides(None, ROOT, "mini", SET)
    assert changed
    assert Workspace(SET, "mini", ROOT, None, changed).recipe.imbalances == (100, 50)


# ---------------------------------------------------------------- data


def spoil(data: Path, tmp_path: Path, name: str, change: Any) -> Path:
    """A copy of the data in which one file is changed (None: taken away)."""
    copy = tmp_path / "copy"
    for file in (data / "cifar-100-python").iterdir():
        target = copy / "cifar-100-python" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        if file.name == name:
            content = change(content)
        if content is not None:
            target.write_bytes(content)
    return copy


def fewer_labels(content: bytes) -> bytes:
    entries = pickle.loads(content, encoding="bytes")
    return pickle.dumps(entries | {b"fine_labels": entries[b"fine_labels"][:-1]}, protocol=2)


def foreign_label(content: bytes) -> bytes:
    entries = pickle.loads(content, encoding="bytes")
    return pickle.dumps(entries | {b"fine_labels": [99, *entries[b"fine_labels"][1:]]}, protocol=2)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train", lambda _: None, ["train: no such file"]),
        ("meta", lambda _: None, ["meta: no such file"]),
        ("train", lambda c: c[: len(c) // 2], ["train: damaged or truncated"]),
        ("test", lambda _: b"", ["test: damaged or truncated (0 bytes"]),
        ("test", lambda _: b"<html>", ["test: damaged or truncated"]),
        ("train", fewer_labels, ["479 fine_labels for 480 images"]),
        ("train", foreign_label, ["fine_labels[0] holds 99"]),
        ("train", lambda _: pickle.dumps([1]), ["holds a list"]),
        ("train", lambda _: pickle.dumps({b"data": os.system}), ["refused"]),
    ],
)
def test_damaged_data(capsys, home, data, tmp_path, name, change, message):
    root = spoil(data, tmp_path, name, change)
    err = refused(capsys, 1, home, "index", "--dataset", SET, "--profile", "smoke", "--root", root)
    for words in message:
        assert words in err


def test_files_that_are_not_the_official_ones(capsys, home, data):
    words = ["data", "check", "--dataset", SET, "--profile", "paper", "--root", data]
    before = everything(home)
    code, out, err = harness(capsys, *words, "--home", home)
    assert (code, everything(home)) == (1, before)
    lines, last = out.splitlines(), err.removeprefix("harness: ").strip()
    assert all("md5" in line and "the official file has" in line for line in lines)
    assert (len(lines), last) == (3, f"3 offences below {data}")


def test_a_root_that_is_not_there(capsys, home, tmp_path):
    err = refused(capsys, 1, home, "index", "--dataset", SET, "--root", tmp_path / "none")
    assert "no such file" in err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("hard", "`harness index` makes it"),
        ("generate", "`harness hard` makes it"),
        ("score", "`harness hard` makes it"),
        ("train", "`harness hard` makes it"),
        ("cache gc", "there is no pool"),
        ("cache rekey", "there is no pool"),
    ],
)
def test_a_stage_too_early(capsys, home, data, monkeypatch, tmp_path, command, message):
    files.write_atomic(tmp_path / "generator" / "model_index.json", b"{}")
    monkeypatch.setattr(weights, "MODELS", tmp_path)
    words = [*command.split(), "--dataset", SET, "--profile", "smoke", "--root", data]
    err = refused(capsys, 1, home, *words)
    assert message in err


# ---------------------------------------------------------------- places that cannot be written


def index(capsys: Any, home: Path, data: Path) -> tuple[int, str, str]:
    words = ["index", "--dataset", SET, "--profile", "smoke", "--root", data, "--home", home]
    return harness(capsys, *words)


def test_a_file_where_the_home_should_be(capsys, tmp_path, data):
    (tmp_path / "home").write_text("not a folder")
    code, _, err = index(capsys, tmp_path / "home", data)
    assert code == 1
    assert "cannot write" in err
    assert err.count("\n") == 1
    assert (tmp_path / "home").read_text() == "not a folder"


@pytest.mark.parametrize(
    ("call", "number"), [("fsync", errno.ENOSPC), ("open", errno.EROFS), ("replace", errno.EACCES)]
)
def test_a_disk_that_is_full_or_read_only(capsys, home, data, monkeypatch, call, number):
    """As root, permissions stop nothing: the system calls are made to fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        code, _, err = index(capsys, home, data)
    assert code == 1
    assert err.count("\n") == 1
    assert f"cannot write {home}" in err
    assert os.strerror(number) in err
    assert everything(home) == []
    assert index(capsys, home, data)[0] == 0
    assert everything(home) == [f"work/smoke/{SET}/index.parquet"]


def test_an_old_table_stays_when_the_new_one_cannot_be_written(capsys, home, monkeypatch):
    out = home / "table.md"
    words = ["table", "--dataset", SET, "--home", home, "--out", out]
    assert harness(capsys, *words, "--format", "markdown")[0] == 0
    before = out.read_bytes()
    assert before.startswith(b"## ")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        code, _, err = harness(capsys, *words)
    assert (code, out.read_bytes()) == (1, before)
    assert "No space left on device" in err
    assert everything(home) == ["table.md"]


@pytest.mark.usefixtures("no_reference")
def test_a_table_and_its_numbers_for_dvc(capsys, home):
    out, metrics = home / "table.csv", home / "numbers.json"
    words = ["table", "--table", "table4", "--home", home, "--format", "csv"]
    code, printed, err = harness(capsys, *words, "--out", out, "--metrics", metrics)
    assert (code, printed, err) == (0, "", "")
    assert out.read_text().count("iwildcam") == 2 * (10 + 6)  # ours, and published
    assert metrics.read_text() == '{\n "table4": {}\n}\n'


def test_a_folder_where_the_table_should_be(capsys, home):
    code, _, err = harness(capsys, "table", "--dataset", SET, "--home", home, "--out", home)
    assert code == 1
    assert err.count("\n") == 1


# ---------------------------------------------------------------- what it does when all is well


def test_a_name_may_be_spelled_as_its_file(capsys, home):
    code, out, _ = harness(capsys, "table", "--dataset", "CIFAR100_LT", "--home", home)
    assert code == 0
    assert "BS+DisCL" in out


def test_an_imbalance_ratio_of_the_profile(data, tmp_path):
    workspace = small_workspace.workspace(tmp_path, data)
    assert workspace.imbalances() == (100, 50)
    assert workspace.imbalances([50]) == (50,)


def test_interrupting(capsys, home, monkeypatch):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "index", interrupted)
    code, _, err = harness(capsys, "index", "--dataset", SET, "--home", home)
    assert code == 130
    assert "the same command goes on" in err


def test_help_of_every_command(capsys):
    for command, examples in EXAMPLES.items():
        code, out, err = harness(capsys, command, "--help")
        assert (code, err) == (0, "")
        assert out.partition("example")[2].count("\n  harness ") == len(examples) > 0
        assert f"\n  harness {command}" in out


def test_checking_data(capsys, data):
    words = ["data", "check", "--dataset", SET, "--profile", "smoke", "--root", data]
    code, out, err = harness(capsys, *words)
    assert (code, err) == (0, "")
    assert out.startswith("4 classes, 480 training and 12 test pictures")
    assert "imbalance 100: 151 training pictures" in out
    code, out, err = harness(capsys, *words, "--profile", "paper")
    assert (code, err) == (1, f"harness: 3 offences below {data}\n")
    assert out.count("the official file has") == 3


def test_writing_scenes(capsys, data, tmp_path):
    words = ["prompts", "--dataset", SET, "--profile", "smoke", "--root", data]
    code, _, err = harness(capsys, *words, "--home", tmp_path)
    assert (code, err.count("ten scenes for each of 4 classes")) == (0, 1)
    assert "thing 3" in (tmp_path / "prompts" / "cifar100-lt.json").read_text()
    code, _, err = harness(
        capsys, *words, "--out", tmp_path / "other.json", "--endpoint", "http://127.0.0.1:9",
        "--key", "NO_SUCH_KEY",
    )  # fmt: skip
    assert code == 2
    assert "NO_SUCH_KEY" in err
    assert not (tmp_path / "other.json").exists()


def test_planning_and_looking_around(capsys, home):
    words = ["plan", "--dataset", SET, "--profile", "paper", "--rows", "CE+DisCL", "--seeds", "0"]
    code, out, err = harness(capsys, *words, "--imbalance", "100", "--tflops", "100")
    assert (code, err) == (0, "")
    assert "305 of them hard" in out
    assert "GPU-h" in out
    assert refused(capsys, 2, home, *words, "--tflops", "0")
    code, out, err = harness(capsys, "doctor", "--home", home)
    assert (code, err) == (0, "")
    assert "cifar100-lt, imagenet-lt, inaturalist2018, iwildcam: ready" in out


def test_official_files_by_the_environment(capsys, home, data, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(data))
    words = ["data", "check", "--dataset", SET, "--profile", "paper", "--home", home]
    code, out, _ = harness(capsys, *words)
    assert (code, out.count(str(data / SET))) == (1, 3)


def test_the_audit_of_the_published_tables(capsys):
    code, out, err = harness(capsys, "audit")
    assert (code, err) == (0, "")
    printed = " ".join(out.split())
    assert "47 rows: 24 are more than 0.15 points off under rule A, 7 under every rule" in printed
    code, listed, _ = harness(capsys, "audit", "--format", "json", "--all")
    assert (code, len(json.loads(listed)[0]["rows"])) == (0, 47)


HEAVY = ("torch", "diffusers", "transformers", "open_clip", "torchvision", "scipy", "pyarrow")


@pytest.mark.parametrize(
    ("words", "shown", "seconds"),
    [
        ("--help", "harness compare", 3),
        ("list", "cifar100-lt", 3),
        (f"table --dataset {SET}", "imbalance ratio 100", 6),
    ],
)
def test_answers_fast_and_without_torch(home, words, shown, seconds):
    """A fraction of a second on an idle machine; the bounds are for busy ones."""
    code = (
        "import sys; from harness.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print('loaded:', sorted({set(HEAVY)!r} & sys.modules.keys()))"
    )
    begun = time.monotonic()
    arguments = [*words.split(), *(["--home", str(home)] if "--dataset" in words else [])]
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    elapsed_s = time.monotonic() - begun
    assert (run.returncode, run.stderr) == (0, "")
    assert shown in run.stdout
    assert run.stdout.endswith("loaded: []\n")
    assert elapsed_s < seconds
