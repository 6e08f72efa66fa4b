"""Edits by language: both filters by hand, one edit per source, and what is asked of the pool."""

import numpy as np
import polars as pl
import pytest
import small_workspace
from epoch_tables import progress, table

from baselines.alia import not_surer
from harness.core.errors import DataError, UsageError
from harness.methods.compose import compose
from harness.pipeline import stages
from harness.pipeline.stages import image_scores


def test_an_edit_goes_when_the_classifier_is_surer_than_of_its_class():
    real = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.5, 0.5, 0.0]])
    labels = np.array([0, 0, 1])  # t = 0.7, 0.5, and 1 for the class without images
    edited = np.array(
        [
            [0.75, 0.25, 0.0],  # of class 0: too easy
            [0.70, 0.30, 0.0],  # as sure as of a real image
            [0.10, 0.90, 0.0],  # of class 0, surely another
            [0.40, 0.45, 0.15],  # of class 1: unsure
            [0.60, 0.40, 0.0],  # of class 1, more likely another
            [0.99, 0.01, 0.0],  # of class 2, which nothing is known of
        ]
    )
    passing = not_surer(real, labels, edited, np.array([0, 0, 0, 1, 1, 2]))
    assert passing.tolist() == [False, True, False, True, False, True]


class Tools:
    """A classifier that gives real images (below 10) 0.7, those below 20 0.9, and others 0.6."""

    def __init__(self, pool):
        self.data = type("Data", (), {"pool": pool})

    def consult(self, rows):
        image = rows["image"].to_numpy()
        p = np.select([image < 10, image < 20], [0.7, 0.9], 0.6)
        return np.stack([p, 1 - p], axis=1)


def chosen(pool, expression="FLYP+ALIA", seed=0):
    hook = next(h for h in compose(expression).augment if hasattr(h, "margin"))
    hook.start(None, Tools(pool))
    real = table(4)
    state, numbers = {}, []
    for epoch in range(2):
        now = progress(epoch, tools=Tools(pool), state=state, seed=seed)
        numbers.append(hook.rows(real, now))
    assert numbers[0].equals(numbers[1])
    assert numbers[0].head(4).equals(real)
    return numbers[0][4:]


def pool():
    parts = [
        table(3, 10, 50, 0, True, 0.1, parent=[0, 0, 1]),  # the classifier is too sure
        table(6, 30, 50, 0, True, 0.1, parent=[0, 0, 0, 1, 1, 2]),
        table(3, 60, 50, 0, True, 0.0, parent=[0, 1, 3]),  # no lead over other texts
    ]
    return pl.concat(parts)


def test_one_edit_per_source_that_passes_both_filters():
    numbers = chosen(pool())
    assert sorted(numbers["parent"].to_list()) == [0, 1, 2]
    assert set(numbers["image"].to_list()) <= set(range(30, 36))
    drawn = {tuple(chosen(pool(), seed=s)["image"].sort().to_list()) for s in range(30)}
    assert len(drawn) == 3 * 2  # every choice of one among three and one among two


def test_either_filter_can_be_left_out():
    text = "FLYP+ALIA(confidence=False, margin=-0.5)"
    assert sorted(chosen(pool(), text)["parent"].to_list()) == [0, 1, 2, 3]
    assert compose(text).reference is None
    assert compose("FLYP+ALIA+WE").reference == "FLYP"


@pytest.mark.parametrize("control", ["", "(control=True)"])
def test_a_run_without_an_edit_that_the_classifier_lets_pass_goes_on(control, caplog):
    """How sure it is follows from training: another processor may leave none of few edits."""
    numbers = chosen(pool()[:3], f"FLYP+ALIA{control}")
    assert numbers.height == 0
    (told,) = caplog.messages
    assert told.endswith("of all 3 edited images than of real ones: this run trains on the real "
                         "images alone")  # fmt: skip


def test_no_lead_and_no_pool_are_told():
    with pytest.raises(DataError, match=r"none of 3 edited images leads .* by more than margin=0$"):
        chosen(pool()[9:])
    hook = compose("CE+ALIA(confidence=False)").augment[0]
    with pytest.raises(DataError, match="no pool"):
        hook.start(None, Tools(None))
    for wrong in ("margin=2", "margin=True", 'confidence="no"'):
        with pytest.raises(UsageError, match="is not allowed"):
            compose(f"FLYP+ALIA({wrong})")


def test_edits_cost_what_the_spectrum_costs(tmp_path):
    data = small_workspace.write_data(tmp_path / "data")
    workspace = small_workspace.workspace(
        tmp_path / "home", data, levels=[0.0, 0.3, 0.5], pool_seeds=[10, 20, 30]
    )
    stages.index(workspace)
    stages.hard(workspace)
    spectrum, edits = (stages.requests(workspace, p) for p in (stages.SPECTRUM, stages.EDITS))
    assert len(edits) == len(spectrum) == small_workspace.HARD * 9
    assert edits["guidance"].unique().to_list() == [50]
    assert edits["key"].n_unique() == len(edits)
    one = edits.filter(edits["source"] == edits["source"][0])
    assert one.group_by("seed").agg(pl.col("prompt").n_unique())["prompt"].to_list() == [3] * 3
    assert one["prompt"].n_unique() == len(workspace.module.EDITS)


def test_the_lead_is_over_the_best_of_the_other_texts():
    similarity = np.array([[0.5, 0.2, 0.4], [0.1, 0.3, 0.0]])
    assert image_scores.lead(similarity).tolist() == pytest.approx([0.1, -0.2])
