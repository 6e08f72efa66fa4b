"""The training loop: what it learns, repeats, resumes and refuses."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from epoch_tables import table
from torchvision.transforms import RandomResizedCrop
from training_world import CPU, MINI, SCRATCH, world

from harness.core.draws import Draws
from harness.core.errors import DataError, UsageError
from harness.core.specs import Schedule
from harness.methods.compose import compose
from harness.methods.terms import Augment, Finetune, Method, Objective, Phase
from harness.training import augmentation, trainer
from harness.training.data import Split, batches
from harness.training.inference import View
from harness.training.optimisation import learning_rate, optimiser
from harness.training.trainer import fit


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
    schema = {"split": pl.Utf8, "id": pl.Int64, "label": pl.Int32, "prediction": pl.Int32}
    schema |= {"p_true": pl.Float32}
    assert last.schema == oracle.schema == schema
    assert last["id"].to_list() == list(range(500, 530))
    accuracies = [e["accuracy"] for e in epochs]
    for frame, expected in ((last, accuracies[-1]), (oracle, max(accuracies))):
        assert (frame["label"] == frame["prediction"]).mean() == pytest.approx(expected)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["best"]["oracle"]["score"] == max(accuracies)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "behaviour.json",
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
        fit(compose(expression), data, MINI, 0, tmp_path / "cut", CPU, start, watch=kill, save_s=0)
    rest = []
    found = fit(compose(expression), data, MINI, 0, tmp_path / "cut", CPU, start, watch=rest.append)
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


@pytest.mark.parametrize("damage", ["empty", "short", "half", "a bit"])
def test_a_damaged_checkpoint_is_told_and_not_used(data, tmp_path, caplog, damage):
    weights = fit(compose("CE"), data, MINI, 0, tmp_path, CPU)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    ends = {"empty": 0, "short": 100, "half": len(content) // 2, "a bit": len(content)}
    path.write_bytes(content[: ends[damage]])
    again = fit(compose("CE"), data, MINI, 0, tmp_path, CPU)
    assert f"{path} is damaged: " in caplog.text
    assert "trained from the beginning" in caplog.text
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_folder_that_cannot_be_written_is_told_before_training(data, tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(DataError, match="cannot write"):
        fit(compose("CE"), data, MINI, 0, tmp_path / "file" / "run", CPU, watch=seen.append)
    assert seen == []


def test_a_full_disk_is_a_data_error(data, tmp_path, monkeypatch):
    def full(path, content):
        raise DataError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("harness.models.torch_files.write_atomic", full)
    with pytest.raises(DataError, match="No space left"):
        fit(compose("CE"), data, MINI, 0, tmp_path, CPU)


def test_a_loss_that_is_not_finite_names_epoch_and_learning_rate(data, tmp_path):
    wild = replace(MINI, scratch=Schedule("sgd", 1e18, 16, 6))
    with pytest.raises(DataError, match=r"epoch 0, .*learning rate 1e\+18"):
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
        ({"splits": {"test": Split(None, np.zeros(3), np.arange(2))}}, "as many of each"),
        ({"splits": {"test": Split(None, np.full(3, 9), np.arange(3))}}, r"found 9\.\.9"),
        ({"splits": {}}, "no split 'test'; available: none"),
        ({"val": "id_val"}, "no split 'id_val'; available: test"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(data, change, words):
    with pytest.raises(DataError, match=words):
        replace(data, **change)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(("n", "expected"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (2, [2])])
def test_no_batch_has_a_single_image(n, expected):
    parts = list(batches(n, 4))
    assert [part.stop - part.start for part in parts] == expected
    assert parts[-1].stop == n


def test_learning_rates():
    steps = Schedule("sgd", 1.0, 1, 10, warmup=5, milestones=(6, 8), gamma=0.1)
    found = [learning_rate(steps, epoch, 7 * epoch) for epoch in range(10)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = Schedule("adam", 2.0, 1, 2, decay="cosine")
    found = [learning_rate(cosine, step / 2, step) for step in range(4)]
    assert found == pytest.approx([2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5])
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        learning_rate(replace(cosine, decay="cosin"), 0, 1)


def test_learning_rate_of_image_text_models():
    """508 batches an epoch: 500 of warm-up, then a cosine over the other 9,660 (FLYP's code)."""
    schedule = Schedule("adamw", 1e-5, 256, 20, decay="cosine", warmup_steps=500)
    steps, begun = (0, 9, 499, 500, 5330, 10_159), 500 / 508
    found = [learning_rate(schedule, step / 508, step, begun) for step in steps]
    half = 1e-5 * (1 + math.cos(math.pi / 2)) / 2  # (5330 - 500) / 9660 = 1/2
    last = 1e-5 * (1 + math.cos(math.pi * 9659 / 9660)) / 2
    assert found == pytest.approx([2e-8, 2e-7, 1e-5, 1e-5, half, last], rel=1e-6)


def test_mixed_precision_trains(data, tmp_path):
    found = fit(compose("CE"), data, replace(MINI, precision="bf16"), 0, tmp_path, CPU)
    exact = fit(compose("CE"), data, MINI, 0, tmp_path / "exact", CPU)
    assert {value.dtype for value in found.values()} == {value.dtype for value in exact.values()}
    assert not same(found, exact)
    first, other = (history(folder)[0]["loss"] for folder in (tmp_path, tmp_path / "exact"))
    assert first == pytest.approx(other, rel=0.1)


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
    images = torch.randint(0, 256, (300, 32, 32, 3), dtype=torch.uint8)
    found = augmentation.crop_flip(images.numpy(), Draws((5,), 0, 300), 32)
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    padded = torch.nn.functional.pad(images, (0, 0, 4, 4, 4, 4))
    seen = set()
    for index, image in enumerate(found):
        parts = {(y, x): padded[index, y : y + 32, x : x + 32] for y in range(9) for x in range(9)}
        matches = {(*at, 0) for at, part in parts.items() if torch.equal(image, part)}
        matches |= {(*at, 1) for at, part in parts.items() if torch.equal(image, part.flip(1))}
        assert matches, index
        seen |= matches
    assert len(seen) > 120  # of 162
    again = augmentation.crop_flip(images.numpy(), Draws((5,), 0, 300), 32)
    assert torch.equal(found, again)


def test_normalise_is_channels_last_and_exact_enough():
    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    found = View(augmentation.none, augmentation.none, 4, mean, std).normalised(images)
    expected = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_hooks_see_features_levels_and_probes(data, tmp_path):
    class Hook(Augment):
        def start(self, model, tools):
            z = [
                tools.features(data.rows, 0, batch=8, batch_statistics=statistics)
                for statistics in (True, False)
            ]
            self.seen = [("start", z[0].shape, torch.equal(*z))]

        def rows(self, rows, progress):
            guess, p = progress.tools.probe(progress.at((50, 100)))
            self.seen.append((progress.epoch, guess.shape, bool((p >= 0).all() and (p <= 1).all())))
            return rows[:10]

        def pixels(self, images, y, draws):
            assert images.dtype == torch.uint8
            assert len(images) == len(y) == draws.n
            return 255 - images

        def features(self, z, y):
            return torch.cat([z, z]), torch.cat([y, y])

    hook = Hook()
    method = Method("X", "X", compose("CE").objective, augment=(hook,))
    fit(method, data, replace(MINI, scratch=replace(SCRATCH, epochs=2)), 0, tmp_path, CPU)
    assert hook.seen == [("start", (66, 64), False), (0, (18,), True), (1, (18,), True)]
    assert [e["images"] for e in history(tmp_path)] == [10, 10]


def test_looks_leave_the_weights_alone(data, tmp_path):
    class Looker(Augment):
        def start(self, model, tools):
            before = {k: v.clone() for k, v in model.state_dict().items()}
            settings = {"batch": 8, "batch_statistics": True}
            tools.features(data.rows, 0, **settings)
            assert same(before, model.state_dict())

        def rows(self, rows, progress):
            before = {k: v.clone() for k, v in progress.tools.model.state_dict().items()}
            progress.tools.probe(rows, lambda images, draws: images // 2, 0)
            assert same(before, progress.tools.model.state_dict())
            return rows

    method = Method("X", "X", compose("CE").objective, augment=(Looker(),))
    seen = fit(method, data, MINI, 0, tmp_path / "a", CPU)
    assert same(seen, fit(compose("CE"), data, MINI, 0, tmp_path / "b", CPU))


def test_the_prior_is_of_the_epoch_where_the_objective_says_so(data, weights, tmp_path):
    priors = []

    class Spy(Objective):
        def __init__(self, inner):
            self.inner, self.counts = inner, inner.counts

        def loss(self, model, z, batch):
            priors.append(batch.prior)
            return self.inner.loss(model, z, batch)

    for counts, expected in (("real", [40 / 66, 20 / 66, 6 / 66]), ("epoch", [None, None, 0.5])):
        method = compose(f'BS(counts="{counts}", control=True)')
        method.objective = Spy(method.objective)
        priors.clear()
        fit(method, data, MINI, 0, tmp_path / counts, CPU, weights)
        assert priors[0].sum().item() == pytest.approx(1)
        for value, wanted in zip(priors[0].tolist(), expected, strict=True):
            assert wanted is None or value == pytest.approx(wanted)


class Heads(Finetune):
    """Two phases: the head alone on features, then everything."""

    def start(self, model, tools):
        rows = tools.data.rows
        settings = {"batch": 16, "batch_statistics": False}
        self.z = tools.features(rows, 0, **settings)
        self.y = torch.from_numpy(rows["label"].to_numpy().astype("int64"))

    def phases(self, schedule):
        head = Schedule("adam", 1e-2, 32, 3)
        return (
            Phase("head", head, ("head",), on_features=True),
            Phase("all", replace(schedule, epochs=2)),
        )

    def table(self):
        return self.z, self.y


def with_heads():
    return Method("X", "X", compose("CE").objective, finetune=Heads())


def test_phases_train_their_parts(data, tmp_path):
    seen = []
    fit(with_heads(), data, MINI, 0, tmp_path, CPU, watch=seen.append)
    told = [(e["phase"], e["epoch"], e["epochs"], e["images"]) for e in seen]
    assert told == [*(("head", i, 3, 0) for i in range(3)), ("all", 0, 2, 66), ("all", 1, 2, 66)]
    first = seen[0]["accuracy"], seen[2]["loss"] < seen[0]["loss"]
    assert first[1]


@pytest.mark.parametrize("done", [1, 3, 4])
def test_a_run_killed_in_a_phase_goes_on_with_the_same_bits(data, tmp_path, done):
    whole = fit(with_heads(), data, MINI, 0, tmp_path / "whole", CPU)
    left = [done]

    def kill(entry):
        left[0] -= 1
        if not left[0]:
            raise Killed

    with pytest.raises(Killed):
        fit(with_heads(), data, MINI, 0, tmp_path / "cut", CPU, watch=kill, save_s=0)
    assert same(whole, fit(with_heads(), data, MINI, 0, tmp_path / "cut", CPU))


def test_the_encoder_rests_while_the_head_learns(data, tmp_path):
    class Only(Heads):
        def phases(self, schedule):
            return super().phases(schedule)[:1]

    method = Method("X", "X", compose("CE").objective, finetune=Only())
    found = fit(method, data, MINI, 0, tmp_path, CPU)
    _, first = trainer.first_weights(method, data, MINI, 0, tmp_path, CPU)
    changed = {k for k in found if not torch.equal(found[k], first[k])}
    assert changed == {"head.weight", "head.bias"}


def test_an_epoch_selected_on_a_validation_split(data, tmp_path):
    test = data.splits["test"]
    worst = Split(test.images, (test.labels + 1) % 3, test.ids)
    both = replace(data, splits={"test": test, "id_val": worst}, val="id_val")
    fit(compose("CE"), both, MINI, 0, tmp_path, CPU)
    found = pl.read_parquet(tmp_path / "predictions-best_val.parquet")
    assert found["split"].unique().sort().to_list() == ["id_val", "test"]
    right = [
        (f["label"] == f["prediction"]).mean()
        for name in ("best_val", "last", "oracle")
        for f in [pl.read_parquet(tmp_path / f"predictions-{name}.parquet")]
        for f in [f.filter(f["split"] == "id_val")]
    ]
    assert right[0] == max(right)


def test_looks_may_be_rarer_and_at_fewer_images(data, tmp_path):
    recipes = {"all": MINI, "some": replace(MINI, look_every=4, look_share=0.25)}
    for name, recipe in recipes.items():
        fit(compose("CE"), data, recipe, 0, tmp_path / name, CPU)

    def predicted(name, selection):
        return pl.read_parquet(tmp_path / name / f"predictions-{selection}.parquet")

    whole = predicted("all", "last")
    assert predicted("some", "last").equals(whole)  # looks change no weights
    part = whole.group_by("label").head(3)  # 2.5 of 10
    oracle = predicted("some", "oracle")
    assert oracle["id"].to_list() == part["id"].sort().to_list()
    seen = [e["accuracy"] for e in history(tmp_path / "some")]
    assert [accuracy is None for accuracy in seen] == [True, True, True, False, True, False]
    assert seen[-1] == (whole["label"] == whole["prediction"]).mean()
    # of the fourth and the last epoch, the better one on the part, and of two the earlier
    last = part["label"].eq(part["prediction"]).mean()
    assert oracle["label"].eq(oracle["prediction"]).mean() == max(seen[3], last)


def test_the_first_pictures_of_each_class_are_looked_at():
    ids, labels = np.array([9, 1, 8, 2, 7, 3]), np.array([0, 0, 0, 2, 0, 0])
    split = Split(None, labels, ids)
    assert split.first(0.2).tolist() == [1, 3]  # one of five, and the only one
    assert split.first(0.4).tolist() == [1, 3, 5]
    assert split.first(1).tolist() == list(range(6))


@pytest.mark.parametrize("expression", ["CE", "BS"])
def test_classes_with_no_image_and_with_one(data, tmp_path, expression):
    rows = pl.concat([data.rows.filter(data.rows["label"] == 0), data.rows[40:41]])
    few = replace(data, rows=rows, counts=(40, 1, 0), pool=None)
    found = fit(compose(expression), few, MINI, 0, tmp_path, CPU)
    assert all(torch.isfinite(v).all() for v in found.values())


def test_an_epoch_or_batch_of_one_image_is_refused(data, tmp_path):
    with pytest.raises(DataError, match="has 1 images; it takes two or more"):
        fit(compose("CE"), replace(data, rows=data.rows[:1]), MINI, 0, tmp_path / "a", CPU)
    single = replace(MINI, scratch=replace(SCRATCH, batch=1))
    with pytest.raises(UsageError, match="batches of 1; expected two images or more"):
        fit(compose("CE"), data, single, 0, tmp_path / "b", CPU)


def test_a_divergence_names_the_last_good_epoch(data, tmp_path):
    class Late(Objective):
        def __init__(self):
            self.inner, self.epoch = compose("CE").objective, 0

        def loss(self, model, z, batch):
            return self.inner.loss(model, z, batch) * (float("nan") if self.epoch == 2 else 1)

    method = Method("X", "X", Late())

    def count(entry):
        method.objective.epoch += 1

    words = r"X, phase all: the mean loss of epoch 2, .*nan.*checkpoint\.pt holds the last good"
    with pytest.raises(DataError, match=words):
        fit(method, data, MINI, 0, tmp_path, CPU, watch=count, save_s=0)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"] == 2


def test_views_of_large_pictures():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 44), (60, 50))]
    for name in ("imagenet", "inaturalist", "image_text", "centre", "image_text_centre"):
        view = getattr(augmentation, name)
        found = [view(pictures, Draws((s,), 0, 2), 32) for s in (7, 7, 8)]
        assert found[0].shape == (2, 32, 32, 3)
        assert found[0].dtype == torch.uint8
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2]) == name.endswith("centre")
    with pytest.raises(UsageError, match="images are 40x40 px and the network wants 32"):
        augmentation.crop_flip(np.zeros((1, 40, 40, 3), np.uint8), Draws((0,), 0, 1), 32)


