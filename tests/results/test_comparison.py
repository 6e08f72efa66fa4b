"""Guesses in records, and what differences of rows are worth."""

import hashlib
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_records import COUNTS, run, spec, table

from harness.core.errors import DataError, UsageError
from harness.datasets import iwildcam
from harness.results import bootstrap, comparison, predictions, records, versus
from harness.results.bootstrap import Score
from harness.results.comparison import Difference, contrast, corrected, difference
from harness.results.statistics import crossed, holm


def traps(method: str, seed: int, p: float) -> dict[str, Any]:
    """Camera traps: classes of uneven size, two of them in one split only."""
    parts, rng = [], np.random.default_rng([seed, *method.encode()])
    for first, split in enumerate(iwildcam.SCORED.values()):
        labels = rng.permutation(np.repeat(np.arange(8), [30, 12, 9, 5, 3, 1, 0, first % 2]))
        wrong = rng.integers(0, 8, len(labels))
        guessed = np.where(rng.random(len(labels)) < p, labels, wrong)
        parts.append(table(labels, guessed, split, first=1000 * first))
    rows = pl.concat(parts)
    metrics = iwildcam.metrics(rows, COUNTS)
    packed = predictions.pack({"last": rows}, len(COUNTS))
    about = spec(method, seed, "iwildcam", None)
    return records.record(about, {"last": metrics}, COUNTS, len(rows), {}, packed)


# ---------------------------------------------------------------- guesses


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 299)), min_size=1, max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_guesses_come_back_whatever_the_order_of_the_rows(rows: Any, order: Any) -> None:
    labels, guessed = (list(part) for part in zip(*rows, strict=True))
    whole = table(labels, guessed)
    at = list(range(len(rows)))
    order.shuffle(at)
    packed = predictions.pack({"last": whole[at]}, 300)
    assert packed == predictions.pack({"last": whole}, 300)
    record = {"predictions": packed, "method": "CE", "seed": 0}
    expected = whole.sort("label", "id")
    for got, column in zip(
        predictions.unpack(record, "test", "last"), ("label", "prediction"), strict=True
    ):
        assert got.tolist() == expected[column].to_list()


def test_the_text_of_guesses() -> None:
    rows = table([2, 0, 0], [1, 0, 255])
    assert predictions.pack({"last": rows, "oracle": rows}, 256) == {
        "test": {
            "images": [2, 0, 1, *[0] * 253],
            "ids": hashlib.sha256(b"1 0\n2 0\n0 2\n").hexdigest()[:16],
            "last": "AP8B",
            "oracle": "AP8B",
        }
    }
    assert predictions.pack({"last": rows}, 257)["test"]["last"] == "AAD/AAEA"


def test_guesses_that_cannot_be() -> None:
    rows = table([0, 1], [1, 0])
    with pytest.raises(DataError, match=r"prediction 2 found, expected 0\.\.1"):
        predictions.pack({"last": table([0, 1], [1, 2])}, 2)
    with pytest.raises(DataError, match="oracle has other images"):
        predictions.pack({"last": rows, "oracle": table([1, 0], [1, 0])}, 2)
    record = {"predictions": predictions.pack({"last": rows}, 2), "method": "CE", "seed": 0}
    with pytest.raises(UsageError, match="no selection 'ids' of CE, seed 0; there are last"):
        predictions.unpack(record, "test", "ids")
    with pytest.raises(UsageError, match="no predictions of split 'val' of CE, seed 0"):
        predictions.unpack(record, "val", "last")
    for text, says in (
        ("A", "Incorrect padding|Invalid"),
        ("AAAA", "3 of 2 images"),
        ("AAc=", "2 cl"),
    ):
        record["predictions"]["test"]["last"] = text
        with pytest.raises(DataError, match=says):
            predictions.unpack(record, "test", "last")


# ---------------------------------------------------------------- resamples


def test_resamples_keep_every_class_and_vary_as_they_should() -> None:
    images = (1, 2, 5, 40)
    weights = np.concatenate(list(bootstrap._weights(images, 4000)))
    ends = np.cumsum(images)
    for n, end in zip(images, ends, strict=True):
        part = weights[:, end - n : end]
        np.testing.assert_allclose(part.sum(1), n, rtol=1e-5)
        # a class mean of n numbers varies by their sample variance over n
        values = np.arange(n)
        expected = values.var(ddof=1) / n if n > 1 else 0
        assert (part @ values / n).var() == pytest.approx(expected, rel=0.1, abs=1e-9)


