"""A hook of MkDocs: pages keep the links that they have in the repository.

The README is the site's first page. Files outside docs/ that a page links to (tables, changelog,
contributing guide) become pages or files of the site, too.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
HOME = "README.md"
OUTSIDE = "repository"  # the site's folder for files outside docs/
LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)#\s]+)")


def place(file: str) -> str:
    """Where a file of the repository lies in the site; both relative to their roots."""
    if file == HOME:
        return "index.md"
    return file.removeprefix("docs/") if file.startswith("docs/") else f"{OUTSIDE}/{file}"


def source(uri: str) -> str:
    """The file of the repository that a page of the site is of."""
    if uri == "index.md":
        return HOME
    return uri.removeprefix(f"{OUTSIDE}/") if uri.startswith(f"{OUTSIDE}/") else f"docs/{uri}"


def targets(file: str, text: str) -> set[str]:
    """Files of the repository that a page links to."""
    folder = PurePosixPath(file).parent
    named = {normpath(str(folder / match[2])) for match in LINK.finditer(text)}
    return {name for name in named if (ROOT / name).is_file()}


def on_files(files: Files, config: Any) -> Files:
    """Adds the README and, step by step, what is linked outside docs/."""
    todo, added = [HOME, *(source(f.src_uri) for f in files.documentation_pages())], set()
    while todo:
        name = todo.pop()
        if name in added:
            continue
        added.add(name)
        if not name.startswith("docs/"):
            path = str(ROOT / name)
            files.append(File.generated(config, place(name), abs_src_path=path))
        if name.endswith(".md"):
            todo += targets(name, (ROOT / name).read_text(encoding="utf-8"))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its links as the site needs them."""
    uri = page.file.src_uri
    folder, here = PurePosixPath(source(uri)).parent, str(PurePosixPath(uri).parent)

    def moved(match: re.Match[str]) -> str:
        name = normpath(str(folder / match[2]))
        return match[1] + relpath(place(name), here)

    return LINK.sub(moved, markdown)
