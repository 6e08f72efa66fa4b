"""Digests of the project's own code: which code made a result."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.core.errors import DataError

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest_of_packages(packages: Sequence[str]) -> str:
    """SHA-256 (hex) over the sources of packages such as "harness.training", subpackages too.

    Docstrings, comments, blank lines and trailing spaces do not count; the names of the files,
    relative to their package, do. DataError for a package that is not there or a file that cannot
    be read or parsed.
    """
    return _digest(tuple(sorted(set(packages))))


@cache
def digest_of_sources() -> str:
    """SHA-256 (hex) over the bytes of all sources: whether two machines run the same code."""
    digest = hashlib.sha256()
    for package in ("harness", "baselines"):
        for name, path in _files(package):
            digest.update(
                f"{package} {name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
            )
    return digest.hexdigest()


@cache
def _digest(packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for package in packages:
        for name, path in _files(package):
            digest.update(f"{package} {name}\n".encode())
            digest.update(code_of(path).encode())
    return digest.hexdigest()


def _files(package: str) -> Iterable[tuple[str, Path]]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"there is no package {package}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix())
    return [(path.relative_to(folder).as_posix(), path) for path in files]


def code_of(path: Path) -> str:
    """The text of a Python file without docstrings, comments, blank lines and trailing spaces."""
    try:
        text = path.read_text(encoding="utf-8")
        spans = [*_docstrings(text), *_comments(text)]
    except (OSError, SyntaxError, tokenize.TokenError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as Python ({error})") from error
    lines = text.splitlines(keepends=True)
    for (first, begin), (last, end) in sorted(spans, reverse=True):
        lines[first - 1 : last] = [lines[first - 1][:begin] + lines[last - 1][end:]]
    kept = (line.rstrip() for line in "".join(lines).splitlines())
    return "".join(f"{line}\n" for line in kept if line)


Span = tuple[tuple[int, int], tuple[int, int]]  # line (from 1) and column of begin and end


def _docstrings(text: str) -> Iterable[Span]:
    encoded = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, _DOCUMENTED) or ast.get_docstring(node, clean=False) is None:
            continue
        at = node.body[0]
        assert at.end_lineno is not None
        assert at.end_col_offset is not None
        begin = _column(encoded[at.lineno - 1], at.col_offset)
        yield (
            (at.lineno, begin),
            (at.end_lineno, _column(encoded[at.end_lineno - 1], at.end_col_offset)),
        )


def _column(line: str, offset: int) -> int:
    """The parser counts bytes, texts are cut by characters."""
    return len(line.encode()[:offset].decode())


def _comments(text: str) -> Iterable[Span]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start, token.end
