"""Training runs: which there are, which are done, and doing the rest in parallel."""

from __future__ import annotations

import functools
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from harness import cache, parallel, records, stages
from harness.compose import compose
from harness.datasets.base import Data
from harness.files import sweep, write_atomic
from harness.places import Place
from harness.types import REAL, DataError, Machine, Method, Recipe, RunSpec, key

POOL_FIELDS = (
    "levels", "pool_seeds", "threshold", "generator", "clip", "steps", "text_guidance", "size_px",
)  # fmt: skip
ONWARD_FIELDS = ("onward", "curriculum_epochs", "mixture")
NEVER = ("run_seeds", "imbalances")  # which runs there are changes none of them


@dataclass(frozen=True)
class Job:
    """One run to do, and the run whose weights it starts from."""

    place: Place
    spec: RunSpec
    start: Job | None

    @property
    def folder(self) -> Path:
        return self.place.runs / key(self.spec)[:16]

    @property
    def name(self) -> str:
        ratio = "" if self.spec.imbalance is None else f" IR{self.spec.imbalance}"
        return f"{self.spec.method}{ratio} seed {self.spec.seed}"

    @property
    def record(self) -> Path:
        """Where the record of this run lies."""
        about = {"method": self.spec.method, "imbalance": self.spec.imbalance}
        about |= {"seed": self.spec.seed, "dataset": self.spec.dataset}
        return records.path(about | {"profile": self.spec.recipe.profile}, self.place.records)

    @property
    def trained(self) -> bool:
        """Whether weights and predictions are there."""
        files = ("weights.safetensors", "predictions-last.parquet", "predictions-oracle.parquet")
        return all((self.folder / name).is_file() for name in files)

    @property
    def recorded(self) -> bool:
        """Whether the record is there, and that of this very run."""
        return self.record.is_file() and records.read(self.record)["key"] == key(self.spec)


