"""FLYP: the contrastive loss by hand, who learns from it, captions in turn, several processes."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from toy_clip import Toy

from harness.core.errors import DataError
from harness.methods.compose import compose
from harness.methods.terms import Batch

CAPTIONS = (("a", "b"), ("c", "d"))
DATA = SimpleNamespace(captions=CAPTIONS)
VECTORS = [[1.0, 2, 0.5], [-1, 0.5, 2], [0.3, -2, 1], [2, 1, 1]]
IMAGES = [[1.0, 0.2], [0.4, -1], [-0.5, 2], [1.5, 1], [0.1, 0.7]]
WEIGHT = [[0.5, -1], [2, 0.3], [-0.7, 1.1]]
LABELS, WHICH = [0, 1, 0, 1, 1], [0, 1, 1, 1, 0]
SCALE = 5.0


def toy() -> Toy:
    exact = {"dtype": torch.float64}
    return Toy("abcd", torch.tensor(VECTORS, **exact), torch.tensor(WEIGHT, **exact), SCALE, 2)


def batch(rows: slice = slice(None)) -> tuple[Tensor, Batch]:
    prior = torch.tensor([0.5, 0.5])
    y, caption = torch.tensor(LABELS[rows]), torch.tensor(WHICH[rows])
    return torch.tensor(IMAGES[rows], dtype=torch.float64), Batch(y, prior, caption)


def started(model: Toy):
    objective = compose("FLYP").objective
    objective.start(model, DATA)
    return objective


def by_hand(rows: range) -> float:
    """The sum over pairs, one logarithm at a time."""
    row_of_text = [2 * LABELS[i] + WHICH[i] for i in rows]  # a, b are class 0's; c, d class 1's
    u = [np.array(WEIGHT) @ np.array(IMAGES[i]) for i in rows]
    v = [np.array(VECTORS[t]) for t in row_of_text]
    s = [[SCALE * (a @ b) / math.sqrt((a @ a) * (b @ b)) for b in v] for a in u]
    total, n = 0.0, len(s)
    for i in range(n):
        total -= s[i][i] - math.log(sum(math.exp(s[i][j]) for j in range(n)))
        total -= s[i][i] - math.log(sum(math.exp(s[j][i]) for j in range(n)))
    return total / (2 * n)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_loss_by_hand(n):
    """Pairs 1 and 3 are of one class with one caption: each counts as a negative of the other."""
    model = toy()
    x, targets = batch(slice(n))
    loss = started(model).loss(model, model.encoder(x), targets)
    assert loss.item() == pytest.approx(by_hand(range(n)), rel=1e-12)
    assert model.text.sizes == [len({(LABELS[i], WHICH[i]) for i in range(n)})]


def test_single_precision_keeps_six_digits():
    model = toy().float()
    x, targets = batch()
    loss = started(model).loss(model, model.encoder(x.float()), targets)
    assert loss.item() == pytest.approx(by_hand(range(5)), rel=1e-6)


def test_mixed_precision_leaves_the_loss_alone():
    model = toy().float()
    x, targets = batch()
    z, objective = model.encoder(x.float()), started(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.loss(model, z, targets)
    assert loss.item() == pytest.approx(by_hand(range(5)), rel=1e-6)


def test_two_images_of_a_class_push_each_other_away():
    """A loss that took the class into account would give equal pairs no gradient."""
    model = toy()
    y = torch.zeros(2, dtype=torch.int64)
    targets = Batch(y, torch.tensor([0.5, 0.5]), y.clone())
    z = model.encoder(torch.tensor(IMAGES[:1] * 2, dtype=torch.float64))
    assert started(model).loss(model, z, targets).item() == pytest.approx(math.log(2), rel=1e-12)


def test_gradients_reach_both_towers_and_the_scale_alone():
    model = toy()
    x, targets = batch()
    started(model).loss(model, model.encoder(x), targets).backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == (not name.startswith("head.")), name
    parts = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert set(compose("FLYP").objective.trains) == parts - {"head"}


def test_gradients_are_the_losss_own():
    model = toy()
    x, targets = batch()
    objective = started(model)

    def loss(weight: Tensor, table: Tensor, scale: Tensor) -> Tensor:
        values = {"encoder.weight": weight, "text.table": table, "logit_scale": scale}
        with torch.nn.utils.stateless._reparametrize_module(model, values):
            return objective.loss(model, model.encoder(x), targets)

    inputs = [model.encoder.weight, model.text.table, model.logit_scale]
    copies = [p.detach().clone().requires_grad_() for p in inputs]
    assert torch.autograd.gradcheck(loss, copies)


def test_read_out_is_the_present_text_towers():
    model = toy()
    objective = started(model)
    objective.ready(model)
    z = model.encoder(torch.tensor(IMAGES, dtype=torch.float64)).detach().float()
    before = objective.logits(model, z)
    with torch.no_grad():
        model.text.table.neg_()
    objective.ready(model)
    assert objective.logits(model, z) == pytest.approx(-before, abs=1e-6)


# ---------------------------------------------------------------- captions in turn


def table(images: list[int], labels: list[int]) -> pl.DataFrame:
    zeros = pl.Series([0] * len(images), dtype=pl.Int8)
    return pl.DataFrame(
        {"image": images, "label": pl.Series(labels, dtype=pl.Int32), "caption": zeros}
    )


def hook(captions=CAPTIONS):
    (augment,) = compose("FLYP").augment
    augment.start(None, SimpleNamespace(data=SimpleNamespace(captions=captions)))
    return augment


def dressed(augment, rows: pl.DataFrame, epoch: int, state: dict) -> list[int]:
    progress = SimpleNamespace(epoch=epoch, state=state, rng=np.random.default_rng(epoch))
    result = augment.dress(rows, progress)
    assert result.schema["caption"] == pl.Int8
    assert result.drop("caption").equals(rows.drop("caption"))
    return result["caption"].to_list()


def test_every_pair_once_in_two_epochs():
    rows, state, augment = table(list(range(200)), [i % 2 for i in range(200)]), {}, hook()
    for epoch in (0, 2, 4):
        first, second = (
            dressed(augment, rows, epoch, state),
            dressed(augment, rows, epoch + 1, state),
        )
        assert [a + b for a, b in zip(first, second, strict=True)] == [1] * 200
        assert 70 < sum(first) < 130  # about half of the images start with each caption


def test_rounds_differ_and_runs_too():
    rows, augment, state = table(list(range(200)), [0] * 200), hook(), {}
    rounds = [tuple(dressed(augment, rows, epoch, state)) for epoch in (0, 2, 4)]
    assert len(set(rounds)) == 3
    other = {"captions": state["captions"] + 1}
    assert tuple(dressed(augment, rows, 0, other)) != rounds[0]


def test_a_resumed_run_goes_on_with_the_same_captions():
    rows, state = table(list(range(50)), [0] * 50), {}
    whole = [dressed(hook(), rows, epoch, state) for epoch in range(4)]
    resumed = hook()
    assert [dressed(resumed, rows, epoch, dict(state)) for epoch in (2, 3)] == whole[2:]


def test_rows_that_stay_have_every_caption_whatever_comes_beside_them():
    augment, state = hook(), {}
    few = table([4, 9, 2], [0, 1, 1])
    many = table([9, 700, 2, 31, 4], [1, 0, 1, 0, 0])
    first = dict(zip(few["image"], dressed(augment, few, 0, state), strict=True))
    second = dict(zip(many["image"], dressed(augment, many, 1, state), strict=True))
    assert {first[i] + second[i] for i in (4, 9, 2)} == {1}


def test_copies_of_an_image_take_different_captions():
    augment, rows = hook(), table([5, 7, 5, 5, 7], [0, 1, 0, 0, 1])
    first = dressed(augment, rows, 0, state := {})
    assert first[0] != first[2] != first[3]
    assert first[1] != first[4]
    assert [a + b for a, b in zip(first, dressed(augment, rows, 1, state), strict=True)] == [1] * 5


def test_classes_with_other_numbers_of_captions():
    augment, state = hook((("a",), ("b", "c", "d"))), {}
    rows = table(list(range(30)), [0] * 10 + [1] * 20)
    epochs = np.array([dressed(augment, rows, epoch, state) for epoch in range(6)])
    assert not epochs[:, :10].any()
    for part in (epochs[:3, 10:], epochs[3:, 10:]):
        assert (np.sort(part, axis=0) == np.array([[0], [1], [2]])).all()


def test_too_many_captions():
    with pytest.raises(DataError, match="128 captions"):
        hook((("a",) * 128,))


# ---------------------------------------------------------------- several processes


class Step(nn.Module):
    """What data parallelism wraps."""

    def __init__(self, model: Toy) -> None:
        super().__init__()
        self.model, self.objective = model, started(model)

    def forward(self, x: Tensor, targets: Batch) -> Tensor:
        return self.objective.loss(self.model, self.model.encoder(x), targets)


def trained(model: Toy) -> list[nn.Parameter]:
    model.head.requires_grad_(False)
    return [p for p in model.parameters() if p.requires_grad]


def one_of_two(rank: int, folder: str) -> None:
    """Three pairs for the first process, two for the second."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    model = toy()
    chosen = trained(model)
    step = DistributedDataParallel(Step(model))
    loss = step(*batch((slice(0, 3), slice(3, 5))[rank]))
    loss.backward()
    torch.save([loss.detach(), *(p.grad for p in chosen)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path):
    model = toy()
    chosen = trained(model)
    loss = Step(model)(*batch())
    loss.backward()
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        saved = torch.load(tmp_path / f"{rank}.pt")
        assert saved[0].item() == pytest.approx(loss.item(), rel=1e-12)
        for parameter, gradient in zip(chosen, saved[1:], strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-10, atol=1e-12)
