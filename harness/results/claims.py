"""What the paper claims, as data: results/paper/findings.toml, read and checked.

version
[[claims]]
id          short and unique
says        the claim, one sentence
source      where the paper makes it
dataset     a data set of the published table
table       a file of results/paper without its ending; the claim's effect is computed from it
columns     of that table
blocks      of that table (default: all with that data set)
compare     pairs [better, other] of expressions, rows of the table; four expressions
            [a, b, c, d] stand for (a - b) - (c - d), six for (a - b) - ((c - d) - (e - f))
direction   "higher" (default): the difference is above 0; "same": it is within `within` points
within      points, for "same" only
unlisted    true: the expressions are in no published table
answer      true: it says whether synthetic data helps on its data set, for the short form
note        what a reader should know
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.core.errors import DataError, UsageError, quoted
from harness.core.registry import nearest
from harness.results import published
from harness.results.published_table import Block, Column, Paper

FILE = published.FOLDER / published.CLAIMS
VERSION = 1
DIRECTIONS = ("higher", "same")
WEIGHTS = {  # of the expressions of a comparison
    2: (1.0, -1.0),
    4: (1.0, -1.0, -1.0, 1.0),
    6: (1.0, -1.0, -1.0, 1.0, 1.0, -1.0),
}
TEXTS = ("id", "says", "source", "dataset", "table")
OPTIONAL = ("columns", "blocks", "compare", "direction", "within", "unlisted", "answer", "note")


@dataclass(frozen=True)
class Claim:
    id: str
    says: str
    source: str
    dataset: str
    paper: Paper
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    compare: tuple[tuple[str, ...], ...]
    within: float | None  # points; None: the difference is to be above 0
    note: str | None
    answer: bool = False


def read(file: Path = FILE) -> tuple[Claim, ...]:
    """The claims in their order; DataError names the file, the claim and what is wrong with it."""
    raw = documents.toml_table(Path(file), "claims")
    _known(f"{file}", raw, ("version", "claims"))
    if raw.get("version") != VERSION:
        raise DataError(f"{file}: version {quoted(raw.get('version'))}, expected {VERSION}")
    if not isinstance(raw.get("claims"), list) or not raw["claims"]:
        raise DataError(f"{file}: no [[claims]]")
    papers: dict[str, Paper] = {}
    claims = tuple(_claim(file, i, c, papers) for i, c in enumerate(raw["claims"]))
    ids = [claim.id for claim in claims]
    for name, times in Counter(ids).most_common(1):
        if times > 1:
            raise DataError(f"{file}: claim {quoted(name)} occurs {times} times")
    return claims


def _claim(file: Path, i: int, raw: Any, papers: dict[str, Paper]) -> Claim:
    where = f"{file}: claim {i + 1}"
    if not isinstance(raw, dict):
        raise DataError(f"{where}: {quoted(raw)} is no table of names and values")
    _known(where, raw, (*TEXTS, *OPTIONAL))
    for name in TEXTS:
        if not isinstance(raw.get(name), str) or not raw[name]:
            raise DataError(f"{where}: {name} is {quoted(raw.get(name))}, expected a text")
    where = f"{file}: claim {quoted(raw['id'])}"
    paper = _paper(where, raw["table"], papers)
    _one_of(where, "dataset", raw["dataset"], paper.datasets)
    blocks = {b.key: b for b in paper.blocks if b.dataset == raw["dataset"]}
    columns = {c.name: c for c in paper.columns}
    keys = _texts(where, raw, "blocks", tuple(blocks))
    names = _texts(where, raw, "columns", ())
    for key in keys:
        _one_of(where, "block", key, blocks)
    for name in names:
        _one_of(where, "column", name, columns)
    note = raw.get("note")
    if note is not None and not isinstance(note, str):
        raise DataError(f"{where}: note is {quoted(note)}, expected a text")
    return Claim(
        id=raw["id"],
        says=raw["says"],
        source=raw["source"],
        dataset=raw["dataset"],
        paper=paper,
        columns=tuple(columns[name] for name in names),
        blocks=tuple(blocks[key] for key in keys),
        compare=_compare(where, raw, paper),
        within=_within(where, raw),
        note=note,
        answer=_flag(where, raw, "answer"),
    )


def _paper(where: str, name: str, papers: dict[str, Paper]) -> Paper:
    if name not in papers:
        try:
            paper = published.read(published.find(name))
        except UsageError as error:
            raise DataError(f"{where}: {error}") from None
        if paper.kind == "pool":
            raise DataError(f"{where}: table {name} is of synthetic images, expected one of runs")
        papers[name] = paper
    return papers[name]


def _compare(where: str, raw: dict[str, Any], paper: Paper) -> tuple[tuple[str, ...], ...]:
    pairs = raw.get("compare")
    if not isinstance(pairs, list) or not pairs:
        raise DataError(
            f"{where}: compare is {quoted(pairs)}, expected a list of pairs of expressions"
        )
    unlisted = _flag(where, raw, "unlisted")
    for rows in pairs:
        good = isinstance(rows, list) and len(rows) in WEIGHTS
        if not good or not all(isinstance(row, str) for row in rows):
            raise DataError(
                f"{where}: compare holds {quoted(rows)}, expected 2, 4 or 6 expressions"
            )
        for row in rows:
            _check_row(where, row, raw["dataset"], paper, unlisted)
    return tuple(tuple(rows) for rows in pairs)


def _flag(where: str, raw: dict[str, Any], name: str) -> bool:
    value = raw.get(name, False)
    if not isinstance(value, bool):
        raise DataError(f"{where}: {name} is {quoted(value)}, expected true or false")
    return value


def _check_row(where: str, row: str, dataset: str, paper: Paper, unlisted: bool) -> None:
    listed = [r.method for r in paper.rows] + [r.over for r in paper.rows if r.over is not None]
    if not unlisted:
        _one_of(where, "row", row, listed)
        return
    from harness.methods.compose import compose

    try:
        canonical = compose(row, dataset, "paper").expression
    except UsageError as error:
        raise DataError(f"{where}: row {error}") from None
    if canonical != row:
        raise DataError(f"{where}: row {quoted(row)} is canonically written {quoted(canonical)}")


def _within(where: str, raw: dict[str, Any]) -> float | None:
    direction, within = raw.get("direction", DIRECTIONS[0]), raw.get("within")
    _one_of(where, "direction", direction, DIRECTIONS)
    if (direction == "same") != (within is not None):
        raise DataError(f"{where}: within is {quoted(within)} in direction {quoted(direction)}")
    if within is None:
        return None
    if type(within) not in (int, float) or not 0 < within <= 100:
        raise DataError(f"{where}: within is {quoted(within)}, expected points above 0")
    return float(within)


def _texts(where: str, raw: dict[str, Any], name: str, default: Sequence[str]) -> list[str]:
    texts = raw.get(name, list(default))
    if not isinstance(texts, list) or not texts or not all(isinstance(x, str) for x in texts):
        raise DataError(f"{where}: {name} is {quoted(raw.get(name))}, expected a list of texts")
    return texts


def _one_of(where: str, what: str, value: Any, options: Collection[str]) -> None:
    if not isinstance(value, str) or value not in options:
        raise DataError(f"{where}: unknown {what} {quoted(value)}{nearest(str(value), options)}")


def _known(where: str, raw: dict[str, Any], allowed: Collection[str]) -> None:
    for name in raw:
        _one_of(where, "name", name, allowed)
