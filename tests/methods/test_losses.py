"""Objectives against their definitions, computed by hand."""

import numpy as np
import pytest
import torch

from harness.methods.compose import compose
from harness.methods.terms import Batch

torch.manual_seed(0)
Z = torch.randn(6, 4, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 2, 1, 0])
COUNTS = np.array([50.0, 5.0, 2.0])
PRIOR = torch.from_numpy(COUNTS / COUNTS.sum())
NO_CAPTION = torch.zeros(6, dtype=torch.int64)


class Model:
    """A linear head."""

    def __init__(self):
        self.weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def head(self, z):
        return z @ self.weight


def softmax_loss(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return -np.log(p[np.arange(len(Y)), Y.numpy()]).mean()


def test_ce_is_minus_log_softmax():
    model = Model()
    logits = model.head(Z).detach().numpy()
    loss = compose("CE").objective.loss(model, Z, Batch(Y, PRIOR, NO_CAPTION))
    assert loss.item() == pytest.approx(softmax_loss(logits), rel=1e-12)
    loss.backward()
    assert torch.isfinite(model.weight.grad).all()


def test_bs_adds_log_counts_whatever_their_scale():
    model = Model()
    logits = model.head(Z).detach().numpy()
    loss = compose("BS").objective.loss(model, Z, Batch(Y, PRIOR, NO_CAPTION)).item()
    assert loss == pytest.approx(softmax_loss(logits + np.log(COUNTS)), rel=1e-12)
    assert loss == pytest.approx(softmax_loss(logits + np.log(COUNTS / COUNTS.sum())), rel=1e-12)


def test_bs_with_equal_counts_is_ce():
    model, even = Model(), torch.full((3,), 1 / 3, dtype=torch.float64)
    batch = Batch(Y, even, NO_CAPTION)
    bs, ce = (compose(name).objective.loss(model, Z, batch).item() for name in ("BS", "CE"))
    assert bs == pytest.approx(ce, rel=1e-12)


def test_bs_survives_a_class_that_an_epoch_lacks():
    model, prior = Model(), torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    batch = Batch(Y.clamp(max=1), prior, NO_CAPTION)
    loss = compose('BS(counts="epoch")').objective.loss(model, Z, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(model.weight.grad).all()


@pytest.mark.parametrize("name", ["CE", "BS"])
def test_at_test_time_the_logits_are_the_heads(name):
    model = Model()
    assert torch.equal(compose(name).objective.logits(model, Z), model.head(Z))


def test_counts_of_the_prior_are_the_objectives_word():
    assert compose("BS").objective.counts == "real"
    assert compose('BS(counts="epoch")').objective.counts == "epoch"
