"""The data set card of an export: README.md with the metadata that a hub reads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from harness.core.guidance import level_text
from harness.core.metrics import GROUPS, RULES
from harness.core.specs import GeneratorSpec, key, plain

RULE = "A"  # of the class ranges
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
COLUMNS = {
    "image": "the synthetic image",
    "key": "SHA-256 over generator, source, guidance, seed and prompt: the image's identity",
    "source": "SHA-256 of the source picture's raw bytes",
    "classname": "class name",
    "label": "class as an integer, that of the source data set",
    "guidance": "image-guidance level in [0, 1]: 0 is text only, 1 would be the source itself",
    "seed": "seed of the image's noise",
    "prompt": "text that the generator was given",
    "text_score": "CLIPScore with the class's text, in [-1, 1]; null if unscored (of the edits of "
    "ALIA: similarity with the domain's text less the largest with the texts of other things)",
    "image_score": "CLIPScore with the source picture, in [-1, 1]; null if unscored",
}
USE = {
    "files": "`load_dataset('imagefolder', data_dir=FOLDER)` and `torchvision.datasets.ImageFolder("
    "FOLDER)` read this folder; a class's folder is its label, `metadata.csv` has the columns. In "
    "it, a text that starts with one of `=+-@'` has an apostrophe in front, as spreadsheets expect",
    "webdataset": "`webdataset.WebDataset` and `load_dataset(FOLDER)` read the tar files; the "
    "columns are in the JSON member of each sample",
    "hf": "`load_dataset(FOLDER)` reads this folder",
}
FILES = {"webdataset": "*.tar", "hf": "data/train-*"}


@dataclass(frozen=True)
class Provenance:
    """Where exported images are from."""

    dataset: str
    profile: str
    generator: GeneratorSpec
    scorer: str  # CLIP model of the scores, with its digest
    threshold: float  # CLIPScore from which training uses an image
    class_sizes: Mapping[int, int]  # training images by label
    licences: tuple[str, ...]  # SPDX identifiers in lower case; none: those of the source data set
    licence: str  # sentences about it, Markdown


def render(
    images: pl.DataFrame, origin: Provenance, format: str, types: Mapping[str, str], ending: str
) -> str:
    """The card of index rows with label, text_score and image_score, exported in a format.

    types: of the columns, as Arrow names them. ending: of the image files.
    """
    title = f"Synthetic images for {origin.dataset}, profile {origin.profile}"
    classes = images["label"].n_unique()
    parts = [
        f"---\n{_front_matter(title, images, origin, format, types, ending)}---\n\n# {title}",
        f"{len(images):,} images of {classes} classes, made by image-guided diffusion from "
        f"{images['source'].n_unique():,} hard training images of {origin.dataset} with the "
        f"harness of DisCL ([arXiv:2410.13674](https://arxiv.org/abs/2410.13674)). {USE[format]}.",
        f"## Licence\n\n{origin.licence}",
        f"## Columns\n\n{_columns(types)}",
        f"## Generator\n\nDigest: `{key(origin.generator)}`\n\n{_fields(origin.generator)}",
        f"## Scores\n\nScoring model: `{origin.scorer}`. Training uses images whose `text_score` "
        f"is at least {origin.threshold:g}; no image is left out here.",
        f"## Images per guidance level\n\n{_by_level(images, origin.threshold)}",
        f"## Images per class range\n\nRanges of training images per class.\n\n"
        f"{_by_range(images, origin)}",
    ]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- front matter


def _front_matter(
    title: str,
    images: pl.DataFrame,
    origin: Provenance,
    format: str,
    types: Mapping[str, str],
    ending: str,
) -> str:
    from ruamel.yaml import YAML

    about: dict[str, Any] = {"pretty_name": title, "license": list(origin.licences)}
    if not origin.licences:
        about |= {"license": "other", "license_name": "as-the-source-data-set"}
    about["task_categories"] = ["image-classification"]
    about["tags"] = ["synthetic", "diffusion", "long-tailed", origin.dataset]
    about["size_categories"] = [_size(len(images))]
    if format in FILES:
        files = [{"split": "train", "path": FILES[format]}]
        about["configs"] = [{"config_name": "default", "data_files": files}]
    if format == "webdataset":  # else inferred from the first samples, whose scores may be null
        about["dataset_info"] = {"features": _features(types, ending)}
    out = io.StringIO()
    YAML().dump(about, out)
    return out.getvalue()


def _size(n: int) -> str:
    return next((name for most, name in SIZES if n < most), "n>1M")


def _features(types: Mapping[str, str], ending: str) -> list[dict[str, Any]]:
    columns = [{"name": name, "dtype": dtype} for name, dtype in types.items()]
    return [
        {"name": ending, "dtype": "image"},
        {"name": "json", "struct": columns},
        *({"name": name, "dtype": "string"} for name in ("__key__", "__url__")),
    ]


# ---------------------------------------------------------------- tables


def _columns(types: Mapping[str, str]) -> str:
    rows = [(f"`{n}`", types.get(n, "image"), COLUMNS[n]) for n in ("image", *types)]
    return _grid(("column", "type", "content"), rows)


def _fields(generator: GeneratorSpec) -> str:
    rows = [(f"`{name}`", f"`{value}`") for name, value in plain(generator).items()]
    return _grid(("field", "value"), rows)


def _by_level(images: pl.DataFrame, threshold: float) -> str:
    passing = (pl.col("text_score") >= threshold).sum().alias("passing")
    table = images.group_by("guidance").agg(*_figures(), passing).sort("guidance")
    rows = [
        (level_text(level), f"{n:,}", _mean(text), _mean(image), f"{above:,}")
        for level, n, text, image, above in table.iter_rows()
    ]
    head = ("guidance", "images", "mean text_score", "mean image_score", f"from {threshold:g}")
    return _grid(head, rows)


def _by_range(images: pl.DataFrame, origin: Provenance) -> str:
    rule = RULES[RULE]
    group = {label: rule.group(n) for label, n in origin.class_sizes.items()}
    labels = pl.col("label").replace_strict(group, return_dtype=pl.Int8).alias("group")
    counts = [pl.col("label").n_unique().alias("classes"), *_figures()]
    table = images.group_by(labels).agg(counts).sort("group")
    spans = [text.strip() for text in rule.says.split("/")]
    rows = [
        (GROUPS[g], spans[g], str(classes), f"{n:,}", _mean(text), _mean(image))
        for g, classes, n, text, image in table.iter_rows()
    ]
    head = ("range", "training images", "classes", "images", "mean text_score", "mean image_score")
    return _grid(head, rows)


def _figures() -> list[pl.Expr]:
    return [pl.len().alias("images"), pl.mean("text_score"), pl.mean("image_score")]


def _mean(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    from tabulate import tabulate

    return tabulate(rows, head, "github", disable_numparse=True)
