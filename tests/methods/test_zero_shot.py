"""Zero-shot: reads out by captions, trains nothing."""

import math
from types import SimpleNamespace

import pytest
import torch
from toy_clip import Toy

from harness.core.specs import Schedule
from harness.methods.compose import compose

CAPTIONS = (("a", "b"), ("c",))
VECTORS = torch.tensor([[3.0, 0], [0, 5], [0, 2]])  # class 0 points along (1, 1), class 1 along y


@pytest.fixture
def model():
    return Toy("abc", VECTORS, torch.eye(2), scale=7, classes=2)


def test_logits_are_scaled_cosines_whatever_the_length_of_z(model):
    method = compose("Zero-shot")
    method.objective.start(model, SimpleNamespace(captions=CAPTIONS))
    with torch.inference_mode():
        method.objective.ready(model)
        logits = method.objective.logits(model, torch.tensor([[2.0, 0], [0, -0.5], [3, 4]]))
    half = math.sqrt(0.5)
    expected = [[7 * half, 0], [-7 * half, -7], [7 * 1.4 * half, 5.6]]  # (3, 4) is 5 long
    assert logits.tolist() == [pytest.approx(row, abs=1e-5) for row in expected]


def test_the_read_out_follows_the_text_tower(model):
    objective = compose("Zero-shot").objective
    objective.start(model, SimpleNamespace(captions=CAPTIONS))
    objective.ready(model)
    with torch.no_grad():
        model.text.table[2] = torch.tensor([1.0, 0])
    objective.ready(model)
    assert objective.logits(model, torch.tensor([[1.0, 0]]))[0, 1].item() == pytest.approx(7)


def test_nothing_is_trained():
    method = compose("Zero-shot")
    assert method.finetune.phases(Schedule("sgd", 0.1, 8, 3)) == ()
    assert method.objective.trains == ()
    assert method.needs_text == "Zero-shot"
    assert compose("Zero-shot+WE").ensemble is not None


def test_equal_captions_are_a_tie_for_the_lower_class(model):
    """As two species of iWildCam with one English name."""
    objective = compose("Zero-shot").objective
    objective.start(model, SimpleNamespace(captions=(("c",), ("a", "b"), ("a", "b"))))
    objective.ready(model)
    logits = objective.logits(model, torch.tensor([[1.0, 0.5]]))
    assert logits[0, 1] == logits[0, 2] > logits[0, 0]
    assert logits.argmax(1).item() == 1
