"""`harness list`: the names that can be chosen, and what each means."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from harness.cli.arguments import give
from harness.core import registry
from harness.core.errors import UsageError

Rows = list[tuple[str, ...]]
DATASETS, METHODS = "harness.datasets", "baselines"
PROFILE_TEXTS = {
    "mini": "the built-in world, on two CPU cores; the default",
    "smoke": "the same, cut down for continuous integration",
    "paper": "the official data sets and models, with the paper's hyper-parameters",
}


def listing(args: argparse.Namespace) -> None:
    """Print what the arguments ask for: arguments of terms, one kind of names, or all of them."""
    if args.what == "arguments" or args.method:
        if args.what not in (None, "arguments"):
            raise UsageError(f"--method is of `list arguments` and not of `list {args.what}`")
        give(_arguments(args.method or ["all"], args.format), None)
    elif args.what is None:
        give(_overview(args.format), None)
    else:
        head, rows = KINDS[args.what]()
        give(_rendered(head, rows, args.format), None)


def _overview(form: str) -> str:
    """A line for each kind of names; names alone, so that it is fast."""
    datasets, broken = split_by_state(DATASETS)
    methods, others = split_by_state(METHODS)
    names = {
        "data sets": datasets,
        "profiles": list(PROFILE_TEXTS),
        "methods": methods,
        "curricula": list(registry.function_names("harness.methods.curriculum")),
        "tables": [row[0] for row in _tables()[1]],
        "backbones": list(dict.fromkeys(row[2].removesuffix("*") for row in _backbones()[1])),
    }
    if form == "json":
        return json.dumps({**names, "broken": broken + others}, indent=1, ensure_ascii=False)
    rows: Rows = [(kind, ", ".join(some)) for kind, some in names.items()]
    rows += [("broken", sentence) for sentence in broken + others]
    if form == "markdown":
        return _rendered(("kind", "names"), rows, form)
    width = max(len(kind) for kind, _ in rows) + 2
    lines = [f"{f'{kind}:':<{width}}{text}" for kind, text in rows]
    hint = "Methods are joined by +. `harness list tables` (curricula, ...) says more of each kind."
    return "\n".join([*lines, "", hint])


def split_by_state(package: str) -> tuple[list[str], list[str]]:
    """The names of a package whose files work, and what is wrong with the other files."""
    from harness.methods.compose import PACKAGE, problem

    find_problem = problem if package == PACKAGE else registry.problem
    problems = {name: find_problem(package, name) for name in registry.names(package)}
    works = [name for name, sentence in problems.items() if sentence is None]
    return works, [sentence for sentence in problems.values() if sentence is not None]


def _arguments(names: Sequence[str], form: str) -> str:
    """The arguments of terms as tables; of all terms that work for the name "all"."""
    from harness.cli import argument_tables

    if form == "json":
        raise UsageError("arguments are listed as text or markdown")
    chosen = split_by_state(METHODS)[0] if list(names) == ["all"] else names
    return argument_tables.render(chosen, form)


# ---------------------------------------------------------------- kinds


def _datasets() -> tuple[tuple[str, ...], Rows]:
    rows: Rows = []
    for name in split_by_state(DATASETS)[0]:
        module = registry.find(DATASETS, name)
        rows.append((name, ", ".join(module.RECIPES), _first_line(module.__doc__)))
    return ("data set", "profiles", "what it is"), rows


def _profiles() -> tuple[tuple[str, ...], Rows]:
    return ("profile", "what it is"), list(PROFILE_TEXTS.items())


def _methods() -> tuple[tuple[str, ...], Rows]:
    names = split_by_state(METHODS)[0]
    modules = ((name, registry.find(METHODS, name)) for name in names)
    return ("term", "what it is"), [(name, _first_line(m.__doc__)) for name, m in modules]


def _tables() -> tuple[tuple[str, ...], Rows]:
    from harness.results import published

    papers = [(file.stem, published.read(file)) for file in published.files()]
    rows: Rows = [
        (name, ", ".join(p.datasets), p.backbone or "", "yes" if p.main else "", p.title)
        for name, p in papers
        if p.kind != "pool"
    ]
    return ("table", "data sets", "backbone", "main", "title"), rows


def _curricula() -> tuple[tuple[str, ...], Rows]:
    from harness.methods import curriculum

    known = registry.functions(curriculum)
    return ("curriculum", "what it does"), [
        (name, _first_line(function.__doc__)) for name, function in known.items()
    ]


def _backbones() -> tuple[tuple[str, ...], Rows]:
    rows: Rows = []
    for name in split_by_state(DATASETS)[0]:
        module = registry.find(DATASETS, name)
        for profile, recipe in module.RECIPES.items():
            others = sorted(module.BACKBONES.get(profile, {}))
            rows += [(name, profile, f"{recipe.backbone}*")]
            rows += [(name, profile, other) for other in others]
    return ("data set", "profile", "backbone (*: the default)"), rows


KINDS = {
    "datasets": _datasets,
    "profiles": _profiles,
    "methods": _methods,
    "tables": _tables,
    "curricula": _curricula,
    "backbones": _backbones,
}
WHAT = (*KINDS, "arguments")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _rendered(head: tuple[str, ...], rows: Rows, form: str) -> str:
    from tabulate import tabulate

    from harness.results.markdown import escape

    if form == "json":
        plain = [dict(zip(head, row, strict=True)) for row in rows]
        return json.dumps(plain, indent=1, ensure_ascii=False)
    if form == "markdown":
        rows = [tuple(escape(cell, "*|<_") for cell in row) for row in rows]
        head = tuple(escape(cell, "*|<_") for cell in head)
    return tabulate(rows, head, "github" if form == "markdown" else "simple", disable_numparse=True)
