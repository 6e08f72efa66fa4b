"""What the README and docs/ say can be done: their commands parse, their links lead somewhere."""

import re
from pathlib import Path

import pytest
import shown_commands
from shown_commands import ADDED, PAGES, ROOT

from harness.cli.main import _parser
from harness.core.registry import find, names
from harness.methods.compose import compose

LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def commands():
    return [
        pytest.param(command.words[1:], id=f"{command.where}: {command.text}")
        for command in shown_commands.shown()
        if command.words[0] == "harness"
    ]


@pytest.mark.parametrize("words", commands())
def test_commands_parse(words):
    arguments = vars(_parser().parse_args(words))
    if any(name in word for word in words for name in ADDED):
        return
    sets = arguments.get("dataset") or []
    sets = [sets] if isinstance(sets, str) else sets
    assert set(sets) <= {*names("harness.datasets"), "X"}
    methods = arguments.get("method") or []
    if words[0] == "list":  # terms by their names
        assert {*methods} <= {*names("baselines"), "all", "Focal"}
        return
    for row in [*(arguments.get("rows") or []), *methods]:
        assert compose(row, *sets).expression


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_paper_that_the_docs_name_can_be_cited():
    cited = (ROOT / "docs" / "citations.bib").read_text()
    named = {n for page in PAGES for n in re.findall(r"arxiv.org/abs/([\d.]+)", page.read_text())}
    assert named
    assert {n for n in named if n not in cited} == set()


def test_every_baseline_that_names_a_paper_can_be_cited():
    cited = (ROOT / "docs" / "citations.bib").read_text()
    for file in (ROOT / "baselines").glob("*.py"):
        for number in re.findall(r"\b\d{4}\.\d{5}\b", file.read_text().split('"""')[1]):
            assert number in cited, file.name


def test_extending_lists_the_backbones_of_every_profile():
    section = (ROOT / "docs" / "extending.md").read_text().split("| data set | `mini`")[1]
    listed = {}
    for line in section.splitlines()[2:]:
        if not line.startswith("|"):
            break
        cells = [re.findall("`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        listed |= dict.fromkeys(cells[0], cells[1:])
    assert set(listed) == set(names("harness.datasets"))
    for name, cells in listed.items():
        module = find("harness.datasets", name)
        for profile, backbones in zip(("mini", "smoke", "paper"), cells, strict=True):
            default = module.RECIPES[profile].backbone
            assert backbones == [default, *sorted(module.BACKBONES[profile])], (name, profile)


def test_the_findings_page_is_what_the_command_writes(tmp_path: Path) -> None:
    """`harness findings --profile mini --format markdown --out docs/findings.md`."""
    from harness.cli.main import main

    out = tmp_path / "findings.md"
    words = ["findings", "--profile", "mini", "--format", "markdown", "--out", str(out)]
    assert main([*words, "--home", str(tmp_path)]) == 0
    assert out.read_text() == (ROOT / "docs" / "findings.md").read_text()


def test_the_readme_says_what_the_findings_say(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from harness.cli.main import main

    words = ["findings", "--profile", "mini", "--format", "short", "--home", str(tmp_path)]
    assert main(words) == 0
    text = (ROOT / "README.md").read_text()
    block = text.partition("<!-- findings -->\n")[2].partition("<!-- /findings -->")[0]
    assert block == capsys.readouterr().out