def relevant(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with None for what the method's run does not read, so that it changes no key."""
    unused = set(NEVER)
    if not method.needs_pool:
        unused |= set(POOL_FIELDS)
    if method.start is None:
        unused |= set(ONWARD_FIELDS)
    values: dict[str, Any] = {
        f.name: None if f.name in unused else getattr(recipe, f.name) for f in fields(recipe)
    }
    return Recipe(**values)


def plan(
    place: Place, expressions: Sequence[str], imbalances: Sequence[int | None], seeds: Sequence[int]
) -> list[Job]:
    """The jobs of these rows and of the runs they start from, each once, starts first."""
    jobs: dict[str, Job] = {}

    @functools.cache
    def pool_of(imbalance: int | None) -> str:
        found = spectrum(place, imbalance)
        _check_spectrum(place, found, imbalance)
        return stages.pool_key(found, place.scorer)

    for imbalance in imbalances:
        for seed in seeds:
            for expression in expressions:
                _add(jobs, place, expression, imbalance, seed, pool_of)
    return list(jobs.values())


def _add(
    jobs: dict[str, Job],
    place: Place,
    expression: str,
    imbalance: int | None,
    seed: int,
    pool_of: Callable[[int | None], str],
) -> Job:
    method = compose(expression)
    start = None
    if method.start is not None:
        start = _add(jobs, place, method.start, imbalance, seed, pool_of)
    spec = RunSpec(
        dataset=place.module.NAME,
        imbalance=imbalance,
        method=method.expression,
        seed=seed,
        recipe=relevant(place.recipe, method),
        index=stages.load(place, imbalance).index_hash,
        pool=pool_of(imbalance) if method.needs_pool else None,
        start=key(start.spec) if start else None,
    )
    return jobs.setdefault(key(spec), Job(place, spec, start))


def spectrum(place: Place, imbalance: int | None) -> pl.DataFrame:
    """The scored synthetic images of the hard samples at an imbalance ratio."""
    rows = stages.read(place.work / "spectrum.parquet", "harness score")
    mine = _hard(place, imbalance)
    wanted = [round(100 * g) for g in place.recipe.levels]
    seen = rows.filter(
        pl.col("guidance").is_in(wanted), pl.col("seed").is_in(list(place.recipe.pool_seeds))
    )
    return seen.join(mine.select("source"), on="source", how="semi", maintain_order="left")


def _check_spectrum(place: Place, found: pl.DataFrame, imbalance: int | None) -> None:
    """DataError unless these are the images that the recipe asks for now."""
    asked = stages.requests(place).join(_hard(place, imbalance), on="source", how="semi")
    missing = asked.join(found, on="key", how="anti")
    if len(missing) or len(found) > len(asked):
        said = f"{len(missing)} of {len(asked)} synthetic images are not scored"
        raise DataError(f"{said}; `harness generate` and `harness score` do what is missing")


def _hard(place: Place, imbalance: int | None) -> pl.DataFrame:
    hard = stages.read(place.work / "hard.parquet", "harness hard")
    return hard.filter(pl.col("imbalance").eq_missing(pl.lit(imbalance, pl.Int32)))


def run(jobs: Sequence[Job], workers: int | None = None, device: str = "cpu") -> int:
    """Train what is not trained, starts before those that need them; returns how many.

    Runs that are trained and have no record, or an older one, are scored from their predictions.
    """
    parallel.check_device(device)
    for job in jobs:
        if job.trained and not job.recorded:
            records.write(record(job), job.place.records)
    todo = [job for job in jobs if not job.trained]
    machine = Machine(device=device, workers=workers or parallel.cores(), threads=1)
    with tqdm(total=len(todo), desc="train", unit="run", disable=not todo) as bar:
        for wave in _waves(todo):
            work = [(job, machine) for job in wave]
            for (job, _), accuracy in parallel.run(_train, work, machine.workers):
                bar.set_postfix_str(f"{job.name}: {100 * accuracy:.1f} %")
                bar.update()
    return len(todo)


def _waves(todo: Sequence[Job]) -> Iterator[list[Job]]:
    left = {key(job.spec): job for job in todo}
    while left:
        ready = [j for j in left.values() if j.start is None or key(j.start.spec) not in left]
        yield ready
        for job in ready:
            del left[key(job.spec)]


def _train(work: tuple[Job, Machine]) -> float:
    """Train, keep weights and predictions, write the record; last test accuracy."""
    from safetensors.torch import load_file, save

    from harness.train import fit

    job, machine = work
    place, spec = job.place, job.spec
    begun = time.perf_counter()
    sweep(job.folder)
    start = load_file(job.start.folder / "weights.safetensors") if job.start else None
    data = train_data(place, spec.imbalance, spec.pool is not None)
    if machine.workers > 1:
        tqdm.monitor_interval = 0
    weights = fit(
        compose(spec.method), data, spec.recipe, spec.seed, job.folder, machine, start=start
    )
    write_atomic(job.folder / "weights.safetensors", save(weights))
    timing: dict[str, Any] = {"train_s": time.perf_counter() - begun, "threads": machine.threads}
    timing |= {"device": machine.device, "machine": platform.processor() or platform.machine()}
    write_atomic(job.folder / "timing.json", json.dumps(timing, sort_keys=True).encode())
    (job.folder / "checkpoint.pt").unlink(missing_ok=True)
    found = record(job)
    records.write(found, place.records)
    return float(found["selection"]["last"]["overall"])


def record(job: Job) -> dict[str, Any]:
    """Metrics of the stored predictions, as a record; nothing is trained or loaded."""
    place, spec = job.place, job.spec
    counts = stages.load(place, spec.imbalance).counts
    selection, n_test = {}, 0
    for name in records.SELECTIONS:
        predictions = stages.read(job.folder / f"predictions-{name}.parquet", "harness train")
        selection[name] = place.module.metrics(predictions, counts)
        n_test = len(predictions)
    return records.record(spec, selection, counts, n_test)


def train_data(place: Place, imbalance: int | None, with_pool: bool) -> Any:
    """The training loop's view of a data set: rows, pixels, test set and the pool's rows."""
    from harness.train_data import TrainData

    data = stages.load(place, imbalance)
    mine = _hard(place, imbalance)
    rows = data.train.select(
        "image",
        "label",
        pl.lit(REAL, pl.Int16).alias("guidance"),
        pl.col("id").is_in(mine["id"].to_list()).alias("hard"),
        "count",
        pl.lit(None, pl.Float32).alias("score"),
    )
    pool, synthetic = (None, None)
    if with_pool:
        pool, synthetic = _pool_rows(place, data)
    return TrainData(
        rows=rows,
        images=cache.Store(data.train_images, synthetic),
        counts=data.counts,
        test_images=data.test_images,
        test_labels=data.test["label"].to_numpy(),
        test_ids=data.test["id"].to_numpy(),
        mean=place.module.MEAN,
        std=place.module.STD,
        pool=pool,
    )


def _pool_rows(place: Place, data: Data) -> tuple[Any, Any]:
    """Rows of the pool, numbered after the real images, and the mapped pixels they number."""
    index = cache.read_index(place.pool)
    side = data.train_images.shape[1]
    pixels = cache.pixels(place.pool, index, None if side == place.recipe.size_px else side)
    places = index.select("key").with_row_index("place")
    rows = spectrum(place, data.imbalance).join(places, on="key", how="left", maintain_order="left")
    if rows["place"].null_count():
        raise DataError(f"{rows['place'].null_count()} scored images are gone from {place.pool}")
    about = data.train.select("source", "label", "count").unique("source")
    rows = rows.join(about, on="source", maintain_order="left").select(
        (pl.col("place").cast(pl.Int64) + len(data.train)).alias("image"),
        "label",
        "guidance",
        pl.lit(True).alias("hard"),
        "count",
        pl.col("text_score").alias("score"),
    )
    return rows, pixels