@pytest.mark.parametrize("name", ["crop_flip", "imagenet", "inaturalist", "image_text"])
def test_a_picture_gets_the_same_in_any_batch(name):
    pictures = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    view, draws = getattr(augmentation, name), Draws((3,))
    whole = view(pictures, draws.at(slice(0, 12)), 32)
    for part in (slice(8, 12), slice(0, 3), slice(3, 8)):
        assert torch.equal(view(pictures[part], draws.at(part), 32), whole[part])


def test_crops_stay_within_their_pictures_and_their_areas():
    sizes = np.array([[40, 60]] * 4000 + [[100, 5]] * 10)
    u = Draws((1,), 0, len(sizes)).uniform(4 * augmentation.TRIES)
    top, left, high, wide = augmentation._crop_boxes(sizes, u, (0.08, 1.0)).T
    assert (np.minimum(top, left) >= 0).all()
    assert (top + high <= sizes[:, 0]).all()
    assert (left + wide <= sizes[:, 1]).all()
    area = (high * wide / (40 * 60))[:4000]
    assert (area > 0.07).all()
    picture, ratios = torch.zeros(3, 40, 60), [3 / 4, 4 / 3]
    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(picture, [0.08, 1.0], ratios) for _ in range(4000)]
    expected = np.mean([h * w for _, _, h, w in theirs]) / (40 * 60)
    assert area.mean() == pytest.approx(expected, abs=0.02)  # five standard deviations
    # no aspect up to 4/3 and no area from 0.9 fits a strip: its middle is all there is
    strip = augmentation._crop_boxes(sizes[-1:], u[-1:], (0.9, 1.0))
    assert strip.tolist() == [[46, 0, 7, 5]]


