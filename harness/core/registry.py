"""A name is a file (or a function of one): find it, list what there is, suggest the nearest."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core.errors import LIBRARY_ERRORS, DataError, UsageError, brief, quoted
from harness.core.shipped import PACKAGE

BESIDE = ("baselines",)  # packages that lie beside harness
_NAME_LINE = re.compile(r"""^NAME(?:\s*:\s*\w+)?\s*=\s*(["'])(?P<name>[^"']+)\1""", re.MULTILINE)
_LONGEST_NAME = 100  # characters of a name that are compared
_LONGEST_LIST = 160  # characters of the names that an error offers
# What the code of a module may raise while it is imported.
_BROKEN = (DataError, UsageError, *LIBRARY_ERRORS)


def nearest(word: str, options: Iterable[str]) -> str:
    """What to add to an error about an unknown `word`: the nearest option and all there are."""
    known = sorted(options, key=str.lower)
    by_lower = {option.lower(): option for option in known}
    word = word[:_LONGEST_NAME]
    close = [low for low in by_lower if word and low.startswith(word.lower())]
    close += difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"; did you mean {by_lower[close[0]]!r}? Available: " if close else "; available: "
    return hint + (_listed(known) or "nothing")


def _listed(names: list[str]) -> str:
    """The names, of many the first ones and how many there are."""
    text = ", ".join(names)
    if len(text) <= _LONGEST_LIST:
        return text
    shown = text[:_LONGEST_LIST].rpartition(", ")[0]
    return f"{shown}, ... ({len(names)} in all)"


def names(package: str) -> list[str]:
    """Printed names of a package's files that have a line `NAME = "..."`; imports none of them."""
    return [name for name, _ in sorted(_files(package).values(), key=lambda pair: pair[0].lower())]


def find(package: str, name: str) -> ModuleType:
    """The module of `package` that `name` names: "A-B" is a_b.py; case, '-', '_' are one.

    A package with a file protocol.py has each module pass its `complete`, which says what a module
    must hold. Raises UsageError with the nearest name when there is none, and with the file when
    that one is broken or incomplete.
    """
    files = _files(package)
    stem = name.strip().lower().replace("-", "_")
    if stem not in files:
        kind = package.rpartition(".")[2]
        known = [printed for printed, _ in files.values()]
        other = next((file for file, (printed, _) in files.items() if printed == name), None)
        if other is not None:
            raise UsageError(
                f"{package.rpartition('.')[2]}/{other}.py: NAME is {name!r}; a name is a file: "
                f"expected {stem}.py"
            )
        raise UsageError(f"unknown name {quoted(name)} in {kind}{nearest(name, known)}")
    module = _imported(files[stem][1])
    if importlib.util.find_spec(f"{package}.protocol") is not None:
        importlib.import_module(f"{package}.protocol").complete(module)
    return module


def file_of(module: ModuleType) -> str:
    """The file of a module as messages name it: its last folder and its name."""
    return _short(module.__file__ or module.__name__)


def problem(package: str, name: str) -> str | None:
    """What is wrong with the file of a name that `names` lists, in one sentence; None: nothing."""
    try:
        find(package, name)
    except UsageError as error:
        return str(error)
    return None


def functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Public functions that a module itself defines, by name with '-' for '_'."""
    return {
        name.replace("_", "-"): value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def function_names(module: str) -> tuple[str, ...]:
    """The same names, from the module's file: it is read and not imported."""
    spec = importlib.util.find_spec(module)
    text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    public = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    return tuple(name.replace("_", "-") for name in public if not name.startswith("_"))


def function(module: ModuleType, name: str) -> Callable[..., Any]:
    """The public function of that very name; UsageError with the nearest when there is none."""
    known = functions(module)
    if not isinstance(name, str) or name not in known:
        kind = module.__name__.rpartition(".")[2]
        raise UsageError(f"unknown name {quoted(name)} in {kind}{nearest(str(name), known)}")
    return known[name]


def one_of(where: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """`value` if it is one of `allowed` (True is not 1); UsageError with the nearest otherwise."""
    if any(value == option and type(value) is type(option) for option in allowed):
        return value
    texts = [option for option in allowed if isinstance(option, str)]
    if texts:
        raise UsageError(f"{where}: {quoted(value)} is not allowed{nearest(str(value), texts)}")
    raise UsageError(
        f"{where}: {quoted(value)} is not allowed; allowed: {', '.join(map(str, allowed))}"
    )


def _files(package: str) -> dict[str, tuple[str, str]]:
    """File stem -> (printed name, module) of the package's files that carry a NAME."""
    files = {}
    for path in (path for folder in _folders(package) for path in sorted(folder.glob("*.py"))):
        match = _NAME_LINE.search(_text(path))
        if match and not path.stem.startswith("_"):
            files[path.stem] = (match["name"], f"{package}.{path.stem}")
    return files


def _folders(package: str) -> list[Path]:
    """Where a package lies; UsageError for a BESIDE that is not the one beside this package."""
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    if package in BESIDE and not any(f.resolve().parent == PACKAGE.parent for f in folders):
        where = f"is imported from {folders[0]}" if folders else "cannot be imported"
        raise UsageError(
            f"the package {package!r} {where}, not from {PACKAGE.parent / package}: another "
            f"package or a folder of that name comes first on Python's path, or it was deleted"
        )
    return folders


def _text(path: Path) -> str:
    """What a file says; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _imported(name: str) -> ModuleType:
    """UsageError with file, line and cause for a module that breaks off while it is imported."""
    try:
        return importlib.import_module(name)
    except _BROKEN as error:
        spec = importlib.util.find_spec(name)
        file = (spec.origin if spec else None) or name
        if isinstance(error, SyntaxError):  # of the file, or of one that it imports
            file, line = error.filename or file, error.lineno
            cause = f"syntax error: {error.msg}"
        else:
            frames = traceback.extract_tb(error.__traceback__)[::-1]
            line = next((frame.lineno for frame in frames if frame.filename == file), None)
            cause = f"{type(error).__name__}: {brief(error)}"
        where = _short(file) + (f", line {line}" if line else "")
        raise UsageError(f"{where}: cannot be imported: {cause}") from error


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])
