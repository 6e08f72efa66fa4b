"""Intervals by location: locations in records, their resamples, and how well they cover."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from random_records import COUNTS, spec

from harness.core.errors import DataError, UsageError
from harness.datasets import iwildcam
from harness.results import bootstrap, predictions, records, versus
from harness.results.bootstrap import Score
from harness.results.comparison import difference
from harness.results.statistics import crossed

CLASSES = len(COUNTS)


def images(split: str, first: int, n: int = 120, locations: int = 8) -> pl.DataFrame:
    """A split's test images: id, label, location (not from 0, with gaps)."""
    rng = np.random.default_rng(first)
    ids = rng.permutation(np.arange(first, first + n))
    about = {"label": np.arange(n) % CLASSES, "location": 5 + 3 * rng.integers(0, locations, n)}
    return pl.DataFrame({"split": [split] * n, "id": ids, **about})


def trap(method: str, seed: int, p: float, known: bool = True) -> dict[str, Any]:
    splits = {s: images(s, 1000 * i) for i, s in enumerate(iwildcam.SCORED.values())}
    rng, parts = np.random.default_rng([seed, *method.encode()]), []
    for table in splits.values():
        right = rng.random(table.height) < p
        wrong = rng.integers(0, CLASSES, table.height)
        guessed = np.where(right, table["label"].to_numpy(), wrong)
        parts.append(table.with_columns(pl.Series("prediction", guessed)).drop("location"))
    rows = pl.concat(parts)
    packed = predictions.pack({"last": rows}, CLASSES, splits if known else None)
    metrics = {"last": iwildcam.metrics(rows, COUNTS)}
    return records.record(
        spec(method, seed, "iwildcam", None), metrics, COUNTS, len(rows), {}, packed
    )


def rows(known: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    a = [trap("FLYP", s, 0.8, known) for s in range(3)]
    return a, [trap("LP-FT", s, 0.6, known) for s in range(3)]


# ---------------------------------------------------------------- in records


def test_locations_come_back_in_the_order_of_the_predictions() -> None:
    record, table = trap("FLYP", 0, 0.8), images("test", 0)
    codes = predictions.locations(record, "test")
    expected = table.sort("label", "id")["location"].to_numpy()
    assert codes is not None
    assert (np.unique(expected)[codes] == expected).all()
    assert records._fault(record) is None


def test_records_without_locations() -> None:
    record = trap("FLYP", 0, 0.8, known=False)
    assert predictions.locations(record, "test") is None
    nowhere = images("test", 0).with_columns(pl.lit(None, pl.Int32).alias("location"))
    guessed = nowhere.with_columns(pl.col("label").alias("prediction"))
    packed = predictions.pack({"last": guessed}, CLASSES, {"test": nowhere})
    assert "locations" not in packed["test"]


def test_many_locations_and_damaged_ones() -> None:
    table = images("test", 0, 900, 400)
    assert table["location"].n_unique() > 256
    guessed = table.with_columns(pl.col("label").alias("prediction"))
    packed = predictions.pack({"last": guessed}, CLASSES, {"test": table})
    record = {"predictions": packed, "method": "FLYP", "seed": 0}
    codes = predictions.locations(record, "test")
    assert codes is not None
    assert codes.max() == table["location"].n_unique() - 1
    packed["test"]["locations"] = packed["test"]["locations"][:400]
    with pytest.raises(DataError, match="FLYP, seed 0: locations of test: 300 of 900 images"):
        predictions.locations(record, "test")
    with pytest.raises(UsageError, match="no selection 'locations'"):
        predictions.unpack(record, "test", "locations")


# ---------------------------------------------------------------- differences


def test_both_intervals_are_there_and_the_location_one_counts() -> None:
    a, b = rows()
    result, plain = difference(a, b, "ood.macro_f1"), difference(*rows(False), "ood.macro_f1")
    assert result is not None
    assert plain is not None
    assert (result.value, result.locations, plain.locations) == (plain.value, 8, None)
    assert result.by_image is not None
    assert (result.by_image.low, result.by_image.high) == (plain.low, plain.high)
    assert result.low != plain.low
    assert result.df < plain.df
    half = difference([*a[:1], *rows(False)[0][1:]], b, "ood.macro_f1")  # one record knows enough
    assert half == result


def test_p_and_interval_are_of_one_procedure() -> None:
    a, b = rows()
    for path in ("ood.macro_f1", "id.macro_f1", "ood.accuracy"):
        for result in (difference(a, b, path), difference(b, b, path)):
            assert result is not None
            assert result.p is not None
            assert (result.p < 0.05) == (not result.low <= 0 <= result.high)


def test_comparisons_print_both() -> None:
    a, b = rows()
    columns = {"OOD": "ood.macro_f1"}
    text = versus.render(versus.versus([*a, *b], ["LP-FT", "FLYP"], columns, [None]))
    assert "by image" in text.splitlines()[0]
    assert "one degree of freedom fewer than locations" in " ".join(text.split())
    unknown = [r for some in rows(False) for r in some]
    text = versus.render(versus.versus(unknown, ["LP-FT", "FLYP"], columns, [None]))
    assert "by image" not in text


def test_macro_f1_of_drawn_locations() -> None:
    rng = np.random.default_rng(3)
    labels, guessed = rng.integers(0, 5, 60), rng.integers(0, 6, 60)
    locations = rng.integers(0, 4, 60)
    labels[labels == 4] = np.where(locations[labels == 4] == 2, 4, 0)  # at one location alone
    runs = [(labels, guessed), (labels, labels)]
    score = Score("test", "macro_f1")
    got = bootstrap.scores_by_location(score, locations, runs, 50)
    drawn = np.random.default_rng([0, 4]).multinomial(3, [0.25] * 4, size=50)
    for counts, (first, second) in zip(drawn, got, strict=True):
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(locations == i), counts[i]) for i in range(4)]
        )
        assert first == pytest.approx(iwildcam.macro_f1(labels[rows], guessed[rows]), rel=1e-5)
        assert second == pytest.approx(1)
    with pytest.raises(UsageError, match="of all classes"):
        bootstrap.scores_by_location(Score("test", classes=(1,)), locations, runs)
    with pytest.raises(UsageError, match="two locations"):
        bootstrap.scores_by_location(score, locations * 0, runs)


