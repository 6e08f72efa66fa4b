"""LDMLR: what is generated, in which order, and that a killed run goes on as if it had not been."""

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from torch import nn

from baselines import ldmlr
from harness.core.errors import UsageError
from harness.core.preemption import Halted
from harness.core.specs import Schedule
from harness.datasets.subsets import class_counts
from harness.methods.arguments import check, declared
from harness.methods.compose import compose
from harness.methods.terms import Phase
from harness.models import feature_diffusion

EVERY = ("many", "medium", "few")
COUNTS = (9, 0, 4)
TINY = {
    "dim": 8,
    "multipliers": (1, 2),
    "heads": 1,
    "head_width": 4,
    "timesteps": 3,
    "epochs": 5,
    "optimiser": "adam",
    "batch": 6,
    "minimum": 3,
    "share": 0.5,
    "sample_batch": 4,
}


class Tools:
    """Features of image i are i + 0, 1, ... 7 hundredths."""

    device, bars = "cpu", False

    def __init__(self, folder, counts=COUNTS, width=8, halts=None):
        self.halts = halts  # the pause that is the end
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        rows = pl.DataFrame({"image": range(len(labels)), "label": labels})
        self.data = SimpleNamespace(rows=rows.cast({"label": pl.Int32}), counts=counts)
        self.folder, self.width, self.calls = folder, width, []

    def features(self, rows, seed, *, batch, batch_statistics):
        self.calls.append((batch, batch_statistics))
        assert seed >= 0
        images = torch.tensor(rows["image"].to_list(), dtype=torch.float32)
        return (images[:, None] + torch.arange(self.width)) / 100

    def pause(self, keep=None):
        if self.halts is None:
            return
        self.halts -= 1
        if not self.halts:
            if keep is not None:
                keep()
            raise Halted


def model(scale=1.0):
    network_like = nn.Module()
    network_like.encoder, network_like.head = nn.Linear(2, 8), nn.Linear(8, 3)
    with torch.no_grad():
        network_like.encoder.weight.fill_(scale)
        network_like.encoder.bias.zero_()
    return network_like


def begun(folder, scale=1.0, halts=None, **changes):
    """The table after the first two stages."""
    finetune = ldmlr.term(**(TINY | changes)).finetune
    finetune.start(model(scale), Tools(folder, halts=halts))
    return finetune.table()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------- how many


def test_numbers_by_hand():
    def some(counts, share=0.2, minimum=5, groups=EVERY):
        return ldmlr.numbers(counts, share, minimum, groups)

    assert some([500, 100, 27, 25, 24, 3, 0]) == (100, 20, 5, 5, 5, 5, 0)  # of 5.4, 5, 4.8, 0.6
    # halves go to the even neighbour: 12.5, 13.5, 0.5, 1.5
    assert some([25, 27, 1, 3], share=0.5, minimum=0) == (12, 14, 0, 2)
    assert some([10, 14], share=0.25, minimum=0) == (2, 4)  # 2.5 and 3.5


def test_groups_are_those_of_100_and_20_images():
    def some(*groups):
        return ldmlr.numbers([101, 100, 99, 20, 19, 1, 0], 0.1, 5, groups)

    assert some("many") == (10, 10, 0, 0, 0, 0, 0)
    assert some("medium") == (0, 0, 10, 5, 0, 0, 0)
    assert some("few") == (0, 0, 0, 0, 5, 5, 0)
    assert some("few", "many") == (10, 10, 0, 0, 5, 5, 0)


@pytest.mark.parametrize(("imbalance", "total"), [(100, 2262), (50, 2564)])
def test_totals_on_cifar_100_lt(imbalance, total):
    """Sums of max(round(0.2 n), 5) over the classes, counted apart from this code."""
    counts = class_counts(500, 100, imbalance)
    assert sum(ldmlr.numbers(counts, 0.2, 5, EVERY)) == total


# ---------------------------------------------------------------- the table


