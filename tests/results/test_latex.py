"""The LaTeX of leaderboards: compiled with Debian's TeX Live, and no wider than the text."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.results.table_latex import PACKAGES, escaped

PAGE = r"""\documentclass[%s]{article}
\usepackage{%s}
\begin{document}
%s
\end{document}
"""
TABLES = ["table1", "table2", "table3", "table4", "table5"]
needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="no pdflatex; apt-get install texlive-latex-base texlive-latex-recommended "
    "texlive-latex-extra",
)


def latex(folder: Path, table: str, columns: str = "both") -> str:
    """The reference results of a table, as the command writes them."""
    out = folder / f"{table}-{columns}.tex"
    words = ["table", "--table", table, "--reference", "--home", str(folder)]
    assert main([*words, "--format", "latex", "--columns", columns, "--out", str(out)]) == 0
    return out.read_text()


def compiled(folder: Path, content: str, options: str = "") -> str:
    """The log of a page with this content; what does not fit stands in it."""
    page = folder / "page.tex"
    page.write_text(PAGE % (options, ",".join(PACKAGES), content))
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", page.name]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return page.with_suffix(".log").read_text(errors="replace")


def unfit(log: str) -> list[str]:
    return re.findall(r"Overfull \\hbox.*|.*Float too large.*|.*Missing character.*", log)


@needs_latex
def test_tables_1_to_5_fit_the_text(tmp_path: Path) -> None:
    """Ours beside the published numbers, on the narrow text of the class article."""
    content = "\n\\clearpage\n".join(latex(tmp_path, table) for table in TABLES)
    log = compiled(tmp_path, content)
    assert unfit(log) == []
    assert "(5 pages" in log


@needs_latex
@pytest.mark.parametrize("columns", ["ours", "paper"])
def test_one_kind_of_numbers_fits_a_column_of_a_page_in_two(tmp_path: Path, columns: str) -> None:
    content = "\n\\clearpage\n".join(latex(tmp_path, table, columns) for table in TABLES)
    assert unfit(compiled(tmp_path, content, "twocolumn")) == []


@needs_latex
def test_what_does_not_fit_is_noticed(tmp_path: Path) -> None:
    """The check of the tests above can fail."""
    narrow = latex(tmp_path, "table1").replace(r"{\textwidth}", r"{0.6\textwidth}")
    assert unfit(compiled(tmp_path, narrow))


@needs_latex
def test_every_sign_is_printed_as_it_is(tmp_path: Path) -> None:
    text = r'\ { } $ & # % _ ^ ~ < > ± † – · " ≥ ≤ ×'
    log = compiled(tmp_path, escaped(text))
    assert unfit(log) == []


def test_a_float_has_a_label_a_caption_and_its_notes(tmp_path: Path) -> None:
    text = latex(tmp_path, "table2")
    assert r"\caption{CIFAR-100-LT, ResNet-10: ours, profile mini, beside" in text
    assert "Table 2:" not in text  # LaTeX numbers it
    assert r"\label{tab:table2-mini}" in text
    assert r"\toprule" in text
    notes = text.partition(r"\begin{tablenotes}")[2]
    assert r"\item Published: DisCL, arXiv:2410.13674v4, Table 2." in notes
    assert "Versions" not in notes  # a comment
    assert "% Versions: " in text
    ours = latex(tmp_path, "table2", "ours")
    assert r"\item Published" not in ours
    assert r"\label{tab:table2-mini-ours}" in ours
    paper = latex(tmp_path, "table2", "paper")
    assert r"\pm" not in paper
    assert "control=" not in paper.partition(r"\begin{table}")[2]
