"""The training loop: one for all methods, resumable, the same bits every time on a CPU."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from harness import augment, backbones, checkpoint, lookup, predict
from harness.checkpoint import State
from harness.files import write_atomic
from harness.mixture import hundredths
from harness.optim import learning_rate, optimiser
from harness.train_data import TrainData
from harness.types import (
    REAL,
    DataError,
    Machine,
    Method,
    Progress,
    Recipe,
    Schedule,
    UsageError,
    key,
)

__all__ = ["Run", "TrainData", "fit"]

Weights = dict[str, Tensor]
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Run:
    """What stays the same from epoch to epoch."""

    method: Method
    data: TrainData
    recipe: Recipe
    schedule: Schedule
    seed: int
    levels: tuple[int, ...]
    mean: Tensor
    std: Tensor


def fit(
    method: Method,
    data: TrainData,
    recipe: Recipe,
    seed: int,
    folder: Path,
    machine: Machine,
    start: Weights | None = None,
    watch: Watch | None = None,
    save_s: float = 10.0,
) -> Weights:
    """Train, and return the weights after the last epoch (CPU tensors).

    start: weights to go on from, then with the recipe's `onward` schedule; random ones otherwise.
    watch: called after every epoch with epoch, epochs, levels, images, lr, loss, accuracy, train_s.
    folder gets checkpoint.pt (about every save_s seconds; a second call goes on from it and ends
    with the same bits), epochs.jsonl, predictions-last.parquet and predictions-oracle.parquet
    (id, label, prediction, p_true; oracle: the epoch with the best test accuracy, the earlier of
    two). Raises UsageError, and DataError for unusable tables, a loss that is not finite, a folder
    that cannot be written and a checkpoint of another run.
    """
    _check(method, seed, start)
    torch.set_num_threads(machine.threads)
    schedule = recipe.scratch if start is None else recipe.onward
    mean, std = (torch.tensor(values, device=machine.device) for values in (data.mean, data.std))
    levels = hundredths(recipe.levels, "recipe.levels") if recipe.levels else (REAL,)
    run = Run(method, data, recipe, schedule, seed, levels, mean, std)
    what = [method.expression, key(recipe), seed, data.rows, data.pool, data.test_ids, start]
    name = checkpoint.fingerprint(what)
    with torch.random.fork_rng(devices=[] if machine.device == "cpu" else None):
        state = _begin(run, machine, start)
        checkpoint.restore(folder / "checkpoint.pt", state, name)
        _write_history(folder, state)  # also tells now whether the folder can be written
        _epochs(run, state, folder, name, watch, save_s)
        _write_predictions(run, state, folder)
    return {k: v.detach().cpu().clone().contiguous() for k, v in state.model.state_dict().items()}


def _begin(run: Run, machine: Machine, start: Weights | None) -> State:
    _, generator = _randomness(run.seed, 0)
    build = lookup.function(backbones, run.recipe.backbone)
    model = build(len(run.data.counts), width=run.recipe.width, generator=generator)
    if start is not None:
        try:
            model.load_state_dict(start)
        except RuntimeError as error:
            why = " ".join(str(error).split())[:300]
            raise DataError(f"start weights do not fit {run.recipe.backbone}: {why}") from error
    model = model.to(machine.device, memory_format=torch.channels_last)
    for hook in run.method.augment:
        hook.start(model, run.data)
    return State(model, optimiser(model.parameters(), run.schedule))


# ---------------------------------------------------------------- epochs


def _epochs(
    run: Run, state: State, folder: Path, name: str, watch: Watch | None, save_s: float
) -> None:
    saved = time.monotonic()
    while state.epoch < run.schedule.epochs:
        begun = time.monotonic()
        rng, generator = _randomness(run.seed, 1 + state.epoch)
        rows = _rows(run, state, rng)
        loss = _train(run, state, rows, rng, generator)
        train_s = time.monotonic() - begun
        accuracy = _test(run, state)
        lr = learning_rate(run.schedule, state.epoch, 0, 1)
        entry = {
            "epoch": state.epoch,
            "levels": [level / 100 for level in state.memory["levels"]],
            "images": rows.height,
            "lr": lr,
            "loss": loss,
            "accuracy": accuracy,
        }
        state.history.append(entry)
        state.epoch += 1
        done = state.epoch == run.schedule.epochs
        if done or time.monotonic() - saved >= save_s:
            checkpoint.save(folder / "checkpoint.pt", state, name)
            _write_history(folder, state)
            saved = time.monotonic()
        if watch is not None:
            watch({**entry, "epochs": run.schedule.epochs, "train_s": train_s})


def _rows(run: Run, state: State, rng: np.random.Generator) -> pl.DataFrame:
    """Rows of this epoch. The levels chosen are in `progress.state["levels"]` for the hooks."""
    progress = Progress(
        epoch=state.epoch,
        epochs=run.schedule.epochs,
        curriculum_epochs=run.recipe.curriculum_epochs,
        levels=run.levels,
        rng=rng,
        recipe=run.recipe,
        at=lambda levels: _at(run.data, levels),
        probe=lambda rows: _probe(run, state.model, rows),
        state=state.memory,
    )
    chosen = run.method.curriculum.levels(progress) if run.method.curriculum else ()
    state.memory["levels"] = list(chosen)
    rows = run.data.rows
    for hook in run.method.augment:
        rows = hook.rows(rows, progress)
    if rows.height < 2:
        raise DataError(f"epoch {state.epoch} has {rows.height} images; it takes two or more")
    return rows


def _train(
    run: Run,
    state: State,
    rows: pl.DataFrame,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> float:
    """One pass over the rows in random order; mean loss. DataError when that is not finite."""
    order = rng.permutation(rows.height)
    images, labels = rows["image"].to_numpy()[order], rows["label"].to_numpy()[order]
    device, model, objective = run.mean.device, state.model.train(), run.method.objective
    change = lookup.function(augment, run.recipe.augment)
    prior = _prior(run, labels).to(device)
    batches = list(_batches(rows.height, run.schedule.batch))
    total = torch.zeros((), device=device)
    for index, part in enumerate(batches):
        lr = learning_rate(run.schedule, state.epoch, index, len(batches))
        for group in state.optimiser.param_groups:
            group["lr"] = lr
        pixels = torch.from_numpy(run.data.images.take(images[part])).to(device)
        x = predict.normalise(change(pixels, generator), run.mean, run.std)
        y = torch.from_numpy(labels[part]).to(device, torch.int64)
        z = model.encoder(x)  # (B, D)
        for hook in run.method.augment:
            z, y = hook.features(z, y)
        loss = objective.loss(model, z, y, prior)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        state.optimiser.step()
        total += loss.detach() * (part.stop - part.start)
    mean = float(total) / rows.height
    if not np.isfinite(mean):
        peak = learning_rate(run.schedule, state.epoch, 0, 1)
        raise DataError(f"the loss of epoch {state.epoch} is {mean} at learning rate {peak:g}")
    return mean


def _test(run: Run, state: State) -> float:
    """Test accuracy; keeps the predictions when they are the best so far."""
    guesses, p_true = _predictions(run, state.model)
    if not np.isfinite(p_true).all():
        lr = learning_rate(run.schedule, state.epoch, 0, 1)
        raise DataError(f"epoch {state.epoch} left weights not finite, at learning rate {lr:g}")
    correct = int((guesses == run.data.test_labels).sum())
    if state.oracle is None or correct > state.oracle["correct"]:
        state.oracle = {
            "epoch": state.epoch,
            "correct": correct,
            "prediction": torch.from_numpy(guesses),
            "p_true": torch.from_numpy(p_true),
        }
    return correct / len(guesses)


# ---------------------------------------------------------------- parts of an epoch


def _randomness(seed: int, part: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators of the start (part 0) or of epoch part - 1, and PyTorch's global one with them."""
    first, second, third = np.random.SeedSequence((seed, part)).generate_state(3, np.uint64)
    torch.manual_seed(int(third) >> 1)
    return np.random.default_rng(first), torch.Generator().manual_seed(int(second) >> 1)


