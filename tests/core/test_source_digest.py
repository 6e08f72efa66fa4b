"""Digests of code: what changes them, and what does not."""

import sys
from pathlib import Path

import pytest

from harness.core import source_digest
from harness.core.errors import DataError
from harness.core.source_digest import code_of, digest_of_packages

CODE = '''"""A docstring."""
import os  # why


def f(x):
    """Another one,

    of three lines.
    """
    text = "# no comment"  # but this is

    return f"{x} # neither" + text


class Ä:
    "A docstring in single quotes, after a wide letter."
    y = 1
'''
BARE = """import os
def f(x):
    text = "# no comment"
    return f"{x} # neither" + text
class Ä:
    y = 1
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop("some_package", None)


def digest() -> str:
    source_digest._digest.cache_clear()
    return digest_of_packages(["some_package"])


def test_comments_and_docstrings_do_not_count(package: Path) -> None:
    assert code_of(package / "a.py") == BARE
    before = digest()
    (package / "a.py").write_text(BARE)
    assert digest() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "a.py").write_text(CODE.replace("y = 1", "y = 2")),
        lambda f: (f / "a.py").write_text(CODE.replace("# neither", "# nor")),
        lambda f: (f / "a.py").rename(f / "b.py"),
        lambda f: (f / "b.py").write_text("x = 1\n"),
        lambda f: (f / "a.py").write_text(CODE.replace("    y = 1", "y = 1")),
    ],
)
def test_what_changes_them(package: Path, change) -> None:
    before = digest()
    change(package)
    assert digest() != before


def test_what_cannot_be_read(package: Path) -> None:
    (package / "a.py").write_text("def f(:\n")
    with pytest.raises(DataError, match=r"a\.py: cannot be read as Python"):
        digest()
    with pytest.raises(DataError, match="there is no package nothing_here"):
        digest_of_packages(["nothing_here"])
