"""Records prove themselves: their figures are recomputed from their own predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.results import predictions

DATASETS = "harness.datasets"


def contradiction(record: Mapping[str, Any]) -> str | None:
    """The first figure of a record that its predictions do not give, in words; None for none.

    None, too, where nobody can tell: the data set's file, which says its metrics, is gone.
    """
    try:
        module = registry.find(DATASETS, record["dataset"])
    except UsageError:
        return None
    try:
        tested = sum(sum(split["images"]) for split in record["predictions"].values())
        if record["n_test"] != tested:
            return f"n_test is {record['n_test']!r:.60}, its predictions are of {tested} images"
        for selection, scores in record["selection"].items():
            own = module.metrics(_table(record, selection), tuple(record["counts"]))
            for path, kept, recomputed in _differences(f"selection.{selection}", scores, own):
                return f"{path} is {kept!r:.40}, its predictions give {recomputed!r:.40}"
    except (DataError, UsageError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        return f"its predictions give no figures ({error})"
    return None


def _table(record: Mapping[str, Any], selection: str) -> Any:
    """Its predictions as a run leaves them: split, id, label, prediction."""
    import polars as pl

    parts = []
    for split in record["predictions"]:
        labels, predicted = predictions.unpack(record, split, selection)
        columns = {"id": range(len(labels)), "label": labels, "prediction": predicted}
        parts.append(pl.DataFrame(columns).with_columns(split=pl.lit(split)))
    if not parts:
        raise DataError("there are none")
    return pl.concat(parts)


def _differences(path: str, kept: Any, recomputed: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two values differ: path, one and the other."""
    if isinstance(recomputed, Mapping) and isinstance(kept, Mapping):
        for name in dict.fromkeys((*recomputed, *kept)):
            yield from _differences(f"{path}.{name}", kept.get(name), recomputed.get(name))
    elif isinstance(recomputed, list | tuple) and isinstance(kept, list):
        if len(kept) != len(recomputed):
            yield path, len(kept), len(recomputed)
        for i, (a, b) in enumerate(zip(kept, recomputed, strict=False)):
            yield from _differences(f"{path}[{i}]", a, b)
    elif not _same(kept, recomputed):
        yield path, kept, recomputed


def _same(kept: Any, recomputed: Any) -> bool:
    """Equal, but for the last digits that another machine sums otherwise."""
    numbers = isinstance(kept, float | int) and isinstance(recomputed, float | int)
    if numbers and not isinstance(kept, bool):
        return abs(kept - recomputed) <= 1e-12
    return bool(kept == recomputed)