def _batches(n: int, size: int) -> Iterator[slice]:
    """Slices of `size`; the rest is a batch too, but a rest of 1 joins the one before it, because
    batch norm cannot train on a single 1x1 map.
    """
    first = 0
    while first < n:
        last = n if n - first - size in (0, 1) else min(first + size, n)
        yield slice(first, last)
        first = last


def _prior(run: Run, labels: np.ndarray) -> Tensor:
    """Class shares (C,): of the real images, or of the epoch if the objective's `counts` say so."""
    counts: Sequence[int] | np.ndarray = run.data.counts
    if getattr(run.method.objective, "counts", "real") == "epoch":
        counts = np.bincount(labels, minlength=len(counts))
    shares = torch.tensor(counts, dtype=torch.float32)
    return shares / shares.sum()


def _at(data: TrainData, levels: Sequence[int]) -> pl.DataFrame:
    """Hard rows at these guidance levels, in hundredths."""
    parts = [data.rows.filter(data.rows["hard"])] if REAL in levels else []
    if data.pool is not None:
        wanted = [level for level in levels if level != REAL]
        parts.append(data.pool.filter(pl.col("guidance").is_in(wanted)))
    return pl.concat(parts) if parts else data.rows.clear()


def _probe(run: Run, model: Any, rows: pl.DataFrame) -> np.ndarray:
    images, labels = rows["image"].to_numpy(), rows["label"].to_numpy()
    take = run.data.images.take
    return predict.true_class(
        model, run.method.objective, lambda part: take(images[part]), labels, run.mean, run.std
    )[1]


def _predictions(run: Run, model: Any) -> tuple[np.ndarray, np.ndarray]:
    images, labels = run.data.test_images, run.data.test_labels
    return predict.true_class(
        model, run.method.objective, lambda part: images[part], labels, run.mean, run.std
    )


# ---------------------------------------------------------------- files and checks


def _write_history(folder: Path, state: State) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in state.history)
    write_atomic(folder / "epochs.jsonl", lines.encode())


def _write_predictions(run: Run, state: State, folder: Path) -> None:
    last = _predictions(run, state.model)
    found = {"last": last}
    if state.oracle is not None:
        found["oracle"] = (state.oracle["prediction"].numpy(), state.oracle["p_true"].numpy())
    for name, (guesses, p_true) in found.items():
        table = predict.table(run.data.test_ids, run.data.test_labels, guesses, p_true)
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        write_atomic(folder / f"predictions-{name}.parquet", buffer.getbuffer())


def _check(method: Method, seed: int, start: Weights | None) -> None:
    if seed < 0:
        raise UsageError(f"seed {seed}; expected 0 or more")
    if method.start is not None and start is None:
        raise UsageError(
            f"{method.expression} starts from the weights of {method.start}; give them"
        )
    if method.finetune is not None:
        raise UsageError(f"{method.expression}: this loop knows no phases of fine-tuning yet")
