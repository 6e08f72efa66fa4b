"""The stages up to the pool, each a function: index -> hard -> generate -> score -> spectrum.

Every stage leaves one table or folder behind, does only what is missing, and returns its table.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from harness.core import parallel, registry
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.specs import GeneratorSpec, Recipe, key
from harness.datasets import prompts
from harness.datasets.base import Dataset
from harness.datasets.codec import resized
from harness.mini.weights import BUILT_IN
from harness.pipeline.workspace import DATASETS, Workspace
from harness.pool import cache, failures

Judge = Callable[[int | None], np.ndarray]
KINDS = ("spectrum", "edits")  # of synthetic images, as the terms of a method ask for them
EDIT_GUIDANCE = 50  # hundredths; ALIA's strength 0.5
SPECTRUM = ("key", "source", "guidance", "seed", "text_score", "image_score")


# ---------------------------------------------------------------- index and hard samples


def index(workspace: Workspace) -> pl.DataFrame:
    """The training rows of every imbalance ratio; writes work/.../index.parquet.

    Columns imbalance, id, label, classname, count. The built-in profiles first write their data
    set in its official format.
    """
    if workspace.given is None and workspace.recipe.generator == BUILT_IN:
        if not hasattr(workspace.module, "write_built_in"):
            why = "is not part of the built-in world: name the folder of its files by --root"
            raise UsageError(f"{workspace.module.NAME} {why}")
        workspace.module.write_built_in(workspace.data, workspace.profile)
    parts = []
    for imbalance in workspace.imbalances():
        data = load(workspace, imbalance)
        parts.append(
            data.train.select(
                pl.lit(imbalance, pl.Int32).alias("imbalance"),
                "id",
                "label",
                pl.Series("classname", [data.classes[i] for i in data.train["label"]], pl.String),
                "count",
            )
        )
    table = pl.concat(parts)
    _write(workspace.work / "index.parquet", table)
    return table


def load(workspace: Workspace, imbalance: int | None) -> Dataset:
    """The data set at an imbalance ratio, read once per process."""
    return _load(workspace.dataset, str(workspace.data), imbalance, workspace.recipe)


@lru_cache(maxsize=4)
def _load(dataset: str, root: str, imbalance: int | None, recipe: Recipe) -> Dataset:
    data: Dataset = registry.find(DATASETS, dataset).load(Path(root), imbalance, recipe)
    return data


def hard(workspace: Workspace, judge: Judge | None = None) -> pl.DataFrame:
    """The hard samples of every imbalance ratio; writes work/.../hard.parquet.

    index's columns and source, the SHA-256 of the picture's raw bytes. judge: gives p(true class)
    of the training images (N,) at an imbalance ratio where the data set's rule asks for it.
    """
    rows = read(workspace.work / "index.parquet", "harness index")
    parts = []
    for imbalance in workspace.imbalances():
        data = load(workspace, imbalance)
        p_true = judge(imbalance) if judge is not None and workspace.module.HARD_BY else None
        chosen = workspace.module.hard(data, workspace.recipe, p_true)
        sources = pl.Series("source", data.sources(chosen), pl.String)
        mine = rows.filter(pl.col("imbalance").eq_missing(pl.lit(imbalance, pl.Int32)))
        chosen = chosen.select("id").with_columns(sources)
        parts.append(mine.join(chosen, on="id", how="inner", maintain_order="left"))
    table = pl.concat(parts)
    _write(workspace.work / "hard.parquet", table)
    return table


# ---------------------------------------------------------------- generate


def requests(
    workspace: Workspace, kind: str = "spectrum", levels: Iterable[int] | None = None
) -> pl.DataFrame:
    """Every synthetic image of a kind, once however many imbalance ratios share its source.

    levels: see `grid`.
    """
    rows = read(workspace.work / "hard.parquet", "harness hard")
    sources = rows.select("source", "classname").unique(maintain_order=True)
    asked = sources.join(grid(workspace, kind, levels), how="cross")
    names, recipe = asked["classname"].to_list(), workspace.recipe
    if kind == "spectrum":
        seeds, told = asked["seed"], _sentences(workspace, names)
        texts = [
            workspace.module.prompt(n, s, recipe, told) for n, s in zip(names, seeds, strict=True)
        ]
    else:
        edits = edit_texts(workspace)[0]
        texts = [edits[e].format(name=n) for n, e in zip(names, asked["edit"], strict=True)]
    asked = asked.select("source", "classname", "guidance", "seed")
    return cache.request_rows(
        asked.with_columns(pl.Series("prompt", texts, pl.String)), workspace.generator
    )


def _sentences(workspace: Workspace, names: list[str]) -> dict[str, tuple[str, ...]] | None:
    """Scene descriptions by class where a file has them; the built-in generator knows none."""
    if workspace.recipe.generator == BUILT_IN or not workspace.prompts.is_file():
        return None
    return dict(prompts.read(workspace.prompts, set(names), workspace.module.NAME).of)


def grid(workspace: Workspace, kind: str, levels: Iterable[int] | None = None) -> pl.DataFrame:
    """What is made of each source: guidance (hundredths), seed, and for edits which prompt.

    levels: of the spectrum, in hundredths; None takes the recipe's. Edits have one guidance and
    rotate through their prompts, as many per seed as the recipe has levels, so that both kinds cost
    the same.
    """
    recipe = workspace.recipe
    if kind == "spectrum":
        chosen = recipe_levels(recipe) if levels is None else sorted(set(levels))
        cells = [(level, s, 0) for level in chosen for s in recipe.pool_seeds]
    else:
        prompts = edit_texts(workspace)[0]
        cells = [
            (EDIT_GUIDANCE, seed, (number + nth) % len(prompts))
            for number, seed in enumerate(recipe.pool_seeds)
            for nth in range(min(len(recipe.levels), len(prompts)))
        ]
    schema = {"guidance": pl.Int16, "seed": pl.Int32, "edit": pl.Int32}
    return pl.DataFrame(cells, schema=schema, orient="row")


def recipe_levels(recipe: Recipe) -> tuple[int, ...]:
    """Guidance levels of the spectrum that curricula choose from, in hundredths."""
    return tuple(round(100 * g) for g in recipe.levels)


def edit_texts(workspace: Workspace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts of edits, with {name}, and what CLIP compares edits with, the domain's text first.

    UsageError for a data set that has none.
    """
    if not hasattr(workspace.module, "edits"):
        raise UsageError(f"{workspace.module.NAME} has no prompts for edits: `edits` in its file")
    found: tuple[tuple[str, ...], tuple[str, ...]] = workspace.module.edits(workspace.recipe)
    return found