def test_resamples_in_pieces_score_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    images = (3, 4, 5)
    labels = np.repeat(np.arange(3), images)
    runs = [(labels, np.roll(labels, k)) for k in range(3)]
    monkeypatch.setattr(bootstrap, "_CELLS", 12 * 7)
    for kind in ("accuracy", "macro_f1"):
        points, resampled = bootstrap.scores(Score("test", kind), images, runs, 50)
        assert (points.shape, resampled.shape) == ((3,), (50, 3))
        assert points[0] == pytest.approx(1)
        np.testing.assert_allclose(resampled[:, 0], 1, rtol=1e-5)


def test_macro_f1_of_resamples_is_that_of_the_drawn_images() -> None:
    images = (4, 3, 0, 6)
    labels = np.repeat(np.arange(4), images)
    guessed = np.array([0, 1, 2, 0, 1, 1, 3, 3, 3, 0, 3, 2, 3])
    [w] = list(bootstrap._weights(images, 20))
    _, resampled = bootstrap.scores(Score("test", "macro_f1"), images, [(labels, guessed)], 20)
    for weights, got in zip(w, resampled[:, 0], strict=True):
        f1 = []
        for c in (0, 1, 3):
            right = weights[(labels == c) & (guessed == c)].sum()
            f1.append(2 * right / (weights[labels == c].sum() + weights[guessed == c].sum()))
        assert got == pytest.approx(np.mean(f1), rel=1e-5)


# ---------------------------------------------------------------- differences


PATHS = ["overall", *(f"rules.{r}.{g}" for r in "ABCD" for g in ("many", "medium", "few"))]


def number(record: dict[str, Any], path: str) -> Any:
    value = record["selection"]["last"]
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize("path", PATHS)
def test_differences_are_those_of_the_records(path: str) -> None:
    a, b = ([run(m, s, p) for s in range(3)] for m, p in (("CE+DisCL", 0.7), ("CE", 0.5)))
    result = difference(a, b, path)
    expected = np.mean([number(x, path) - number(y, path) for x, y in zip(a, b, strict=True)])
    assert result is not None
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert result.low < result.value < result.high
    assert (result.seeds, result.images) == ((0, 1, 2), 80)


@pytest.mark.parametrize("name", iwildcam.SCORED)
@pytest.mark.parametrize("kind", ["macro_f1", "accuracy"])
def test_differences_of_camera_traps_are_those_of_the_records(name: str, kind: str) -> None:
    a = [traps("FLYP", s, 0.8) for s in range(3)]
    b = [traps("LP-FT", s, 0.4) for s in range(3)]
    for r in (*a, *b):  # the same images for all of them
        for split in r["predictions"].values():
            split["ids"] = "0" * 16
    path = f"{name}.{kind}"
    result = difference(a, b, path)
    expected = np.mean([number(x, path) - number(y, path) for x, y in zip(a, b, strict=True)])
    assert result is not None
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert result.low > 0


def test_seeds_are_paired_whatever_their_order_and_company() -> None:
    a = [run("CE+DisCL", s, 0.7) for s in (4, 2, 0, 1)]
    b = [run("CE", s, 0.5) for s in (0, 1, 2, 3)]
    result = difference(a, b, "overall")
    assert result == difference(a[1:], b[:3], "overall")
    assert result is not None
    assert result.seeds == (0, 1, 2)
    with pytest.raises(DataError, match=r"CE\+DisCL and CE have no seed in common"):
        difference(a[:1], b, "overall")
    with pytest.raises(DataError, match="CE and a row without runs have no seed in common"):
        difference(b, [], "overall")
    with pytest.raises(DataError, match="two records of CE have one seed"):
        difference(a, [*b, b[0]], "overall")


def test_one_seed_has_the_luck_of_the_images_only() -> None:
    a, b = [run("CE+DisCL", 0, 0.6)], [run("CE", 0, 0.5)]
    result = difference(a, b, "overall")
    labels, one = predictions.unpack(a[0], "test", "last")
    other = predictions.unpack(b[0], "test", "last")[1]
    gain = ((one == labels) * 1.0 - (other == labels)).reshape(len(COUNTS), -1)
    error = np.sqrt((gain.var(1, ddof=1) / gain.shape[1]).sum()) / len(COUNTS)
    assert result is not None
    assert result.high - result.value == pytest.approx(1.96 * error, rel=0.1)