def test_an_epoch_s_pictures_do_not_depend_on_the_batch(data, tmp_path):
    class Spy(Augment):
        def __init__(self):
            self.seen = []

        def pixels(self, images, y, draws):
            self.seen.append(images)
            return images

    seen = {}
    for batch in (8, 16, 48):
        method = Method("X", "X", compose("CE").objective, augment=(Spy(),))
        recipe = replace(MINI, scratch=replace(SCRATCH, epochs=2, batch=batch))
        fit(method, data, recipe, 0, tmp_path / str(batch), CPU)
        seen[batch] = torch.cat(method.augment[0].seen)
    assert len(seen[8]) == 2 * 66
    assert torch.equal(seen[8], seen[16])
    assert torch.equal(seen[8], seen[48])


def test_warm_up_counts_the_steps_that_are_taken(data, tmp_path):
    """Passes that a curriculum asks for are steps, too; a killed run goes on with its count."""

    class Twice(Augment):
        def rows(self, rows, progress):
            progress.tools.train(rows)
            return rows

    def run(folder, **options):
        method = Method("X", "X", compose("CE").objective, augment=(Twice(),))
        fit(method, data, replace(MINI, scratch=schedule), 0, folder, CPU, **options)

    # 66 images in batches of 16 are 5 steps, 10 with the pass before them
    schedule = Schedule("sgd", 0.1, 16, 3, decay="cosine", warmup_steps=15)
    run(tmp_path / "whole")
    rates = [e["lr"] for e in history(tmp_path / "whole")]
    begun = 1 + 0.5  # half of the second epoch
    after = 0.1 * (1 + math.cos(math.pi * (2 - begun) / (3 - begun))) / 2
    assert rates == pytest.approx([0.1 / 15, 0.1 * 11 / 15, after])

    def kill(entry):
        if entry["epoch"] == 1:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "cut", watch=kill, save_s=0)
    run(tmp_path / "cut")
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_the_centre_is_that_of_the_smaller_picture():
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 32:96] = 200
    found = augmentation.image_text_centre([picture], None, 32)
    assert (found[:, :, 2:-2] == 200).all()  # the middle half of the width is all that is left
