"""The training loop: what it learns, repeats, resumes and refuses."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from test_curriculum import RECIPE, table

from harness import augment, predict, train
from harness.compose import compose
from harness.optim import learning_rate, optimiser
from harness.store import Store
from harness.train import TrainData, fit
from harness.types import Augment, DataError, Machine, Method, Mixture, Schedule, UsageError

SCRATCH = Schedule("sgd", 0.05, 16, 6, momentum=0.9, nesterov=True, weight_decay=1e-4, warmup=2)
ONWARD = Schedule("adam", 1e-3, 16, 6, decay="cosine")
MINI = replace(
    RECIPE,
    scratch=replace(SCRATCH, milestones=(4,)),
    onward=ONWARD,
    curriculum_epochs=4,
    levels=(0.0, 0.5),
    mixture=Mixture(keep=0.5, tail_fraction=0.5),
)
CPU = Machine()


def world(seed=0, classes=3):
    """Three classes of noise around their own colours, 40, 20 and 6 images; the last is hard."""
    rng = np.random.default_rng(seed)
    counts = (40, 20, 6)
    labels = np.repeat(np.arange(classes), counts)
    tests = np.repeat(np.arange(classes), 10)

    def paint(labels):
        images = rng.integers(0, 80, (len(labels), 32, 32, 3))
        images[np.arange(len(labels)), :, :, labels] += 120
        return images.astype(np.uint8)

    real, synthetic = paint(labels), paint(np.full(24, 2))
    rows = pl.concat(
        [table(40, 0, label=0), table(20, 40, label=1), table(6, 60, label=2, hard=True)]
    )
    pool = pl.concat([table(12, 66 + 12 * i, g, 2, True, 0.5) for i, g in enumerate((0, 50))])
    return TrainData(
        rows=rows,
        images=Store(real, synthetic),
        counts=counts,
        test_images=paint(tests),
        test_labels=tests,
        test_ids=np.arange(len(tests)) + 500,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        pool=pool,
    )


@pytest.fixture(scope="module")
def data():
    return world()


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    return fit(compose("CE"), data, MINI, 0, tmp_path_factory.mktemp("ce"), CPU)


def same(one, two):
    return all(
        a.numpy().tobytes() == b.numpy().tobytes()
        for a, b in zip(one.values(), two.values(), strict=True)
    )


def history(folder):
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def test_it_learns_and_leaves_its_files(data, tmp_path):
    seen = []
    found = fit(compose("CE"), data, MINI, 1, tmp_path, CPU, watch=seen.append)
    epochs = history(tmp_path)
    assert [e["epoch"] for e in epochs] == [e["epoch"] for e in seen] == list(range(6))
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert max(e["accuracy"] for e in epochs) > 0.6
    assert [e["lr"] for e in epochs] == pytest.approx([0.025, 0.05, 0.05, 0.05, 0.005, 0.005])
    assert all(e["images"] == 66 and e["levels"] == [] for e in epochs)
    assert found["head.weight"].shape == (3, 64)
    last, oracle = (
        pl.read_parquet(tmp_path / f"predictions-{name}.parquet") for name in ("last", "oracle")
    )
    schema = {"id": pl.Int64, "label": pl.Int32, "prediction": pl.Int32, "p_true": pl.Float32}
    assert last.schema == oracle.schema == schema
    assert last["id"].to_list() == list(range(500, 530))
    accuracies = [e["accuracy"] for e in epochs]
    for frame, expected in ((last, accuracies[-1]), (oracle, max(accuracies))):
        assert (frame["label"] == frame["prediction"]).mean() == pytest.approx(expected)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["oracle"]["epoch"] == accuracies.index(max(accuracies))  # the earlier of two
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.pt",
        "epochs.jsonl",
        "predictions-last.parquet",
        "predictions-oracle.parquet",
    ]


def test_a_seed_repeats_and_another_differs(data, weights, tmp_path):
    again = fit(compose("CE"), data, MINI, 0, tmp_path / "a", CPU)
    torch.manual_seed(99)  # the process's own randomness has no part in it
    once_more = fit(compose("CE"), data, MINI, 0, tmp_path / "b", CPU)
    assert same(weights, again)
    assert same(weights, once_more)
    assert not same(weights, fit(compose("CE"), data, MINI, 1, tmp_path / "c", CPU))


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("expression", ["BS", 'BS(counts="epoch")+DisCL(curriculum="random")'])
@pytest.mark.parametrize("epochs", [1, 3, 6])
def test_a_killed_run_goes_on_with_the_same_bits(data, weights, tmp_path, expression, epochs):
    method = compose(expression)
    start = weights if method.start else None
    whole = fit(method, data, MINI, 0, tmp_path / "whole", CPU, start)

    def kill(entry):
        if entry["epoch"] + 1 == epochs:
            raise Killed

    with pytest.raises(Killed):
        fit(compose(expression), data, MINI, 0, tmp_path / "cut", CPU, start, kill, save_s=0)
    rest = []
    found = fit(compose(expression), data, MINI, 0, tmp_path / "cut", CPU, start, rest.append)
    assert [e["epoch"] for e in rest] == list(range(epochs, 6))
    assert same(whole, found)
    for name in ("epochs.jsonl", "predictions-last.parquet", "predictions-oracle.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_spectrum_starts_from_weights_and_shows_its_levels(data, weights, tmp_path):
    method = compose("CE+DisCL(threshold=-1)")
    fit(method, data, MINI, 0, tmp_path, CPU, weights)
    epochs = history(tmp_path)
    assert [e["levels"] for e in epochs] == [[0.0], [0.0], [0.5], [1.0], [], []]
    assert {e["images"] for e in epochs} == {60}  # 30 of 60, and as many tail images
    assert epochs[0]["lr"] == 1e-3
    assert epochs[0]["accuracy"] > 0.5  # not from random weights
    with pytest.raises(UsageError, match="starts from the weights of CE"):
        fit(method, data, MINI, 0, tmp_path, CPU)


def test_a_control_run_has_as_many_images(data, weights, tmp_path):
    fit(compose("CE(control=True)"), data, MINI, 0, tmp_path, CPU, weights)
    assert {e["images"] for e in history(tmp_path)} == {60}


def test_a_checkpoint_of_another_run_is_refused(data, weights, tmp_path):
    fit(compose("CE"), data, MINI, 0, tmp_path, CPU)
    for method, recipe, seed in (
        (compose("BS"), MINI, 0),
        (compose("CE"), replace(MINI, threshold=0.1), 0),
        (compose("CE"), MINI, 1),
    ):
        with pytest.raises(DataError, match="belongs to another run"):
            fit(method, data, recipe, seed, tmp_path, CPU)
    fewer = replace(data, rows=data.rows[1:])
    with pytest.raises(DataError, match="belongs to another run"):
        fit(compose("CE"), fewer, MINI, 0, tmp_path, CPU)


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_damaged_checkpoint_is_named(data, tmp_path, keep):
    fit(compose("CE"), data, MINI, 0, tmp_path, CPU)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content) if keep < 1 else keep)])
    with pytest.raises(DataError, match=r"checkpoint\.pt is damaged; remove it"):
        fit(compose("CE"), data, MINI, 0, tmp_path, CPU)


def test_a_folder_that_cannot_be_written_is_told_before_training(data, tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(DataError, match="cannot write"):
        fit(compose("CE"), data, MINI, 0, tmp_path / "file" / "run", CPU, watch=seen.append)
    assert seen == []


def test_a_full_disk_is_a_data_error(data, tmp_path, monkeypatch):
    def full(path, content):
        raise DataError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("harness.checkpoint.write_atomic", full)
    with pytest.raises(DataError, match="No space left"):
        fit(compose("CE"), data, MINI, 0, tmp_path, CPU)


def test_a_loss_that_is_not_finite_names_epoch_and_learning_rate(data, tmp_path):
    wild = replace(MINI, scratch=Schedule("sgd", 1e18, 16, 6))
    with pytest.raises(DataError, match=r"epoch 0 .*learning rate 1e\+18"):
        fit(compose("CE"), data, wild, 0, tmp_path, CPU)


def test_start_weights_must_fit(data, weights, tmp_path):
    with pytest.raises(DataError, match="start weights do not fit resnet10"):
        fit(compose("CE+DisCL"), data, replace(MINI, width=4), 0, tmp_path, CPU, weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": (40, 20)}, "labels are in 0..1, found 0..2"),
        ({"rows": table(3).drop("hard")}, "column hard is Boolean, found no such column"),
        ({"rows": table(3).cast({"label": pl.Int64})}, "column label is Int32, found Int64"),
        ({"test_ids": np.arange(3)}, "expected equal"),
        ({"test_images": np.zeros((30, 32, 32, 3))}, "test images are uint8"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(data, change, words):
    with pytest.raises(DataError, match=words):
        replace(data, **change)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(("n", "expected"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (2, [2])])
def test_no_batch_has_a_single_image(n, expected):
    parts = list(train._batches(n, 4))
    assert [part.stop - part.start for part in parts] == expected
    assert parts[-1].stop == n


def test_learning_rates():
    steps = Schedule("sgd", 1.0, 1, 10, warmup=5, milestones=(6, 8), gamma=0.1)
    found = [learning_rate(steps, epoch, 0, 7) for epoch in range(10)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = Schedule("adam", 2.0, 1, 2, decay="cosine")
    found = [learning_rate(cosine, epoch, batch, 2) for epoch in range(2) for batch in range(2)]
    assert found == pytest.approx([2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5])
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        learning_rate(replace(cosine, decay="cosin"), 0, 0, 1)


def test_optimisers():
    weight = [torch.nn.Parameter(torch.zeros(2))]
    sgd = optimiser(weight, Schedule("sgd", 0.1, 1, 1, 0.02, 0.9, True)).param_groups[0]
    assert (sgd["lr"], sgd["weight_decay"], sgd["momentum"], sgd["nesterov"]) == (
        0.1,
        0.02,
        0.9,
        True,
    )
    assert type(optimiser(weight, Schedule("adamw", 0.1, 1, 1))).__name__ == "AdamW"
    with pytest.raises(UsageError, match="did you mean 'adam'"):
        optimiser(weight, Schedule("adm", 0.1, 1, 1))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_steps_on_channels_last_weights_are_the_plain_ones(name):
    def trained(**options):
        weight = torch.arange(72.0).reshape(2, 4, 3, 3).to(memory_format=torch.channels_last)
        weight = torch.nn.Parameter(weight)
        made = optimiser([weight], Schedule(name, 0.1, 1, 1, 0.02, 0.9, name == "sgd"))
        for group in made.param_groups:
            group.update(options)
        target = torch.sin(torch.arange(72.0)).reshape(2, 4, 3, 3)  # contiguous
        for _ in range(5):
            made.zero_grad()
            ((weight - target) ** 2).sum().backward()
            made.step()
        return weight.detach()

    torch.testing.assert_close(trained(), trained(fused=False, foreach=False))


def test_crops_and_flips_are_those_of_single_images():
    images = torch.randint(0, 256, (300, 8, 6, 3), dtype=torch.uint8)
    found = augment.crop_flip(images, torch.Generator().manual_seed(5))
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    padded = torch.nn.functional.pad(images, (0, 0, 4, 4, 4, 4))
    seen = set()
    for index, image in enumerate(found):
        parts = {(y, x): padded[index, y : y + 8, x : x + 6] for y in range(9) for x in range(9)}
        matches = {(*at, 0) for at, part in parts.items() if torch.equal(image, part)}
        matches |= {(*at, 1) for at, part in parts.items() if torch.equal(image, part.flip(1))}
        assert matches, index
        seen |= matches
    assert len(seen) > 120  # of 162
    again = augment.crop_flip(images, torch.Generator().manual_seed(5))
    assert torch.equal(found, again)


def test_normalise_is_channels_last_and_exact_enough():
    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    found = predict.normalise(images, mean, std)
    expected = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_hooks_see_features_levels_and_probes(data, tmp_path):
    class Hook(Augment):
        def start(self, model, data):
            self.seen = [("start", len(data.counts))]

        def rows(self, rows, progress):
            p = progress.probe(progress.at((50, 100)))
            self.seen.append((progress.epoch, p.shape, bool((p >= 0).all() and (p <= 1).all())))
            return rows[:10]

        def features(self, z, y):
            return torch.cat([z, z]), torch.cat([y, y])

    hook = Hook()
    method = Method("X", compose("CE").objective, augment=(hook,))
    fit(method, data, replace(MINI, scratch=replace(SCRATCH, epochs=2)), 0, tmp_path, CPU)
    assert hook.seen == [("start", 3), (0, (18,), True), (1, (18,), True)]
    assert [e["images"] for e in history(tmp_path)] == [10, 10]


def test_the_prior_is_of_the_epoch_where_the_objective_says_so(data, weights, tmp_path):
    priors = []

    class Spy:
        def __init__(self, inner):
            self.inner, self.counts = inner, inner.counts

        def loss(self, model, z, y, prior):
            priors.append(prior)
            return self.inner.loss(model, z, y, prior)

        def logits(self, model, z):
            return self.inner.logits(model, z)

    for counts, expected in (("real", [40 / 66, 20 / 66, 6 / 66]), ("epoch", [None, None, 0.5])):
        method = compose(f'BS(counts="{counts}", control=True)')
        method.objective = Spy(method.objective)
        priors.clear()
        fit(method, data, MINI, 0, tmp_path / counts, CPU, weights)
        assert priors[0].sum().item() == pytest.approx(1)
        for value, wanted in zip(priors[0].tolist(), expected, strict=True):
            assert wanted is None or value == pytest.approx(wanted)