def generate(
    workspace: Workspace,
    workers: int | None = None,
    device: str = "cpu",
    kinds: Sequence[str] = ("spectrum",),
    levels: Iterable[int] | None = None,
) -> int:
    """Make the images of `requests` that the pool lacks; returns how many were made.

    levels: of the spectrum, see `grid`. Each worker takes a shard at a time; a shard appears whole
    or not at all, so an interrupted call loses at most one shard per worker and the next one goes
    on. An image that cannot be made is left out and written down (harness.pool.failures); the next
    call tries it again.
    """
    parallel.check_device(device)
    every = [requests(workspace, kind, levels) for kind in kinds]
    asked = pl.concat(every).unique("key", maintain_order=True)
    if not len(asked):
        raise DataError(
            f"no image of {workspace.module.NAME} is hard: there is nothing to generate"
        )
    shards, made = pending(workspace, asked), 0
    if shards:
        total, workers = sum(len(s.rows) for s in shards), workers or parallel.cores()
        start = (workspace, workspace.generator, workspace.generator_source, device)
        with tqdm(total=total, desc="generate", unit="image", mininterval=1) as bar:
            for shard, n in parallel.run(_make, shards, workers, _start_making, start):
                made += n
                bar.update(len(shard.rows))
    cache.build_index(workspace.pool)
    return made


def pending(workspace: Workspace, asked: pl.DataFrame) -> list[cache.Shard]:
    """Shards still to make; those that failed before come last, in shards of their own.

    So the others are cut as an undisturbed run would have cut them.
    """
    failed = failures.read(workspace.pool, asked_by(workspace)).select("key")
    first = asked.join(failed, on="key", how="anti", maintain_order="left")
    again = asked.join(failed, on="key", how="semi", maintain_order="left")
    return cache.pending(workspace.pool, first, asked_by(workspace)) + cache.plan_shards(again)