def test_the_table_is_the_generated_features_then_the_encoded_ones(tmp_path):
    tools = Tools(tmp_path)
    finetune = ldmlr.term(**TINY, encode_batch=32).finetune
    finetune.start(model(), tools)
    z, y = finetune.table()
    assert z.shape == (7 + 13, 8)
    assert (z.dtype, y.dtype) == (torch.float32, torch.int64)
    assert y[:7].tolist() == [0, 0, 0, 0, 2, 2, 2]  # round(4.5) = 4; max(2, 3) = 3; none of none
    assert z[:7].min() >= 0
    assert z[:7].max() <= 1
    images = (z[7:, 0] * 100).round().int().tolist()
    assert sorted(images) == list(range(13))
    assert images != sorted(images)
    assert y[7:].tolist() == [0 if image < 9 else 2 for image in images]
    assert tools.calls == [(32, True)]


def test_the_seed_decides_the_order_and_the_features(tmp_path):
    one, again = begun(tmp_path / "a"), begun(tmp_path / "b")
    other = begun(tmp_path / "c", seed=4)
    assert same(one, again)
    assert not torch.equal(one[0][7:], other[0][7:])
    assert not torch.equal(one[0][:7], other[0][:7])


def test_only_the_groups_asked_for_are_generated(tmp_path):
    z, y = begun(tmp_path, groups=("many",))
    assert z.shape == (13, 8)
    assert len(y) == 13


def test_the_generated_features_follow_the_encoded_ones(tmp_path):
    """Not a random network's: training changes them."""
    short, long = begun(tmp_path / "a", epochs=1), begun(tmp_path / "b", epochs=2)
    assert not torch.equal(short[0][:7], long[0][:7])


def test_batches_are_the_same_in_every_epoch_and_keep_their_order(tmp_path, monkeypatch):
    epochs = []

    def learn(network, process, optimiser, batches, generator):
        epochs.append((batches, generator.initial_seed()))
        return 0.0

    monkeypatch.setattr(feature_diffusion, "learn", learn)
    z, y = begun(tmp_path)
    assert len(epochs) == 5
    for batches, _ in epochs:
        assert [len(part) for part, _ in batches] == [6, 6, 1]
        assert torch.equal(torch.cat([part for part, _ in batches]), z[7:])
        assert torch.equal(torch.cat([labels for _, labels in batches]), y[7:])
    assert len({seed for _, seed in epochs}) == 5  # other noise in every epoch


def test_every_batch_of_samples_has_noise_of_its_own(tmp_path, monkeypatch):
    seeds = []

    def sample(process, network, y, length, generator, watch):
        seeds.append(generator.initial_seed())
        return torch.zeros(len(y), length)

    monkeypatch.setattr(feature_diffusion.Process, "sample", sample)
    begun(tmp_path)
    assert len(seeds) == len(set(seeds)) == 2


def test_the_optimiser_is_plain_sgd(tmp_path, monkeypatch):
    groups = []

    def learn(network, process, optimiser, batches, generator):
        groups.append((type(optimiser), optimiser.param_groups[0]))
        return 0.0

    monkeypatch.setattr(feature_diffusion, "learn", learn)
    begun(tmp_path, optimiser="sgd", lr=1e-4, epochs=1)
    kind, group = groups[0]
    assert kind is torch.optim.SGD
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-4, 0, 0)


# ---------------------------------------------------------------- kills


class Killed(Exception):
    pass


def killing(function, number):
    """`function`, but its call of that number (from 1) is a kill; and the list of calls."""
    calls = []

    def instead(*arguments, **named):
        calls.append(arguments)
        if len(calls) == number:
            raise Killed
        return function(*arguments, **named)

    return instead, calls


def test_killed_in_training_it_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(ldmlr, "SAVE_S", 0)
    whole = begun(tmp_path / "whole")
    real = feature_diffusion.learn
    killer, _ = killing(real, 4)
    monkeypatch.setattr(feature_diffusion, "learn", killer)
    with pytest.raises(Killed):
        begun(tmp_path / "cut")
    counter, calls = killing(real, 0)
    monkeypatch.setattr(feature_diffusion, "learn", counter)
    assert same(begun(tmp_path / "cut"), whole)
    assert len(calls) == 2  # three of five epochs were kept


