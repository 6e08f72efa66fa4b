"""What the rows of a table would take, of which nothing was run yet."""

from pathlib import Path

import harness
from harness.results.budget import Budget


def test_a_control_costs_its_row_without_an_image(tmp_path: Path) -> None:
    board = harness.table(
        "iwildcam", profile="paper", home=tmp_path, table="table4", budget=True
    ).leaderboard
    of = {line.method: line.budget for line in board.parts[0].lines}
    adaptive, control = (
        of[f'FLYP+DisCL({text}curriculum="adaptive")'] for text in ("", "control=True, ")
    )
    assert adaptive is not None
    assert adaptive.generated == 8260 * 3 * 8
    assert control == Budget(adaptive.batches, adaptive.images, 0)
    assert of['FLYP+DisCL(curriculum="adaptive")+WE'] == adaptive
    assert of["Zero-shot"] == Budget(0, 0, 0)
    assert any("Optimiser steps behind a row" in note for note in board.notes)


def test_a_fair_start_counts(tmp_path: Path) -> None:
    board = harness.table("imagenet-lt", profile="paper", home=tmp_path, budget=True).leaderboard
    of = {line.method: line.budget for line in board.parts[0].lines}
    assert of["CE"] == Budget(90_600, 11_584_600, 0)
    assert of["CE+DisCL"] is not None
    assert of["CE+DisCL"].batches == 90_600 + 20_150