def failed(
    workspace: Workspace, kind: str = "spectrum", levels: Iterable[int] | None = None
) -> pl.DataFrame:
    """Images of a kind that could not be made (levels: see `grid`); columns failures.FAILED."""
    asked = requests(workspace, kind, levels).select("key")
    return failures.read(workspace.pool, asked_by(workspace)).join(asked, on="key", how="semi")


def asked_by(workspace: Workspace) -> str:
    """Key of the generator."""
    return key(workspace.generator)


def pictures(workspace: Workspace, sources: Iterable[str], strict: bool = True) -> dict[str, Any]:
    """Source pictures by hash, uint8 (height, width, 3), at the generator's size.

    strict: a picture that cannot be read raises its DataError; else the error stands in its place.
    """
    wanted, recipe = set(sources), workspace.recipe
    found: dict[str, Any] = {}
    rows = read(workspace.work / "hard.parquet", "harness hard")
    for imbalance in workspace.imbalances():
        data = load(workspace, imbalance)
        mine = rows.filter(
            pl.col("imbalance").eq_missing(pl.lit(imbalance, pl.Int32)),
            pl.col("source").is_in(list(wanted - found.keys())),
        ).unique("source", maintain_order=True)
        mine = mine.join(data.train.select("id", "image"), on="id", maintain_order="left")
        ids, images = mine["image"].to_numpy(), data.train_images
        digests = _read(images.digests, ids, strict)
        taken = _read(images.take, ids, strict)
        for source, digest, picture in zip(mine["source"], digests, taken, strict=True):
            unread = [e for e in (digest, picture) if isinstance(e, DataError)]
            if unread:
                found[source] = unread[0]
            elif digest == source:
                found[source] = resized(np.array(picture), recipe.size_px, recipe.height_px)
    if len(found) < len(wanted):
        gone = f"{len(wanted) - len(found)} of {len(wanted)} source pictures"
        raise DataError(
            f"{gone} are not in {workspace.data}; `harness index` and `harness hard` list "
            "what is there"
        )
    return found


def _read(function: Callable[[np.ndarray], Any], ids: np.ndarray, strict: bool) -> Any:
    """function(ids); unless strict, one by one where that fails, with errors in their places."""
    try:
        return function(ids)
    except DataError:
        if strict:
            raise
        return list(_one_by_one(function, ids))


def _one_by_one(function: Callable[[np.ndarray], Any], ids: np.ndarray) -> Iterator[Any]:
    for i in range(len(ids)):
        try:
            yield function(ids[i : i + 1])[0]
        except DataError as error:
            yield error


_worker: dict[str, Any] = {}


def _start_making(workspace: Workspace, spec: GeneratorSpec, source: str, device: str) -> None:
    import torch

    from harness.generation.engine import Generator, load_pipeline

    torch.set_num_threads(1)
    pipeline = load_pipeline(source, getattr(torch, spec.dtype), device)
    compiled = torch.device(device).type == "cuda"
    generator = Generator(pipeline, spec, _source, device, compiled)  # keeps texts and sources
    _worker.update(workspace=workspace, generator=generator, encoders=ThreadPoolExecutor(2))


def _source(name: str) -> np.ndarray:
    """A source picture of the shard that this worker has at hand."""
    picture: np.ndarray | DataError = _worker["pictures"][name]
    if isinstance(picture, DataError):
        raise picture
    return picture


def _make(shard: cache.Shard) -> int:
    """Make a shard; images are encoded by threads of their own while the next ones are denoised."""
    from harness.generation.engine import Failed, Request

    workspace, generator, encoders = (
        _worker[name] for name in ("workspace", "generator", "encoders")
    )
    _worker["pictures"] = pictures(workspace, shard.rows["source"].unique(), strict=False)
    spec: GeneratorSpec = generator.spec
    columns = ("key", "source", "guidance", "seed", "prompt")
    asked = [Request(*row) for row in shard.rows.select(columns).rows()]
    images, reasons = {}, {}
    for request, image in generator.images(asked):
        if isinstance(image, Failed):
            reasons[request.key] = image.reason
        else:
            images[request.key] = encoders.submit(cache.encode, image, spec.codec)
    kept = cache.plan_shards(shard.rows.filter(pl.col("key").is_in(list(images))))
    if reasons:
        rest = kept[0] if kept else None
        failures.write(workspace.pool, shard, reasons, rest, key(spec))
    for whole in kept:
        in_order = [images[k].result() for k in whole.keys]
        cache.write_shard(workspace.pool, whole, whole.rows, in_order, spec)
    return len(images)


