"""What stands behind a row: from records, with the runs it starts from, or from a plan."""

import csv
import io
import json
from typing import Any

import pytest

from harness.results import budget, published
from harness.results.budget import Budget
from harness.results.leaderboard import table
from harness.results.tables import render

ROWS = ("CE", "CE(control=True)", "CE+DisCL")


def behaviour(steps: int, images: int, synthetic: bool) -> dict[str, Any]:
    levels = {"100": [3, 4]} | ({"50": [1, 0]} if synthetic else {})
    pool = {"50": {"images": 30}, "70": {"images": 20}} if synthetic else None
    return {"steps": {"all": steps}, "images": {"all": images}, "drawn": levels, "pool": pool}


def record(method: str, seed: int, start: str | None, about: Any, levels: Any = ()) -> Any:
    return {
        "method": method, "imbalance": 100, "seed": seed, "key": f"{method} {seed}",
        "spec": {"start": start}, "behaviour": about, "levels": levels,
    }  # fmt: skip


def runs() -> list[Any]:
    return [
        some
        for seed in (0, 1)
        for some in (
            record("CE", seed, None, behaviour(100, 1000, False)),
            record("CE+DisCL", seed, f"CE {seed}", behaviour(40 + 2 * seed, 400, True)),
            record("CE+DisCL+WE", seed, f"CE+DisCL {seed}", None, None),
        )
    ]


def test_a_budget_holds_the_start_and_what_is_merged():
    budgets = budget.of_records(runs())
    assert budgets["CE", 100] == Budget(100, 1000, 0)
    assert budgets["CE+DisCL", 100] == budgets["CE+DisCL+WE", 100] == Budget(141, 1400, 50)


def test_what_no_record_says_is_not_known():
    alone = [record("CE+DisCL", 0, "gone", behaviour(40, 400, True)), record("BS", 0, None, None)]
    assert set(budget.of_records(alone).values()) == {budget.UNKNOWN}
    before = behaviour(9, 9, False)
    del before["images"]  # as records were once
    known = budget.of_records([record("CE", 0, None, before)])["CE", 100]
    assert known == Budget(9, None, 0)
    assert known.or_else(Budget(1, 2, 3)) == Budget(9, 2, 0)


def test_rows_that_differ_in_steps_are_named():
    budgets = budget.of_records(runs())
    rows = [("CE", "CE"), ("CE+DisCL", "the curriculum"), ("BS", "BS")]
    (note,) = budget.differences(rows, {100: "ratio 100", 50: "ratio 50"}, budgets)
    assert "of ratio 100" in note
    assert "100 (CE) to 141 (the curriculum)" in note
    assert not list(budget.differences(rows[:1], {100: "ratio 100"}, budgets))


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html"])
def test_columns_on_request(form):
    paper = published.of("cifar100-lt")
    planned = {("CE", 100): Budget(12_345, 678_901, 0)}
    shown = render(table(paper, [], "mini", planned=planned), form)
    assert "12,345" in shown
    assert "678,901" in shown
    assert "images seen" in shown
    assert "images seen" not in render(table(paper, [], "mini"), form)


def test_columns_for_programs():
    board = table(
        published.of("cifar100-lt"), [], "mini", planned={("CE", 100): Budget(12, 34, None)}
    )
    row = json.loads(render(board, "json"))["rows"][0]
    assert (row["batches"], row["images"], row["generated"]) == (12, 34, None)
    first = next(csv.DictReader(io.StringIO(render(board, "csv"))))
    assert (first["batches"], first["images"], first["generated"]) == ("12", "34", "")