# ---------------------------------------------------------------- coverage


def trial(
    rng: np.random.Generator, locations: int, seeds: int, taste: float
) -> tuple[np.ndarray, list[Any]]:
    """Locations of 40 to 120 images with their own mixtures of 12 classes, and guesses of two rows.

    The second row is better by 0.05, and by more or less at each location (taste).
    """
    sizes = rng.integers(40, 121, locations)
    at = np.repeat(np.arange(locations), sizes)
    usual = np.arange(12, 0, -1) / 78
    mixtures = rng.dirichlet(20 * usual, locations)
    labels = np.concatenate([rng.choice(12, n, p=p) for n, p in zip(sizes, mixtures, strict=True)])
    order = np.argsort(labels, kind="stable")
    at, labels = at[order], labels[order]
    hardness = np.clip(rng.normal(0.5, 0.1, locations), 0.2, 0.8)[at]
    gain = rng.normal(0.05, taste, locations)[at]
    runs = []
    for row in (0, 1):
        for _ in range(seeds):
            right = rng.random(len(at)) < hardness + row * gain + rng.normal(0, 0.01)
            runs.append((labels, np.where(right, labels, (labels + 1) % 12)))
    return at, runs


@pytest.mark.parametrize(
    ("kind", "locations", "seeds", "taste"),
    [
        ("macro_f1", 10, 3, 0.08),  # as many locations as mini's test has
        ("macro_f1", 24, 2, 0.08),
        ("macro_f1", 10, 1, 0.05),
        ("accuracy", 10, 3, 0.08),
    ],
)
def test_intervals_by_location_cover_a_known_difference(
    kind: str, locations: int, seeds: int, taste: float
) -> None:
    """In 92 to 98 % of 300 trials, locations, images and seeds drawn anew in each."""
    rng, values, covering, by_image = np.random.default_rng(2), [], [], []
    score = Score("test", kind)
    for _ in range(300):
        at, runs = trial(rng, locations, seeds, taste)
        images = tuple(np.bincount(runs[0][0], minlength=12).tolist())
        points, resampled = bootstrap.scores(score, images, runs, 100)
        by_seed = points[seeds:] - points[:seeds]
        values.append(float(by_seed.mean()))
        moved = bootstrap.scores_by_location(score, at, runs, 300)
        for some, intervals, units in (
            (moved, covering, locations),
            (resampled, by_image, np.inf),
        ):
            each = some[:, seeds:] - some[:, :seeds]
            intervals.append(crossed(values[-1], by_seed, each, units=units))
    known = np.mean(values)
    assert known == pytest.approx(0.05, abs=0.01)
    assert 0.92 <= np.mean([i.low <= known <= i.high for i in covering]) <= 0.98
    if taste > 0.05:  # what resampling images says of other locations
        assert np.mean([i.low <= known <= i.high for i in by_image]) < 0.9
