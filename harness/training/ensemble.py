"""Ensembles of weights: the first and the last ones of a run, merged and tested."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core.files import write_atomic
from harness.core.specs import Machine, Recipe
from harness.methods.terms import Method
from harness.training.checkpoint import State
from harness.training.data import TrainData
from harness.training.evaluation import Evaluation, write
from harness.training.trainer import Weights, first_weights

ALONE = 0.5  # alpha without a validation split: what WiSE-FT recommends (section 4)


def merge(
    method: Method,
    base: Method,
    data: TrainData,
    recipe: Recipe,
    seed: int,
    folder: Path,
    machine: Machine,
    end: Weights,
    start: Weights | None = None,
) -> None:
    """Test merged weights of a run of `base`; folder gets its predictions and ensemble.json.

    start: the weights that run started from, where these were another run's. predictions-last: at
    the ensemble's alpha; where that is None at the one of its grid that is best on the validation
    split by the data's metric, the smaller of two, and without such a split at ALONE.
    """
    assert method.ensemble is not None
    loop, first = first_weights(base, data, recipe, seed, folder, machine, start)
    evaluation, ensemble = Evaluation(loop, State()), method.ensemble

    def take(alpha: float) -> None:
        loop.model.load_state_dict(ensemble.merge(first, end, alpha))
        evaluation.changed()

    scores = {}
    if ensemble.alpha is None and data.val is not None:
        for alpha in ensemble.grid:
            take(alpha)
            scores[alpha] = evaluation.score(data.val)
    fixed = ALONE if ensemble.alpha is None else ensemble.alpha
    chosen = max(scores, key=lambda alpha: (scores[alpha], -alpha), default=fixed)
    take(chosen)
    write(loop, folder, "last", evaluation.guesses())
    if scores:
        write(loop, folder, "best_val", evaluation.guesses())
    about = {"alpha": chosen, "scores": [[a, s] for a, s in scores.items()]}
    write_atomic(folder / "ensemble.json", json.dumps(about, sort_keys=True).encode())
