"""What stands under a leaderboard: whose numbers these are, from what, and what to mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.core.metrics import RULES, groups
from harness.results.budget import Budgets, differences
from harness.results.published_table import Paper

Record = Mapping[str, Any]

MISSING = "·"  # no run
EMPTY = "–"  # a run, but nothing to measure (a group without classes), or nothing published
OTHER = "†"  # grouped by another rule than the one shown

OURS, PUBLISHED, BOTH, SCREEN = "ours", "published", "both", "screen"


class Note(str):
    """A note, and what it is about: a paper prints those about the numbers that it shows.

    about: OURS, PUBLISHED or BOTH; SCREEN for what stands under no printed table.
    """

    about: str

    def __new__(cls, text: str, about: str) -> Note:
        note = super().__new__(cls, text)
        note.about = about
        return note


PROFILE_TEXTS = {
    "mini": "mini, the built-in world: small drawn images, not the real data set; compare these "
    "numbers with each other, never with the published ones",
    "smoke": "smoke, mini cut down to test the machinery; these numbers mean nothing",
    "paper": "paper, the real data set with the paper's hyper-parameters",
}


def notes(
    paper: Paper,
    used: Sequence[Record],
    unlisted: int,
    profile: str,
    rule: str,
    select: str,
    budgets: Budgets,
) -> Iterable[Note]:
    """Of the table of a paper with these runs; `unlisted`: how many more there are."""
    yield Note(f"Ours: profile {PROFILE_TEXTS.get(profile, profile)}.", OURS)
    if paper.compared:
        yield Note(f"Published: {paper.source}.", PUBLISHED)
    diff = ", diff: ours less the published number, in points"
    yield Note(
        f"Number: {paper.metric}, {unit(paper)}; ours as mean ± sample standard deviation (number "
        f"of seeds){diff * (profile == 'paper' and paper.compared)}. {MISSING} no run yet; {EMPTY} "
        "nothing there. * or bold: best of its column; rows marked [ours] were never published.",
        SCREEN,
    )
    if any(c.by_rule for c in paper.columns):
        groups_are = f"Groups: rule {rule}, training images per class {RULES[rule].says}."
        yield Note(groups_are, BOTH)
    chosen = " (chosen on the test set)" * (select == "oracle")
    yield Note(f"Selection: {select} epoch{chosen}{_looks(used, select)}.", OURS)
    yield from _notes_on_runs(paper, used, rule)
    labels = [(row.method, row.label) for row in paper.rows]
    titles = {b.imbalance: b.title for b in paper.blocks}
    yield from (Note(text, SCREEN) for text in differences(labels, titles, budgets))
    without = dict.fromkeys(r["method"] for r in used if select not in r["selection"])
    if without:
        merged = f"No epoch of {', '.join(without)} is chosen: the weights are merged ones."
        yield Note(merged, OURS)
    if unlisted:
        more = f"{unlisted} more records of this profile and data set are not rows of this table."
        yield Note(more, SCREEN)
    yield from (Note(text, PUBLISHED) for text in _notes_on_groupings(paper, rule))
    yield from (Note(text, SCREEN) for text in [*_notes_on_v1(paper), *paper.caveats])


def unit(paper: Paper) -> str:
    """Of a table's numbers."""
    return "points" if all(c.unit == "points" for c in paper.columns) else "percent"


_ORDINALS = ("", "", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def _looks(used: Sequence[Record], select: str) -> str:
    """Which epochs, and how much of the test images, a selection is of where not of all."""
    recipe = used[0]["spec"]["recipe"] if used and select != "last" else {}
    every, share = recipe.get("look_every", 1), recipe.get("look_share", 1.0)
    if (every, share) == (1, 1):
        return ""
    epochs = f"best of every {_ordinal(every)} epoch" if every > 1 else "best epoch"
    return f": {epochs}{f', on {_share(share)} of the test images' if share < 1 else ''}"


def _ordinal(n: int) -> str:
    return _ORDINALS[n] if n < len(_ORDINALS) else f"{n}th"


def _share(share: float) -> str:
    parts = round(1 / share)
    if abs(parts * share - 1) > 1e-6:
        return f"{100 * share:g} %"
    return "half" if parts == 2 else f"one {_ordinal(parts)}"


def _notes_on_runs(paper: Paper, used: Sequence[Record], rule: str) -> Iterable[Note]:
    if not used:
        yield Note("No runs of this profile yet.", OURS)
        return
    recipe = used[0]["spec"]["recipe"]
    seeds = ", ".join(str(s) for s in sorted({r["seed"] for r in used}))
    yield Note(f"Backbone: {recipe['backbone']}, width {recipe['width']}. Seeds: {seeds}.", OURS)
    for block in paper.blocks:
        counts = next((r["counts"] for r in used if r["imbalance"] == block.imbalance), None)
        if counts is not None and any(c.by_rule for c in paper.columns):
            sizes = "/".join(str(len(g)) for g in groups(counts, rule))
            yield Note(f"Classes per group in our data, {block.title}: {sizes}.", OURS)
    listed = (f"{name} {' and '.join(numbers)}" for name, numbers in versions(used).items())
    yield Note(f"Versions: {', '.join(listed)}.", SCREEN)


def _notes_on_groupings(paper: Paper, rule: str) -> Iterable[str]:
    if not any(c.by_rule for c in paper.columns):
        return
    for block in paper.blocks:
        by: dict[str, list[str]] = {}
        for row in paper.rows:
            if block.key in row.cells:
                by.setdefault(str(row.cells[block.key].grouped_by), []).append(row.label)
        for name, labels in by.items():
            if name != rule:
                says = paper.groupings.get(name) or f"rule {name}, {RULES[name].says}"
                yield f"{OTHER} {block.title}, {', '.join(labels)}: published groups by {says}."


def _notes_on_v1(paper: Paper) -> Iterable[str]:
    for row in paper.rows:
        for block in paper.blocks:
            cells = row.cells.get(block.key)
            if cells and cells.v1:
                listed = (
                    f"{c} {n.text(paper.decimals)} (here {cells.numbers[c].text(paper.decimals)})"
                    for c, n in cells.v1.items()
                )
                yield f"Version 1 of the paper, {block.title}, {row.label}: {', '.join(listed)}."
            if cells and cells.note:
                yield f"{row.label}, {block.title}: {cells.note}"


def versions(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Of the packages that the runs used, by name."""
    numbers: dict[str, set[str]] = {}
    for r in records:
        for name, number in r["versions"].items():
            numbers.setdefault(name, set()).add(number)
    return {name: tuple(sorted(numbers[name])) for name in sorted(numbers)}