def test_rows_that_are_equal_do_not_differ() -> None:
    a = [run("CE", s, 0.5) for s in range(3)]
    result = difference(a, a, "overall")
    assert result is not None
    assert (result.value, result.low, result.high, result.p) == (0, 0, 0, 1)


def same(one: Difference | None, other: Difference | None) -> None:
    """To the digits that weights of single precision give on any processor."""
    assert one is not None
    assert other is not None
    expected = asdict(other)
    for name, value in asdict(one).items():
        near = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
        assert expected[name] == near, name


def test_difference_of_differences() -> None:
    rows = {m: [run(m, s, p) for s in range(3)] for m, p in (("A", 0.8), ("B", 0.5), ("C", 0.6))}
    result = contrast([(1, rows["A"]), (-2, rows["B"]), (1, rows["C"])], "overall")
    parts = [(1, rows["A"]), (-1, rows["B"]), (1, rows["C"]), (-1, rows["B"])]
    every = [r for some in rows.values() for r in some]
    same(contrast(parts, "overall"), result)  # a row that occurs twice counts twice
    pooled = contrast([(1, rows["A"]), (-2, rows["B"]), (1, rows["C"])], "overall", "last", every)
    same(contrast(parts, "overall", "last", every), pooled)
    first, second = (
        difference(rows["A"], rows["B"], "overall"),
        difference(rows["C"], rows["B"], "overall"),
    )
    assert result is not None
    assert first is not None
    assert second is not None
    assert result.value == pytest.approx(first.value + second.value)


def test_what_cannot_be_compared() -> None:
    a, b = [run("BS", 0, 0.7)], [run("CE", 0, 0.5)]
    with pytest.raises(UsageError, match="'overal' is no number that guesses of cifar100-lt tell"):
        difference(a, b, "overal")
    with pytest.raises(UsageError, match="no grouping rule 'E'"):
        difference(a, b, "rules.E.few")
    with pytest.raises(UsageError, match="no selection 'oracle' of BS, seed 0; there are last"):
        difference(a, b, "overall", "oracle")
    with pytest.raises(DataError, match="BS and CE were tested on other images of test"):
        difference(a, [run("CE", 0, 0.5, images=11)], "overall")
    a[0]["counts"] = b[0]["counts"] = [200] * 8
    assert difference(a, b, "rules.A.few") is None


def test_holm() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    one, two = difference([run("BS", 0, 0.9)], [run("CE", 0, 0.5)], "overall"), None
    assert one is not None
    assert corrected([one, two, one]) == [
        replace(one, corrected=2 * one.p),
        None,
        replace(one, corrected=2 * one.p),
    ]


# ---------------------------------------------------------------- coverage

TRIALS = 1000


def trial(rng: np.random.Generator, seeds: int, luck: float, taste: float) -> list[Any]:
    """Guesses of two rows, the second 0.05 better: 10 classes of 30 images.

    Images differ in difficulty and, by `taste`, in what the better row gains on them; seeds differ
    by `luck`. All probabilities stay within [0, 1] but for the rarest of draws.
    """
    labels = np.repeat(np.arange(10), 30)
    hardness, gain = rng.uniform(0.3, 0.7, 300), 0.05 + rng.normal(0, taste, 300)
    records = []
    for row in (0, 1):
        for _ in range(seeds):
            right = rng.random(300) < hardness + row * gain + rng.normal(0, luck)
            records.append((labels, np.where(right, labels, (labels + 1) % 10)))
    return records


@pytest.mark.parametrize(
    ("score", "seeds", "luck", "taste"),
    [
        (Score("test"), 3, 0.03, 0.1),
        (Score("test"), 3, 0.05, 0.05),
        (Score("test"), 5, 0.03, 0.05),
        (Score("test"), 1, 0.0, 0.1),
        (Score("test", classes=(7, 8, 9), pooled=False), 3, 0.05, 0.1),
        (Score("test", "macro_f1"), 3, 0.03, 0.1),
    ],
)
def test_intervals_cover_a_known_difference(
    score: Score, seeds: int, luck: float, taste: float
) -> None:
    """In 93 to 97 % of 1,000 trials, seeds and images drawn anew in each.

    Of macro F1 no expectation is known beforehand: it is taken over the trials.
    """
    rng, intervals, values = np.random.default_rng(5), [], []
    for _ in range(1000):
        points, resampled = bootstrap.scores(score, (30,) * 10, trial(rng, seeds, luck, taste), 300)
        by_seed = points[seeds:] - points[:seeds]
        values.append(float(by_seed.mean()))
        intervals.append(crossed(values[-1], by_seed, resampled[:, seeds:] - resampled[:, :seeds]))
        assert (intervals[-1].p < 0.05) == (not intervals[-1].low <= 0 <= intervals[-1].high)
    known = np.mean(values) if score.kind == "macro_f1" else 0.05
    assert np.mean(values) == pytest.approx(known, abs=0.005)
    assert 930 <= sum(i.low <= known <= i.high for i in intervals) <= 970


