"""One claim, one verdict: on every page that is made of the same records."""

import html
import json
import re
from pathlib import Path
from typing import Any

import drawn_records
import pytest

from harness import report
from harness.cli.main import main
from harness.core import registry

ROOT = Path(__file__).parents[2]
SETS = registry.names("harness.datasets")
Verdicts = dict[tuple[str, str], tuple[str, str]]  # by data set and claim: verdict, p as printed


def printed(home: Path, form: str, *datasets: str) -> str:
    out = home / f"findings-{form}.txt"
    some = [word for name in datasets for word in ("--dataset", name)]
    words = ["findings", "--home", str(home), "--format", form, "--out", str(out)]
    assert main([*words, *some]) == 0
    return out.read_text()


def of_json(text: str) -> Verdicts:
    def p(value: float | None) -> str:
        return "" if value is None else "p < 0.001" if value < 0.001 else f"p {value:.3f}"

    claims = json.loads(text)["claims"]
    return {(c["dataset"], c["says"]): (c["verdict"], p(c["p_corrected"])) for c in claims}


def of_markdown(text: str) -> Verdicts:
    heads = re.findall(r"^\*\*([^*]+)\*\*(?: \((.*?)\))?: (.*)\n\n([\w-]+);", text, re.M)
    return {(name, plain(says)): (verdict, plain(p)) for verdict, p, says, name in heads}


def of_text(text: str) -> Verdicts:
    heads = re.findall(r"^([A-Z ]+?)(?: \((p .*?)\))?: ((?:.|\n)+?)\n  ([\w-]+); ", text, re.M)
    return {
        (name, " ".join(says.split())): (verdict.lower(), p) for verdict, p, says, name in heads
    }


def of_short(text: str) -> Verdicts:
    lines = re.findall(r"- \*\*([\w-]+)\*\*, ([^(:]+?)(?: \((.*?)\))?: (.*?) – ", joined(text))
    return {(name, f"{says}."): (verdict, p) for name, verdict, p, says in lines}


def of_page(text: str) -> Verdicts:
    pattern = (
        r'<span class="verdict [a-z]+">([^<]+?)(?: <span class="p">\((.*?)\)</span>)?</span>'
        r'<span class="sentence">(.*?) '
        r'<span class="from">([\w-]+) '
    )
    cards = re.findall(pattern, text)
    return {
        (name, html.unescape(says)): (verdict, html.unescape(p)) for verdict, p, says, name in cards
    }


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def joined(text: str) -> str:
    return re.sub(r"\n  ", " ", text)


def part(verdicts: Any, whole: Any) -> None:
    assert verdicts
    for claim, verdict in verdicts.items():
        assert whole[claim] == verdict, claim


@pytest.fixture(scope="module", params=["reference", "own"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without records, so that those of the project are shown; or with drawn ones."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "own":
        drawn_records.all_sets(folder)
    return folder


@pytest.fixture(scope="module")
def whole(home: Path) -> Verdicts:
    """Of the page with all data sets."""
    return of_json(printed(home, "json"))


def test_every_form_has_the_same_verdicts(home: Path, whole: Verdicts) -> None:
    assert of_markdown(printed(home, "markdown")) == whole
    assert of_text(printed(home, "text")) == whole
    short = of_short(printed(home, "short"))
    assert {name for name, _ in short} == set(SETS)
    part(short, whole)


@pytest.mark.parametrize("name", SETS)
def test_the_page_of_a_data_set_has_the_same_verdicts(
    home: Path, whole: Verdicts, name: str
) -> None:
    alone = of_json(printed(home, "json", name))
    assert alone == {claim: verdict for claim, verdict in whole.items() if claim[0] == name}
    part(of_short(printed(home, "short", name)), whole)
    page = of_page(report.make(report.workspaces("mini", home, [name]), pictures=1))
    assert page == alone


def test_the_order_of_data_sets_changes_no_verdict(home: Path, whole: Verdicts) -> None:
    assert of_json(printed(home, "json", *reversed(SETS))) == whole


def test_the_readme_and_the_findings_page_have_the_same_verdicts(tmp_path: Path) -> None:
    whole = of_json(printed(tmp_path, "json"))
    assert of_markdown((ROOT / "docs" / "findings.md").read_text()) == whole
    readme = (ROOT / "README.md").read_text()
    block = readme.partition("<!-- findings -->\n")[2].partition("<!-- /findings -->")[0]
    part(of_short(block), whole)
