"""Synthetic images with their labels as a map-style dataset, from a pool or an export of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from harness.api.functions import pairs
from harness.core.errors import UsageError
from harness.core.guidance import REAL
from harness.pipeline.request import Choices, resolve

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from harness.pipeline.workspace import Workspace

ROW = ("key", "source", "classname", "label", "guidance", "seed", "prompt")


class Item(TypedDict):
    """One synthetic image. A score is NaN where there is none, so that items can be batched."""

    image: np.ndarray  # uint8 (H, W, 3)
    label: int
    classname: str
    guidance: float  # in [0, 1]
    seed: int
    prompt: str
    text_score: float  # CLIPScores, in [-1, 1]
    image_score: float


class LabelledPool:
    """A map-style dataset, as `torch.utils.data.DataLoader` takes it; pool[i] is an Item.

    table: a row per image, in the order of the items: key, source, classname, label, guidance (in
    [0, 1]), seed, prompt, text_score, image_score (null where there is none). classes: names by
    label. Images are read and decoded when an item is taken.
    """

    def __init__(self, table: pl.DataFrame, images: Any, classes: Mapping[int, str]) -> None:
        self.classes = dict(classes)
        self.images = images
        self.table = table if "number" in table.columns else table.with_row_index("number")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> Item:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        row = self.table.row(int(i), named=True)
        nan = float("nan")
        return {
            "image": self.images[row["number"]],
            "label": row["label"],
            "classname": row["classname"],
            "guidance": row["guidance"],
            "seed": row["seed"],
            "prompt": row["prompt"],
            "text_score": nan if row["text_score"] is None else row["text_score"],
            "image_score": nan if row["image_score"] is None else row["image_score"],
        }

    def where(self, *conditions: pl.Expr) -> LabelledPool:
        """The images whose row fulfils all conditions, such as `pl.col("text_score") > 0.3`."""
        return LabelledPool(self.table.filter(*conditions), self.images, self.classes)

    def _repr_html_(self) -> str:
        html: str = self.table.drop("number")._repr_html_()
        return html


def open_pool(
    source: str | Path,
    *,
    profile: str = "mini",
    home: str | Path = ".",
    root: str | Path | None = None,
    params: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    scorer: str | None = None,
) -> LabelledPool:
    """The synthetic images of a data set, of a pool's folder, or of an export's folder.

    source: a data set's name: the images of its hard samples by the recipe's generator, with the
    data set's labels. An export: all its images, with its labels. A pool's folder: all its images,
    which are by one generator; labels number the class names in their order.
    scorer: of a pool's folder with scores of several models: whose. The others: see `compare`.
    UsageError for what is neither; DataError for files that are missing or damaged.
    """
    from harness.core import registry
    from harness.pipeline.workspace import DATASETS

    folder = Path(source)
    names = registry.names(DATASETS)
    known = str(source).strip().lower().replace("_", "-") in {name.lower() for name in names}
    if isinstance(source, Path) or (folder.is_dir() and not known):
        return _of_folder(folder, scorer)
    if not known:
        hint = registry.nearest(str(source), names)
        raise UsageError(f"{str(source)!r} is neither a folder nor a data set{hint}")
    choices = Choices(
        str(source), profile=profile, home=Path(home), overrides=pairs(set),
        root=None if root is None else Path(root), params=None if params is None else Path(params),
    )  # fmt: skip
    return _of_workspace(resolve(choices).workspace)


def labelled_images(workspace: Workspace) -> pl.DataFrame:
    """Rows of the pool's index by the recipe's generator that are of the hard samples.

    With label, count (training images of the class), text_score and image_score, null where an
    image has none.
    """
    import polars as pl

    from harness.pipeline import stages
    from harness.pool import cache

    hard = stages.read(workspace.work / "hard.parquet", "harness hard")
    counts = hard.select("label", "count").unique("label")
    images = stages.pool_index(workspace)
    labels = pl.concat(_labels(workspace, tuple(images["guidance"].unique())))
    labels = labels.unique().sort("key", "label").join(counts, on="label", how="left")
    images = images.join(labels, on="key", how="inner", maintain_order="left_right")
    scorers = [stages.scorer(workspace, kind) for kind in stages.KINDS]
    return _scored(images, [cache.read_scores(workspace.pool, name) for name in scorers])


def _of_workspace(workspace: Workspace) -> LabelledPool:
    from harness.pipeline import stages
    from harness.pool.reader import Pool

    images = labelled_images(workspace)
    index = stages.read(workspace.work / "index.parquet", "harness index")
    pairs = index.select("label", "classname").unique().sort("label").rows()
    reader = Pool(workspace.pool, images, workers=1)
    return LabelledPool(_with_fractions(images), reader, dict(pairs))


def _labels(workspace: Workspace, levels: tuple[int, ...]) -> Iterator[pl.DataFrame]:
    """Key and label of the images that are asked for at these levels, by kind."""
    from harness.pipeline import stages

    for kind in stages.KINDS:
        try:
            requests = stages.labelled_requests(workspace, stages.PoolPart(kind, levels))
        except UsageError:  # there are no prompts for edits of this data set
            continue
        yield requests.select("key", "label")


def _of_folder(folder: Path, scorer: str | None) -> LabelledPool:
    from harness.api.exports import is_export, open_export
    from harness.pool import cache
    from harness.pool.reader import Pool

    if is_export(folder):
        table, images = open_export(folder)
        pairs = table.select("label", "classname").unique().sort("label").rows()
        return LabelledPool(table, images, dict(pairs))
    if not (folder / "images").is_dir():
        raise UsageError(f"{folder} is neither a pool nor an export of one")
    index = cache.read_index(folder)
    if index["generator"].n_unique() > 1:
        raise UsageError(
            f"{folder} holds images by several generators: open it by the data set's name, "
            "which takes those of the recipe's"
        )
    names = index["classname"].unique().sort().to_list()
    labels = dict(enumerate(names))
    numbers = index["classname"].replace_strict(names, list(labels)).alias("label")
    index = _scored(index.with_columns(numbers), [_only_scores(folder, scorer)])
    return LabelledPool(_with_fractions(index), Pool(folder, index, workers=1), labels)


def _only_scores(pool: Path, scorer: str | None) -> pl.DataFrame | None:
    """Scores of the model named, or of the only one there; None where there are none."""
    from harness.pool import cache

    if scorer is not None:
        scores = cache.read_scores(pool, scorer)
        if scores is None:
            raise UsageError(f"{pool} has no scores of {scorer!r}")
        return scores
    files = sorted(pool.glob("scores-*.parquet"))
    if len(files) > 1:
        names = ", ".join(file.stem.removeprefix("scores-") for file in files)
        raise UsageError(f"{pool} has scores of several models ({names}): name one by scorer=")
    return cache.read_scores(pool, files[0].stem.removeprefix("scores-")) if files else None


def _scored(images: pl.DataFrame, scores: Sequence[pl.DataFrame | None]) -> pl.DataFrame:
    """Images with text_score and image_score, of the first table that has some."""
    import polars as pl

    names = ("text_score", "image_score")
    table = images.with_columns(pl.lit(None, pl.Float32).alias(name) for name in names)
    for some in scores:
        if some is not None:
            table = table.join(some, on="key", how="left", maintain_order="left", suffix=" new")
            table = table.with_columns(pl.coalesce(name, f"{name} new") for name in names)
            table = table.drop(f"{name} new" for name in names)
    return table


def _with_fractions(images: pl.DataFrame) -> pl.DataFrame:
    """ROW and the scores of images, guidance in [0, 1]."""
    import polars as pl

    table = images.with_columns(pl.col("guidance") / REAL)
    return table.select(*ROW, "text_score", "image_score")
