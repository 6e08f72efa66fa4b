"""What commands tell: results on the standard output, messages through the logger "harness"."""

import ast
import logging
from pathlib import Path

import pytest

from harness.cli import messages
from harness.cli.arguments import say
from harness.cli.main import _parser, main
from harness.core.progress import ProgressBar

ROOT = Path(__file__).parents[2]
LIBRARY = [
    path
    for path in sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("baselines/*.py")])
    if path.relative_to(ROOT).parts[1] != "cli"
]


def prints(path: Path) -> list[int]:
    """Lines with a call of print outside `main`, which a script calls when it is run itself."""
    tree = ast.parse(path.read_text())
    mains = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    inside = {id(node) for function in mains for node in ast.walk(function)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "print" and id(node) not in inside
    ]


def test_the_library_prints_nothing() -> None:
    assert len(LIBRARY) > 150
    assert {str(path): prints(path) for path in LIBRARY if prints(path)} == {}


def test_a_call_of_print_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def f():\n    print(1)\n\ndef main():\n    print(2)\n")
    assert prints(file) == [2]


def test_every_command_has_both_options() -> None:
    for name in ("compare", "table", "list", "doctor", "report"):
        words = [name, "--dataset", "cifar100-lt"] if name == "compare" else [name]
        assert _parser().parse_args([*words, "-q"]).quiet
        assert _parser().parse_args([*words, "--verbose"]).verbose
    with pytest.raises(SystemExit):
        _parser().parse_args(["list", "-q", "-v"])


@pytest.mark.parametrize(
    ("options", "told"),
    [([], ["told", "warned"]), (["-q"], ["warned"]), (["-v"], ["told", "detail", "warned"])],
)
def test_how_much_is_told(
    options: list[str], told: list[str], capsys: pytest.CaptureFixture
) -> None:
    log = logging.getLogger("harness")
    with messages.shown():
        messages.choose(_parser().parse_args(["list", *options]))
        say("told")
        log.debug("detail")
        log.warning("warned")
        assert ProgressBar.hidden == ("-q" in options)
        with ProgressBar(total=2, desc="bar") as bar:
            bar.update(2)
    err = capsys.readouterr().err
    lines = [line.split()[-1] for line in err.splitlines() if not line.startswith("bar")]
    assert lines == told
    assert ("bar: 2 of 2" in err) == ("-q" not in options)
    assert (log.handlers, log.level, ProgressBar.hidden) == ([], logging.NOTSET, False)


def test_a_quiet_command_gives_its_result_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "page.html"
    words = ["report", "--dataset", "cifar100-lt", "--out", str(out), "--home", str(tmp_path)]
    assert main([*words, "--pictures", "1", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["list", "-q"]) == 0
    assert capsys.readouterr().out.startswith("data sets: ")
