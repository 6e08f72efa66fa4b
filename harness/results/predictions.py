"""What a run predicted for every test image, as text small enough for its record.

Of each split: `images`, how many there are of each label; `ids`, a digest that says which ones; and
by selection ("last", ...) the predictions in the order of (label, id), as base64 of one byte per
image, two (little-endian) where there are more than 256 classes. Labels follow from `images`.
Where the data set knows the locations of its test images, `locations` has the number of each
image's location within the split, from 0, in the same order and coded likewise. A selection whose
looks see only some of a split's images has its own `images`, `ids` and `locations`, under its name
in `parts`. Nothing is compressed, because compressors differ in their bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

_OTHER = ("images", "ids", "locations", "parts")  # what else is kept of a split


def pack(
    predictions: Mapping[str, pl.DataFrame],
    classes: int,
    splits: Mapping[str, pl.DataFrame] | None = None,
) -> dict[str, dict[str, Any]]:
    """By split: images, ids, locations where there are any, and the predictions by selection.

    predictions: by selection, with columns split, id, label, prediction; the first one's are of all
    images. splits: the test images (id, location) by split, see harness.datasets.base.Split.
    DataError for selections of other images, and for labels or predictions outside 0..classes-1.
    """
    by_split: dict[str, dict[str, Any]] = {}
    for selection, table in predictions.items():
        for (split,), part in sorted(table.group_by("split"), key=lambda pair: str(pair[0])):
            part = part.sort("label", "id")
            about, text = _pack(part, classes)
            if splits is not None:
                about |= _packed_locations(part, splits[str(split)])
            entry = by_split.setdefault(str(split), dict(about))
            if entry["ids"] != about["ids"]:
                first = next(iter(predictions.values()))
                if part.join(first, on=("split", "id", "label"), how="anti").height:
                    raise DataError(f"predictions of split {split}: {selection} has other images")
                entry.setdefault("parts", {})[selection] = about
            entry[selection] = text
    return by_split


def _packed_locations(rows: pl.DataFrame, images: pl.DataFrame) -> dict[str, str]:
    """{"locations": text} of the rows; nothing where an image has no known location."""
    if "location" not in images.columns:
        return {}
    known = rows.select("id").join(images, on="id", how="left", maintain_order="left")["location"]
    if known.null_count():
        return {}
    codes = known.rank("dense").to_numpy() - 1
    text = base64.b64encode(codes.astype(_width(known.n_unique())).tobytes()).decode()
    return {"locations": text}


def _pack(rows: pl.DataFrame, classes: int) -> tuple[dict[str, Any], str]:
    import numpy as np

    labels, predicted = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    for name, values in (("label", labels), ("prediction", predicted)):
        if values.min() < 0 or values.max() >= classes:
            wrong = values[(values < 0) | (values >= classes)][0]
            raise DataError(f"predictions: {name} {wrong} found, expected 0..{classes - 1}")
    pairs = zip(rows["id"].to_list(), labels.tolist(), strict=True)
    digest = hashlib.sha256("".join(f"{i} {y}\n" for i, y in pairs).encode()).hexdigest()
    images = np.bincount(labels, minlength=classes).tolist()
    text = base64.b64encode(predicted.astype(_width(classes)).tobytes()).decode()
    return {"images": images, "ids": digest[:16]}, text


def unpack(record: Mapping[str, Any], split: str, selection: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions (N,) int64 of a record, in the order of (label, id).

    UsageError for a split or selection that it lacks; DataError for damaged predictions.
    """
    import numpy as np

    some = of_split(record, split, selection)
    if selection not in some or selection in _OTHER:
        known = ", ".join(sorted(some.keys() - set(_OTHER)))
        raise UsageError(f"no selection {selection!r} of {_run(record)}; there are {known}")
    images = np.asarray(some["images"])
    predicted = _decoded(some[selection], _width(len(images)), f"{_run(record)}: {split}")
    if len(predicted) != images.sum() or (predicted >= len(images)).any():
        raise DataError(
            f"damaged predictions of {_run(record)}: {split}: {len(predicted)} of {images.sum()} "
            f"images and {len(images)} classes"
        )
    return np.repeat(np.arange(len(images)), images), predicted


def locations(record: Mapping[str, Any], split: str, selection: str = "last") -> np.ndarray | None:
    """Location of each image (N,) int64, 0..G-1, in the order of `unpack`; None where unknown.

    DataError for damaged ones.
    """
    some = of_split(record, split, selection)
    if "locations" not in some:
        return None
    where, total = f"{_run(record)}: locations of {split}", sum(some["images"])
    codes = _decoded(some["locations"], "u1", where)
    if len(codes) == 2 * total:  # more than 256 locations
        codes = _decoded(some["locations"], "<u2", where)
    if len(codes) != total:
        raise DataError(f"damaged predictions of {where}: {len(codes)} of {total} images")
    return codes


def _decoded(text: str, width: str, where: str) -> np.ndarray:
    import numpy as np

    try:
        return np.frombuffer(base64.b64decode(text, validate=True), width).astype(np.int64)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"damaged predictions of {where} ({error})") from error


def of_split(record: Mapping[str, Any], split: str, selection: str = "last") -> dict[str, Any]:
    """What a record keeps of a split; UsageError names those there are.

    `images` and `ids` are of the images that this selection's predictions are of.
    """
    packed: dict[str, dict[str, Any]] = record["predictions"]
    if split not in packed:
        known = ", ".join(packed) or "none"
        raise UsageError(f"no predictions of split {split!r} of {_run(record)}; there are {known}")
    some = packed[split]
    return {**some, **some.get("parts", {}).get(selection, {})}


def fault(packed: Any) -> str | None:
    """What is wrong with the predictions of a record, in words; their bytes are not looked at."""
    if not isinstance(packed, Mapping):
        return f"predictions are {packed!r:.60}"
    for split, some in packed.items():
        if not isinstance(some, Mapping) or not isinstance(some.get("images"), list):
            return f"predictions of {split!r} are not of any images"
        parts = some.get("parts", {})
        if not isinstance(parts, Mapping) or not all(map(_is_part, parts.values())):
            return f"predictions of {split!r} are of parts that are none"
        if any(not isinstance(some[name], str) for name in some.keys() - {"images", "parts"}):
            return f"predictions of {split!r} are no text"
    return None


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("images"), list)


def _width(classes: int) -> str:
    if classes > 65_536:
        raise UsageError(f"{classes} classes; predictions are kept of at most 65536")
    return "u1" if classes <= 256 else "<u2"


def _run(record: Mapping[str, Any]) -> str:
    return f"{record['method']}, seed {record['seed']}"