SET, IMAGES = "cifar100-lt", (20,) * 8


def table_of(
    rng: np.random.Generator, rows: int, seeds: int, luck: float, unequal: float
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Metrics of rows that are equally good, on 8 classes of 20 images, and guesses of the first 2.

    luck: of seeds; unequal: how far the rows' luck differs (log-normal).
    """
    labels, records, guessed = np.repeat(np.arange(8), 20), [], []
    hardness = rng.uniform(0.35, 0.65, len(labels))
    about = {"dataset": SET, "backbone": "resnet10", "imbalance": 100}
    for row in range(rows):
        own = luck * np.exp(rng.normal(0, unequal))
        for seed in range(seeds):
            right = rng.random(len(labels)) < hardness + rng.normal(0, own)
            selection = {"last": {"overall": float(right.mean())}}
            records.append(about | {"method": f"M{row}", "seed": seed, "selection": selection})
            if row < 2:
                guessed.append((labels, np.where(right, labels, (labels + 1) % 8)))
    return records, guessed


@pytest.mark.parametrize(
    ("rows", "seeds", "luck", "unequal"),
    [
        (8, 3, 0.02, 0.0),
        (8, 3, 0.08, 0.0),  # seeds dominate: the images' luck is about 0.04 of a run
        (8, 3, 0.08, 0.4),
        (4, 3, 0.08, 0.0),
        (8, 5, 0.02, 0.0),
        (8, 5, 0.08, 0.4),
        (15, 3, 0.08, 0.2),
        (8, 2, 0.08, 0.0),
    ],
)
def test_pooled_seeds_are_calibrated(rows: int, seeds: int, luck: float, unequal: float) -> None:
    """Rows that are equally good: the interval covers zero in 93 to 97 %, and small p are rare."""
    rng, ps, covered = np.random.default_rng(11), [], 0
    for _ in range(TRIALS):
        records, guessed = table_of(rng, rows, seeds, luck, unequal)
        points, resampled = bootstrap.scores(Score("test"), IMAGES, guessed, 60)
        by_seed = points[seeds:] - points[:seeds]
        runs = [records[seeds : 2 * seeds], records[:seeds]]
        values = [r["selection"]["last"]["overall"] for r in records]
        known = {id(r): value for r, value in zip(records, values, strict=True)}
        pooled = comparison._seed_spread(
            by_seed, (1, -1), lambda r, known=known: known[id(r)], runs, records
        )
        assert pooled is not None
        images = resampled[:, seeds:] - resampled[:, :seeds]
        found = crossed(float(by_seed.mean()), by_seed, images, spread=pooled)
        covered += found.low <= 0 <= found.high
        ps.append(found.p)
    assert 0.93 <= covered / TRIALS <= 0.98
    assert np.mean(np.array(ps) < 0.001) <= 0.004  # 0.002, and what 1,000 trials add by chance


def test_without_variance_there_is_neither_an_interval_nor_a_p():
    right, wrong = [run("BS", 0, 1.0, images=1)], [run("CE", 0, 0.0, images=1)]
    result = difference(right, wrong, "overall")  # a class of a single image does not vary
    assert result is not None
    assert (result.value, result.low, result.high, result.p) == (1, 1, 1, None)
    equal = difference(right, right, "overall")
    assert equal is not None
    assert (equal.value, equal.low, equal.high, equal.p) == (0, 0, 0, 1)
    row = versus.Compared(
        100, "BS", "CE", "Few", comparison.Difference(0.25, 0.25, 0.25, None, (0,), 3)
    )
    shown = versus.render([row])
    assert shown.splitlines()[2].split()[3:] == ["+25.00", "–", "–", "–", "1", "3"]
    assert "for 0 comparisons" in shown