# ---------------------------------------------------------------- score


def score(
    workspace: Workspace,
    device: str = "cpu",
    kind: str = "spectrum",
    levels: Iterable[int] | None = None,
) -> int:
    """Score the pool's images that have none; writes work/.../<kind>.parquet (SPECTRUM).

    levels: of the spectrum, that have to be there (see `grid`); others that are there stay in the
    table. Raw CLIPScores: image and text, image and source. Thresholds are applied when training
    reads.
    The text score of edits is their lead: similarity to the domain's text less the largest one to
    the texts of other things.
    """
    parallel.check_device(device)
    asked, made = requests(workspace, kind, levels), cache.read_index(workspace.pool)
    missing = failures.outstanding(asked, made, failed(workspace, kind, levels))
    if len(missing):
        gone = f"{len(missing)} of {len(asked)} images are not in {workspace.pool}"
        raise DataError(f"{gone}; `harness generate` makes them")
    known = requests(workspace, kind, made["guidance"].unique())
    rows = made.join(known, on="key", how="semi", maintain_order="left")
    name = scorer(workspace, kind)
    scores = cache.read_scores(workspace.pool, name)
    todo = rows if scores is None else rows.join(scores, on="key", how="anti")
    if len(todo):
        scores = cache.write_scores(workspace.pool, name, _scores(workspace, todo, device, kind))
    assert scores is not None
    table = rows.join(scores, on="key", maintain_order="left").select(SPECTRUM).sort("key")
    _write(workspace.work / f"{kind}.parquet", table)
    return len(todo)


def scorer(workspace: Workspace, kind: str) -> str:
    """What the scores of a kind of images are filed under."""
    return workspace.scorer if kind == "spectrum" else f"{workspace.scorer}-{kind}"


def _scores(workspace: Workspace, rows: pl.DataFrame, device: str, kind: str) -> pl.DataFrame:
    from harness.generation.clip_scores import Scorer, cosine

    scorer = Scorer(*workspace.clip_source, device=device)
    names = rows["classname"].unique().sort().to_list()
    texts = dict(
        zip(names, scorer.texts([workspace.module.score_prompt(n) for n in names]), strict=True)
    )
    domain = scorer.texts(list(edit_texts(workspace)[1])) if kind == "edits" else None
    real_ones = pictures(workspace, rows["source"].unique())
    sources = list(real_ones)
    vectors = scorer.images(np.stack([real_ones[s] for s in sources]))
    originals = dict(zip(sources, vectors, strict=True))
    parts = []
    with tqdm(total=len(rows), desc="score", unit="image", mininterval=1) as bar:
        for part in rows.iter_slices(1024):
            pixels = [cache.decode(data) for data in cache.read_bytes(workspace.pool, part)]
            seen = scorer.images(np.stack(pixels))
            said = np.stack([texts[n] for n in part["classname"]])
            real = np.stack([originals[s] for s in part["source"]])
            said_score = cosine(seen, said) if domain is None else _lead(seen @ domain.T)
            text, image = pl.Series(said_score), pl.Series(cosine(seen, real))
            parts.append(part.select("key", text_score=text, image_score=image))
            bar.update(len(part))
    return pl.concat(parts)


def _lead(similarity: np.ndarray) -> np.ndarray:
    """(N, K) -> (N,): the first text's similarity less the largest of the others."""
    return similarity[:, 0] - similarity[:, 1:].max(axis=1)


# ---------------------------------------------------------------- tables on disk


def read(path: Path, maker: str) -> pl.DataFrame:
    """A stage's table; DataError that names the command which makes it when it is not there."""
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path} is not there yet; `{maker}` makes it") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read ({error}); `{maker}` makes it anew") from error


def _write(path: Path, table: pl.DataFrame) -> None:
    out = io.BytesIO()
    table.write_parquet(out)
    write_atomic(path, out.getbuffer())


def pool_key(spectrum: pl.DataFrame, scorer: str) -> str:
    """SHA-256 over the images and their scores that a run may read."""
    digest = hashlib.sha256(scorer.encode())
    for row in spectrum.select(SPECTRUM).sort("key").iter_rows():
        digest.update(("\n" + " ".join(map(str, row))).encode())
    return digest.hexdigest()