@pytest.mark.parametrize(
    ("halts", "epochs", "batches"),
    [(3, 2, 2), (5, 0, 2), (7, 0, 2), (8, 0, 2), (9, 0, 1)],  # pauses: 5 epochs, 2 x 3 steps
)
def test_a_run_that_is_to_end_keeps_its_epochs(halts, epochs, batches, tmp_path, monkeypatch):
    whole = begun(tmp_path / "whole")
    with pytest.raises(Halted):
        begun(tmp_path / "cut", halts=halts)
    learns, trained = killing(feature_diffusion.learn, 0)
    samples, sampled = killing(feature_diffusion.Process.sample, 0)
    monkeypatch.setattr(feature_diffusion, "learn", learns)
    monkeypatch.setattr(feature_diffusion.Process, "sample", samples)
    assert same(begun(tmp_path / "cut"), whole)
    assert (len(trained), len(sampled)) == (epochs, batches)


def test_killed_in_sampling_it_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    whole = begun(tmp_path / "whole")  # batches of 4 and 3 features
    real = feature_diffusion.Process.sample
    killer, _ = killing(real, 2)
    monkeypatch.setattr(feature_diffusion.Process, "sample", killer)
    with pytest.raises(Killed):
        begun(tmp_path / "cut")
    counter, calls = killing(real, 0)
    monkeypatch.setattr(feature_diffusion.Process, "sample", counter)
    trainer, epochs = killing(feature_diffusion.learn, 1)
    monkeypatch.setattr(feature_diffusion, "learn", trainer)
    assert same(begun(tmp_path / "cut"), whole)
    assert (len(calls), len(epochs)) == (1, 0)


def test_a_finished_run_neither_trains_nor_samples_again(tmp_path, monkeypatch):
    whole = begun(tmp_path)
    for name in ("learn", "Network"):
        monkeypatch.setattr(feature_diffusion, name, killing(None, 1)[0])
    assert same(begun(tmp_path), whole)


@pytest.mark.parametrize("change", [{"scale": 2.0}, {"timesteps": 4}, {"seed": 5}])
def test_files_of_another_run_are_not_used(change, tmp_path, monkeypatch):
    begun(tmp_path)
    counter, calls = killing(feature_diffusion.learn, 0)
    monkeypatch.setattr(feature_diffusion, "learn", counter)
    other = begun(tmp_path, **change)  # scale: of the encoder's weights
    assert len(calls) == 5
    assert same(other, begun(tmp_path / "fresh", **change))


@pytest.mark.parametrize("file", [ldmlr.GENERATED, ldmlr.NETWORK])
def test_a_damaged_file_is_made_again(file, tmp_path, caplog):
    whole = begun(tmp_path)
    (tmp_path / ldmlr.GENERATED).unlink()
    (tmp_path / file).write_bytes(b"PK\x03\x04 half a file")
    assert same(begun(tmp_path), whole)
    assert f"{file} is damaged: " in caplog.text


# ---------------------------------------------------------------- the term


def test_the_head_alone_is_trained_on_features():
    finetune = ldmlr.term().finetune
    head = Schedule("adam", 1e-3, 1024, 400, weight_decay=1e-5)
    expected = (Phase("head", head, ("head",), on_features=True),)
    assert finetune.phases(Schedule("sgd", 0.1, 64, 30)) == expected


def test_it_goes_on_from_the_run_without_it():
    method = compose("CE+LDMLR")
    assert method.start == "CE"
    assert method.expression == "CE+LDMLR"
    assert compose("BS+LDMLR(share=0.5)").start == "BS"


