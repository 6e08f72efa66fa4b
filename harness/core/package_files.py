"""The data files inside the package: their digests, in harness/package.sha256.

Run as python -m harness.core.package_files after one of them changed on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from harness.core import digests
from harness.core.shipped import PACKAGE

LISTING = PACKAGE / "package.sha256"
FOLDERS = ("mini/models", "mini/sprites", "models", "planning")
OTHER = (".py", ".pyc", ".md")  # code and what people read
AGAIN = "it came with the package: install it again, or `git checkout` it"


def check(path: Path) -> Path:
    """The path, which is that of a data file of the package.

    Damaged unless it is as it was shipped, or where the listing does not name it; it is read once
    per process, unless it changes.
    """
    state = path.stat() if path.is_file() else None
    _check(path, None if state is None else (state.st_size, state.st_mtime_ns))
    return path


def check_folder(folder: Path) -> None:
    """The same of the files below a folder that the listing names; others are no concern of it."""
    if folder.is_dir() and folder.is_relative_to(PACKAGE):
        for name in _listed():
            if (PACKAGE / name).is_relative_to(folder):
                check(PACKAGE / name)


@lru_cache(maxsize=256)
def _check(path: Path, state: tuple[int, int] | None) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    if state is None:
        raise digests.damaged(path, "there is no such file", AGAIN)
    if name not in _listed():
        raise digests.damaged(LISTING, f"it does not name {name}", AGAIN)
    digests.check_file(path, _listed()[name], AGAIN)


@lru_cache(maxsize=1)
def _listed() -> dict[str, str]:
    return digests.read_listing(LISTING, AGAIN)


def damage() -> list[digests.Damaged]:
    """What is not as it was shipped; reads every listed file once per process."""
    problems = []
    try:
        listed = _listed()
    except digests.Damaged as error:
        return [error]
    for name in listed:
        try:
            check(PACKAGE / name)
        except digests.Damaged as error:
            problems.append(error)
    return problems


def files() -> Iterator[Path]:
    """The data files there are."""
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.is_file() and path.suffix not in OTHER:
                yield path


def main() -> None:
    """Write the listing anew."""
    listed = {p.relative_to(PACKAGE).as_posix(): digests.of_file(p) for p in files()}
    digests.write_listing(LISTING, listed)
    print(f"{LISTING}: {len(listed)} files")


if __name__ == "__main__":
    main()
