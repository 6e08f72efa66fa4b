"""WE: weights between two state dicts."""

import pytest
import torch

from harness.core.errors import DataError, UsageError
from harness.methods.compose import compose

START = {"w": torch.tensor([1.0, -2, 4]), "n": torch.tensor(3), "scale": torch.tensor(2.0)}
END = {"w": torch.tensor([3.0, 2, 4]), "n": torch.tensor(9), "scale": torch.tensor(-2.0)}


def merge(start, end, alpha):
    return compose("CE+WE").ensemble.merge(start, end, alpha)


@pytest.mark.parametrize(
    ("alpha", "w", "scale"),
    [
        (0, [1, -2, 4], 2),
        (0.25, [1.5, -1, 4], 1),
        (0.5, [2, 0, 4], 0),
        (1, [3, 2, 4], -2),
    ],
)
def test_weights_are_mixed_and_counters_are_the_ends(alpha, w, scale):
    merged = merge(START, END, alpha)
    assert list(merged) == ["w", "n", "scale"]
    assert merged["w"].tolist() == w
    assert merged["scale"].item() == scale
    assert (merged["n"].item(), merged["n"].dtype) == (9, torch.int64)
    assert START["w"].tolist() == [1, -2, 4]


def test_what_is_merged_shares_no_memory():
    for alpha in (0, 1):
        for name, value in merge(START, END, alpha).items():
            assert value.data_ptr() not in (START[name].data_ptr(), END[name].data_ptr())


def test_half_precision_is_mixed_in_full():
    """0.1 * 60000 + 0.9 * 60000 in halves would be rounded thrice."""
    start, end = ({"w": torch.full((1,), v, dtype=torch.float16)} for v in (60000.0, 59968.0))
    merged = merge(start, end, 0.9)["w"]
    assert merged.dtype == torch.float16
    assert merged.item() == torch.tensor(0.1 * 60000 + 0.9 * 59968).half().item()


def test_models_that_do_not_match():
    less = {k: v for k, v in END.items() if k != "scale"}
    with pytest.raises(DataError, match="1 are in one only, scale in the start's"):
        merge(START, less, 0.5)
    with pytest.raises(DataError, match="1 are in one only, scale in the end's"):
        merge(less, END, 0.5)
    other = {**END, "w": torch.zeros(3, 1)}
    with pytest.raises(DataError, match=r"w is \(3,\) in the start's, \(3, 1\) in the end's"):
        merge(START, other, 0.5)


def test_headline_and_grid():
    ensemble = compose("FLYP+WE").ensemble
    assert ensemble.alpha is None  # the validation split chooses
    assert ensemble.grid == tuple(n / 10 for n in range(11))
    ensemble = compose("FLYP+WE(alpha=0.7, grid=(0, 1))").ensemble
    assert (ensemble.alpha, ensemble.grid) == (0.7, (0, 1))


@pytest.mark.parametrize("expression", ["CE+WE", "FLYP+WE", "LP-FT+WE", "Zero-shot+WE", "BS+WE"])
def test_any_objective_may_stand_before_it(expression):
    assert compose(expression).merges == expression.removesuffix("+WE")


@pytest.mark.parametrize(
    "arguments",
    "alpha=1.5 alpha=-0.1 alpha=True alpha='half' grid=0.5 grid=() grid=(0.5,2) "
    "grid=(0.5,0.1) grid=(0.5,0.5) grid=('a',)".split(),
)
def test_values_that_are_not_allowed(arguments):
    with pytest.raises(UsageError, match=rf"WE\({arguments.partition('=')[0]}=...\)"):
        compose(f"CE+WE({arguments})")