def test_published_values():
    settings = ldmlr.term().finetune.settings
    published = (64, (1, 2, 4, 8), 4, 32, False, 1000, 201, "sgd", 1e-4, 256, 64, 0.2, 5, EVERY)
    assert astuple(settings) == (*published, 1024, 400, 1e-3, 1e-5, 1024, 123)
    assert ldmlr.defaults("cifar100-lt", "paper") == {}
    large = {"dim": 512, "multipliers": (1, 2, 4), "encode_batch": 128}
    assert ldmlr.defaults("imagenet-lt", "paper") == large


@pytest.mark.parametrize("profile", ["mini", "smoke", "paper"])
@pytest.mark.parametrize("dataset", ["cifar100-lt", "imagenet-lt"])
def test_defaults_are_arguments(dataset, profile):
    assert ldmlr.term(**ldmlr.defaults(dataset, profile)).onward


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_the_small_networks_take_128_features_and_16(profile):
    chosen = ldmlr.term(**ldmlr.defaults("cifar100-lt", profile)).finetune.settings
    for length in (128, 16):
        shape = (chosen.dim, chosen.multipliers, (chosen.heads, chosen.head_width))
        network = feature_diffusion.Network(length, 3, *shape)
        out = network(torch.rand(2, length), torch.tensor([0, 1]), torch.tensor([0, 2]))
        assert out.shape == (2, length)


def test_features_that_cannot_be_halved_are_refused(tmp_path):
    finetune = ldmlr.term(**TINY).finetune
    with pytest.raises(UsageError, match="halves features 1 times, which 7 entries do not allow"):
        finetune.start(model(), Tools(tmp_path, width=7))


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("dim", 12, r"12 is not allowed; a whole number in \[8, 8192\], a multiple of 8"),
        ("dim", 64.0, r"64\.0 is not allowed; a whole number in \[8, 8192\]"),
        ("multipliers", (), r"\(\) is not allowed; a tuple of whole numbers in \[1, 64\]"),
        ("multipliers", 2, "2 is not allowed; a tuple"),
        ("multipliers", (1, 0), r"0 is not allowed; a whole number in \[1, 64\]"),
        ("heads", 0, r"0 is not allowed; a whole number in \[1, 1024\]"),
        ("head_width", True, "True is not allowed; a whole number"),
        ("positions", 1, "1 is not allowed; allowed: False, True"),
        ("timesteps", 0, "0 is not allowed; a whole number"),
        ("epochs", 0, "0 is not allowed; a whole number"),
        ("optimiser", "adamm", "'adamm' is not allowed; did you mean 'adam'"),
        ("lr", -1, r"-1 is not allowed; a number in \[0, 1000\]"),
        ("lr", float("nan"), "nan is not allowed"),
        ("batch", 0, "0 is not allowed"),
        ("encode_batch", 1, r"1 is not allowed; a whole number in \[2,"),
        ("share", "0.2", "'0.2' is not allowed; a number"),
        ("minimum", -1, "-1 is not allowed"),
        ("groups", (), "a tuple of some of many, medium, few"),
        ("groups", "few", "'few' is not allowed; a tuple"),
        ("groups", ("fwe",), "'fwe' is not allowed; did you mean 'few'"),
        ("sample_batch", 0, "0 is not allowed"),
        ("head_epochs", 0, "0 is not allowed"),
        ("head_lr", None, "None is not allowed; a number"),
        ("head_weight_decay", -0.1, "-0.1 is not allowed"),
        ("head_batch", 0, "0 is not allowed"),
        ("seed", -1, "-1 is not allowed"),
    ],
)
def test_values_that_are_not_allowed(argument, value, words):
    with pytest.raises(UsageError, match=rf"^LDMLR\({argument}=\.\.\.\).*{words}"):
        check("LDMLR", declared(ldmlr.term, "ldmlr.py"), {argument: value})


def test_a_group_is_named_once():
    with pytest.raises(UsageError, match=r"'few', 'few'.* is not allowed; it names a group twice"):
        compose("CE+LDMLR(groups=('few', 'few'))")


def test_composing_loads_no_torch():
    code = "import sys; from harness.methods.compose import compose"
    code += "; compose('CE+LDMLR(groups=(\"few\",))')"
    code += "; print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False\n", "")
