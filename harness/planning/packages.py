"""The packages that the harness requires, and which versions are installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from harness.core import documents
from harness.core.shipped import root

OK, MISSING = "ok", "missing"  # of a package or of files; another status says what is wrong
ROOT = root()  # of a checkout; an installed package has no pyproject.toml


@dataclass(frozen=True)
class Package:
    name: str
    requirement: str  # as pip writes it: "torch>=2.11"
    installed: str | None  # version
    extra: str | None  # the group of optional packages it belongs to; None: always needed

    @property
    def status(self) -> str:
        if self.installed is None:
            return MISSING
        least = self.requirement.partition(">=")[2]
        return f"older than {least}" if _numbers(self.installed) < _numbers(least) else OK


def packages() -> tuple[Package, ...]:
    """What this package requires, in the order of its list, and which versions are installed."""
    names = [(re.split(r"[^\w.-]", text)[0], text, extra) for text, extra in _requirements()]
    return tuple(Package(name, text, version(name), extra) for name, text, extra in names)


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Each with its extra: of the checkout that this file lies in, or of the package installed."""
    path = ROOT / "pyproject.toml"
    if path.is_file():
        project = documents.toml_table(path, "description of the project")["project"]
        yield from ((text, None) for text in project["dependencies"])
        for extra, texts in project.get("optional-dependencies", {}).items():
            yield from ((text, extra) for text in texts)
    else:
        for line in metadata.requires("discl-harness") or ():
            text, _, condition = line.partition(";")
            yield text.strip(), condition.partition("==")[2].strip(" \"'") or None


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """A version's leading numbers: "2.14.1+cpu" is (2, 14, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])) or (0,)


def pip(package: Package) -> str:
    return f"pip install '{package.requirement}'"
