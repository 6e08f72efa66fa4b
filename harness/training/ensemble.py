"""Ensembles of weights: the first and the last ones of a run, merged and tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.core.files import write_atomic
from harness.core.specs import Machine, Recipe
from harness.methods.terms import Method
from harness.training.checkpoint import State
from harness.training.data import TrainData
from harness.training.evaluation import Evaluation, write
from harness.training.trainer import Weights, first_weights


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
    the ensemble's headline alpha; with a validation split predictions-best_val: at the alpha of
    its grid that is best there by the data's metric, the smaller of two.
    """
    assert method.ensemble is not None
    loop, first = first_weights(base, data, recipe, seed, folder, machine, start)
    evaluation, ensemble = Evaluation(loop, State()), method.ensemble

    def take(alpha: float) -> None:
        loop.model.load_state_dict(ensemble.merge(first, end, alpha))
        evaluation.changed()

    take(ensemble.alpha)
    write(loop, folder, "last", evaluation.guesses())
    alphas: dict[str, Any] = {"alpha": ensemble.alpha}
    if data.val is not None:
        scores = {}
        for alpha in ensemble.grid:
            take(alpha)
            scores[alpha] = evaluation.score(data.val)
        best = max(scores, key=lambda alpha: (scores[alpha], -alpha))
        take(best)
        write(loop, folder, "best_val", evaluation.guesses())
        alphas |= {"best_val_alpha": best, "scores": [[a, s] for a, s in scores.items()]}
    write_atomic(folder / "ensemble.json", json.dumps(alphas, sort_keys=True).encode())
