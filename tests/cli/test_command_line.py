"""Versions, lists, completion, several data sets in one call, and what ends each help."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import examples, listing, options
from harness.cli.main import _parser, main
from harness.core import registry

ROOT = Path(__file__).parents[2]
SET = "cifar100-lt"


def harness(capsys: Any, *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def parsers() -> dict[str, Any]:
    (action,) = (a for a in _parser()._actions if a.dest == "command")
    return dict(action.choices)


def test_the_version(capsys: Any) -> None:
    code, out, err = harness(capsys, "--version")
    assert (code, err) == (0, "")
    assert out.startswith("harness ")
    assert "Python 3." in out


@pytest.mark.parametrize("words", [["--verison"], ["--verison", "list"], ["--hlp"]])
def test_unknown_options_before_the_command(capsys: Any, words: list[str]) -> None:
    code, out, err = harness(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "did you mean '--" in err


def test_every_command_has_examples_and_no_others() -> None:
    assert set(examples.EXAMPLES) == set(parsers())
    for name, some in examples.EXAMPLES.items():
        assert all(line.startswith(f"harness {name}") for line, _ in some)


def test_the_main_help_names_the_exit_codes(capsys: Any) -> None:
    _, out, _ = harness(capsys, "--help")
    assert "3 a check failed (a regression)" in out
    for name in examples.FIRST:
        assert examples.EXAMPLES[name][0][0] in out


# Shared options that a command has no use for: what it does would not change.
WITHOUT = {
    "index": {"backbone", "workers", "device"},
    "table": {"root", "workers", "device"},
    "verify": {"backbone", "workers", "device"},
    "cache": {"backbone", "workers", "device"},
    "data": {"backbone", "workers", "device"},
    "prompts": {"backbone", "workers", "device"},
    "plan": {"workers", "device"},
    "profile": {"workers"},
}


def test_no_command_has_an_option_that_does_nothing() -> None:
    shared = set(options.SHARED.split())
    stages = "compare index hard generate score train".split()
    for name, parser in parsers().items():
        names = {action.dest for action in parser._actions}
        if name in WITHOUT or name in stages:
            assert shared - names == WITHOUT.get(name, set()), name


# ---------------------------------------------------------------- lists


def test_the_overview_of_names(capsys: Any) -> None:
    code, out, err = harness(capsys, "list")
    assert (code, err) == (0, "")
    for word in (SET, "mini", "DisCL", "diverse-to-specific", "table10own", "ViT-L-14"):
        assert word in out
    code, out, _ = harness(capsys, "list", "--format", "json")
    assert json.loads(out)["data sets"] == registry.names("harness.datasets")


@pytest.mark.parametrize("what", listing.WHAT)
@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_each_kind_of_names(capsys: Any, what: str, form: str) -> None:
    code, out, err = harness(capsys, "list", what, "--format", form)
    if (what, form) == ("arguments", "json"):
        assert (code, out) == (2, "")
        return
    assert (code, err) == (0, "")
    if form == "json":
        rows = json.loads(out)
        assert rows
        assert all(all(value is not None for value in row.values()) for row in rows)
    elif form == "markdown":
        assert out.count("|---") or out.count("|:--")
    else:
        assert out.count("\n") > 3


def test_wrong_kinds_of_names(capsys: Any) -> None:
    code, out, err = harness(capsys, "list", "curriculum")
    assert (code, out) == (2, "")
    assert "did you mean 'curricula'?" in err
    code, _, err = harness(capsys, "list", "tables", "--method", "CE")
    assert code == 2
    assert "--method is of `list arguments`" in err


# ---------------------------------------------------------------- several data sets


def test_several_data_sets_in_one_call(capsys: Any, tmp_path: Path) -> None:
    words = ["--dataset", SET, "iwildcam", "--home", str(tmp_path)]
    code, out, _ = harness(capsys, "table", *words)
    assert code == 0
    assert out.index("CIFAR-100-LT") < out.index("iWildCam")
    code, out, _ = harness(capsys, "plan", *words, "--profile", "paper")
    assert code == 0
    assert out.index(SET) < out.index("iwildcam")


def test_a_wrong_data_set_is_refused_before_any_work(capsys: Any, tmp_path: Path) -> None:
    words = ["index", "--dataset", SET, "iwildcm", "--home", str(tmp_path), "--profile", "smoke"]
    code, _, err = harness(capsys, *words)
    assert code == 2
    assert "did you mean 'iwildcam'?" in err
    assert list(tmp_path.iterdir()) == []


def test_data_sets_may_stand_before_the_action(capsys: Any) -> None:
    words = _parser().parse_args(["data", "--dataset", SET, "--dataset", "iwildcam", "check"])
    assert (words.dataset, words.action) == ([SET, "iwildcam"], "check")


# ---------------------------------------------------------------- for programs


def test_what_is_here_as_json(capsys: Any, tmp_path: Path) -> None:
    code, out, err = harness(capsys, "doctor", "--format", "json", "--home", str(tmp_path))
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["home"] == str(tmp_path)
    assert set(report["ready"]) == {"mini", "smoke", "paper"}
    assert {"name", "installed", "status"} <= report["packages"][0].keys()


def completions(script: Path, words: list[str]) -> list[str]:
    """What bash offers for the last word."""
    code = (
        f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_shtab_harness harness "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return [word.strip() for word in run.stdout.splitlines() if word.strip()]


def test_bash_completes_commands_options_and_names(capsys: Any, tmp_path: Path) -> None:
    code, out, err = harness(capsys, "completion", "bash")
    assert (code, err) == (0, "")
    script = tmp_path / "harness.bash"
    script.write_text(out)
    assert completions(script, ["harness", "lead"]) == ["leaderboard"]
    assert completions(script, ["harness", "compare", "--budg"]) == ["--budget"]
    assert completions(script, ["harness", "compare", "--dataset", "iw"]) == ["iwildcam"]
    assert completions(script, ["harness", "table", "--table", "table10"]) == [
        "table10",
        "table10own",
    ]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells(capsys: Any, shell: str) -> None:
    code, out, err = harness(capsys, "completion", shell)
    assert (code, err) == (0, "")
    assert "leaderboard" in out
    assert "inaturalist2018" in out


def test_a_foreign_shell(capsys: Any) -> None:
    code, _, err = harness(capsys, "completion", "fish")
    assert code == 2
    assert "Available: bash, tcsh, zsh" in err


def test_missing_records_are_no_wrong_usage(capsys: Any, tmp_path: Path) -> None:
    for command in ("report", "findings"):
        code, _, err = harness(capsys, command, "--profile", "paper", "--home", str(tmp_path))
        assert (code, err.count("\n")) == (1, 1)
        assert "no data set has records of profile paper" in err


def test_the_command_starts_without_shtab_and_jinja() -> None:
    code = (
        "import sys; from harness.cli.main import main; main(['list'])\n"
        "print(sorted({'shtab', 'jinja2'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_one_process_of_a_launcher_prints_the_result(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for rank in ("0", "1"):
        for name, value in {"WORLD_SIZE": "2", "RANK": rank}.items():
            monkeypatch.setenv(name, value)
        assert main(["list", "tables"]) == 0
        texts.append(capsys.readouterr().out)
    assert "table2" in texts[0]
    assert texts[1] == ""
