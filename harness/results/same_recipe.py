"""Which records a leaderboard takes, and whether they may share it: one recipe, the same images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.core.errors import DataError
from harness.results.published_table import Paper

Record = Mapping[str, Any]
MESSAGE, NAMED = 300, 60  # characters of a message, and of a run in it


def of_table(paper: Paper, records: Sequence[Record]) -> list[Record]:
    """Those of the table's methods, imbalance ratios and backbone."""
    methods = {m for row in paper.rows for m in (row.method, row.over) if m is not None}
    ratios = {block.imbalance for block in paper.blocks}
    return [
        r
        for r in records
        if r["method"] in methods
        and r["imbalance"] in ratios
        and paper.backbone in (None, r["backbone"])
    ]


def check_same(records: Sequence[Record]) -> None:
    """DataError unless there is one recipe, the same images of one imbalance, and each run once."""
    first: dict[tuple[str, int | None], tuple[Any, Record]] = {}
    names = set()
    for r in records:
        ratio = r["imbalance"]
        read = {(n, None): v for n, v in r["spec"]["recipe"].items() if v is not None}
        images = {("training images (index)", ratio): r["spec"]["index"]}
        for name, value in (read | images | {("counts", ratio): r["counts"]}).items():
            known, other = first.setdefault(name, (value, r))
            if known != value:
                raise DataError(_difference(other, r, "; ".join(_differing(name[0], known, value))))
        if run_name(r) in names:
            raise DataError(f"two records of {run_name(r)}, expected one")
        names.add(run_name(r))


def check_recipe(
    paper: Paper,
    records: Iterable[Record],
    profile: str,
    planned: Mapping[tuple[str, int | None, int], Mapping[str, Any]],
) -> None:
    """DataError where runs to come would share a table with records of another recipe.

    planned: recipes by method, imbalance ratio and seed; records of these are written anew.
    """
    here = [r for r in records if (r["profile"], r["dataset"]) == (profile, paper.dataset)]
    stay = [
        r for r in of_table(paper, here) if (r["method"], r["imbalance"], r["seed"]) not in planned
    ]
    for recipe in planned.values():
        for r in stay:
            known = r["spec"]["recipe"]
            for name, value in recipe.items():
                if None not in (value, known.get(name)) and known[name] != value:
                    raise DataError(
                        f"the record of {run_name(r)} has another {name} than the runs asked for, "
                        "expected the same in one table: run it again with them, or use another "
                        "--home"
                    )


def _differing(name: str, a: Any, b: Any) -> Iterator[str]:
    """The fields, by dotted name, in which two values differ, with what each has there."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys((*a, *b)):
            if a.get(key) != b.get(key):
                yield from _differing(f"{name}.{key}", a.get(key), b.get(key))
    else:
        yield f"{name} ({a} and {b})"


def _difference(a: Record, b: Record, fields: str) -> str:
    """Why two records cannot share a table, in at most MESSAGE characters."""
    names = " and ".join(_shorten(run_name(record), NAMED) for record in (a, b))
    head = f"records of {names} differ in "
    tail = ", expected the same in one table: run the older one again"
    return f"{head}{_shorten(fields, MESSAGE - len(head) - len(tail))}{tail}"


def _shorten(text: str, most: int) -> str:
    """At most so many characters, an ellipsis for those in the middle that are left out."""
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def run_name(r: Record) -> str:
    """A run in a message: method, imbalance ratio and seed."""
    ratio = "" if r["imbalance"] is None else f", imbalance {r['imbalance']}"
    return f"{r['method']}{ratio}, seed {r['seed']}"
