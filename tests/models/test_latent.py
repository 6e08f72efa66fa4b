"""The network and the process of feature diffusion."""

import math

import pytest
import torch
from torch import nn

from harness.core.errors import DataError, UsageError
from harness.models.feature_diffusion import (
    Attention,
    Block,
    LinearAttention,
    Network,
    Process,
    RMSNorm,
    learn,
    sinusoids,
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def small(classes=3, length=16, seed=0, **changes):
    settings = {"dim": 8, "multipliers": (1, 2), "heads": (2, 4)} | changes
    return Network(length, classes, generator=seeded(seed), **settings)


class Constant(nn.Module):
    """Predicts one number everywhere, and keeps what it was asked."""

    def __init__(self, value):
        super().__init__()
        self.value, self.calls = value, []

    def forward(self, x, t, y):
        self.calls.append((x, t, y))
        return torch.full_like(x, self.value)


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize(
    ("shape", "parameters"),  # counted on the published code's networks
    [
        ((64, 100, 64, (1, 2, 4, 8)), 7_804_801),
        ((512, 1000, 512, (1, 2, 4)), 151_112_705),
    ],
)
def test_parameters(shape, parameters):
    with torch.device("meta"):
        network = Network(*shape)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_every_parameter_takes_part_and_the_shape_stays():
    network = small(positions=True)
    z, y = torch.rand(5, 16, generator=seeded(1)), torch.tensor([0, 1, 2, 0, 1])
    assert network(z, torch.arange(5), y).shape == (5, 16)
    Process(10).loss(network, z, y, seeded(2)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_first_weights_are_a_function_of_the_generator():
    one, same, other = (small(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["first.weight"], other["first.weight"])
    weight = one["middle.condition.weight"]  # (32, 32): uniform within 1 / sqrt(32) = 0.17678
    assert weight.abs().max() < 0.17678
    assert weight.std() == pytest.approx(0.17678 / math.sqrt(3), rel=0.05)
    assert one["classes.weight"].std() == pytest.approx(1, rel=0.2)


def test_classes_and_times_change_the_output():
    network, x = small(), torch.rand(1, 16, generator=seeded(1))
    z = [network(x, torch.tensor([t]), torch.tensor([y])) for t, y in ((5, 0), (5, 1), (9, 0))]
    assert (z[0] - z[1]).abs().max() > 1e-3
    assert (z[0] - z[2]).abs().max() > 1e-3


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_groups_of_entries_that_halving_joins_are_alike(levels):
    network = small(multipliers=(1,) * levels)
    size = 2 ** (levels - 1)
    groups = torch.randperm(16 // size, generator=seeded(3))
    order = (groups[:, None] * size + torch.arange(size)).flatten()
    x, t, y = torch.rand(2, 16, generator=seeded(4)), torch.tensor([3, 7]), torch.tensor([0, 2])
    same = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(network(x[:, order], t, y), network(x, t, y)[:, order], **same)
    if levels > 1:  # but not the entries of a group
        order = order.view(-1, size).flip(1).flatten()
        assert (network(x[:, order], t, y) - network(x, t, y)[:, order]).abs().max() > 1e-3


def test_positions_tell_groups_of_entries_apart():
    network = small(positions=True)
    x, t, y = torch.rand(1, 16, generator=seeded(4)), torch.tensor([3]), torch.tensor([0])
    order = torch.arange(16).roll(2)
    assert (network(x[:, order], t, y) - network(x, t, y)[:, order]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("length", "changes", "words"),
    [
        (100, {"multipliers": (1, 2, 4, 8)}, "4 levels halves features 3 times, which 100 entries"),
        (100, {"multipliers": (1, 2, 4, 8)}, "expected a multiple of 8, or up to 3 levels"),
        (7, {}, "expected a multiple of 2, or one level"),
        (16, {"multipliers": ()}, "without levels"),
        (16, {"dim": 12}, "12 channels; expected a multiple of 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(length, changes, words):
    with pytest.raises(UsageError, match=words):
        small(length=length, **changes)


def test_sinusoids_are_those_of_diffusers():
    from diffusers.models.embeddings import get_timestep_embedding

    t = torch.tensor([0, 1, 17, 999])
    embedding = get_timestep_embedding(t, 16)
    torch.testing.assert_close(sinusoids(t, 16), embedding, rtol=0, atol=1e-4)


def test_rms_norm_is_pytorchs_over_channels():
    x = torch.randn(2, 8, 5, generator=seeded(0))
    ours, pytorchs = RMSNorm(8), nn.RMSNorm(8, eps=1e-12)
    with torch.no_grad():
        ours.weight.copy_(torch.arange(8.0)[:, None])
        pytorchs.weight.copy_(torch.arange(8.0))
    torch.testing.assert_close(ours(x), pytorchs(x.transpose(1, 2)).transpose(1, 2))


def test_block_is_its_definition():
    layer, x = Block(3, 16), torch.randn(2, 3, 5, generator=seeded(0))
    scale, shift = torch.randn(2, 2, 16, 1, generator=seeded(1))
    h = torch.einsum("oi,bil->bol", layer.conv.weight[:, :, 0], x) + layer.conv.bias[:, None]
    groups = h.reshape(2, 8, 10)  # two channels of five positions each
    spread = groups.var(2, correction=0, keepdim=True).add(1e-5).sqrt()
    normed = ((groups - groups.mean(2, keepdim=True)) / spread).view(2, 16, 5)
    changed = normed * (1 + scale) + shift
    torch.testing.assert_close(layer(x, (scale, shift)), changed * changed.sigmoid())
    torch.testing.assert_close(layer(x), normed * normed.sigmoid())


def test_halving_keeps_the_first_of_two():
    network, inputs = small(multipliers=(1, 1)), {}
    level = network.down[0]
    level.attention.register_forward_hook(lambda *a: inputs.update(out=a[2]))
    level.change.register_forward_pre_hook(lambda *a: inputs.update(halved=a[1][0]))
    network(torch.rand(1, 16), torch.tensor([0]), torch.tensor([0]))
    assert torch.equal(inputs["halved"], inputs["out"][:, :, torch.arange(0, 16, 2)])


def parts(layer, x):
    """Queries, keys and values (B, heads, width, L), from the weights themselves."""
    rows = torch.einsum("oi,bil->bol", layer.qkv.weight[:, :, 0], layer.norm(x))
    return rows.view(len(x), *layer.shape, -1).unbind(1)


def test_attention_is_its_definition():
    layer, x = Attention(8, 2, 4), torch.randn(3, 8, 6, generator=seeded(0))
    q, k, v = parts(layer, x)
    weights = torch.einsum("bhdi,bhdj->bhij", q, k).div(2).softmax(-1)  # sqrt(4) = 2
    mixed = torch.einsum("bhij,bhdj->bhdi", weights, v).reshape(3, 8, 6)
    torch.testing.assert_close(layer(x), x + layer.out(mixed))


def test_linear_attention_is_its_definition():
    layer, x = LinearAttention(8, 2, 4), torch.randn(3, 8, 6, generator=seeded(0))
    q, k, v = parts(layer, x)
    weights = torch.einsum("bhdi,bhdj->bhij", q.softmax(2) / 2, k.softmax(3))
    mixed = torch.einsum("bhij,bhdj->bhdi", weights, v).reshape(3, 8, 6)
    torch.testing.assert_close(layer(x), x + layer.out(mixed))


# ---------------------------------------------------------------- the process


def test_schedule():
    """Products of (1 - beta) telescope to cos(a)^2 / cos(b)^2; only the last beta is clipped."""
    process, b = Process(1000), 0.008 / 1.008 * math.pi / 2
    for t in (0, 1, 10, 500, 900, 998):
        a = ((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2
        before = (t / 1000 + 0.008) / 1.008 * math.pi / 2
        left = math.sin(a + b) * math.sin(a - b) / math.cos(b) ** 2  # 1 - alpha_bar
        beta = math.sin(a + before) * math.sin(a - before) / math.cos(before) ** 2
        assert float(process.beta[t]) == pytest.approx(beta, rel=1e-6)
        alpha_bar = (math.cos(a) / math.cos(b)) ** 2
        assert float(process.alpha_bar[t]) == pytest.approx(alpha_bar, rel=1e-6)
        assert float(process.snr[t]) == pytest.approx(alpha_bar / left, rel=1e-6)
    assert float(process.beta[999]) == 0.999
    last = float(process.alpha_bar[998]) * 0.001
    assert float(process.alpha_bar[999]) == pytest.approx(last, rel=1e-9)
    assert float(process.snr[999]) == pytest.approx(last / (1 - last), rel=1e-9)
    assert len(process.snr) == 1000


def test_loss_by_hand():
    """One time step: beta is clipped to 0.999, so SNR = 0.001 / 0.999."""
    z = torch.tensor([[0.5, 1.0], [0.0, 0.0]])  # x0: (0, 1) and (-1, -1)
    loss = Process(1).loss(Constant(0.5), z, torch.tensor([0, 1]), seeded(0))
    # squared errors (0.25, 0.25) and (2.25, 2.25): their mean is 1.25
    assert float(loss) == pytest.approx(1.25 * 0.001 / 0.999, rel=1e-6)


def test_loss_weighs_every_sample_by_the_snr_of_its_own_time():
    process, network = Process(2), Constant(0.0)
    z = torch.tensor([[1.0]] * 3 + [[2.0]] * 3)  # squared errors 1 and (2 * 2 - 1)^2 = 9
    loss = process.loss(network, z, torch.zeros(6, dtype=torch.int64), seeded(1))
    times = network.calls[0][1].tolist()
    assert set(times) == {0, 1}
    expected = [float(process.snr[t]) * e for t, e in zip(times, (1, 1, 1, 9, 9, 9), strict=True)]
    assert float(loss) == pytest.approx(sum(expected) / 6, rel=1e-6)


def test_noised_features_have_the_means_and_variances_of_their_times():
    process, network = Process(4), Constant(0.0)
    process.loss(network, torch.full((4000, 16), 0.9), torch.zeros(4000).long(), seeded(0))
    x, t, _ = network.calls[0]
    for time in range(4):
        features, alpha_bar = x[t == time], float(process.alpha_bar[time])
        assert 800 < len(features) < 1200  # 1000 +- 27: uniform
        # 16,000 numbers around sqrt(alpha_bar) * (2 * 0.9 - 1)
        assert float(features.mean()) == pytest.approx(0.8 * math.sqrt(alpha_bar), abs=0.04)
        assert float(features.var()) == pytest.approx(1 - alpha_bar, rel=0.06)


@pytest.mark.parametrize("t", [1, 10, 500, 998, 999])
def test_a_step_back_is_that_of_diffusers(t):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="sample")
    x, x0 = torch.randn(2, 1, 8, generator=seeded(0)), torch.rand(2, 1, 8, generator=seeded(1))
    of_x0, of_x, deviation = Process(1000).posterior(t)
    ours = of_x0 * x0 + of_x * x + deviation * torch.randn(x.shape, generator=seeded(2))
    expected = scheduler.step(x0, t, x, generator=seeded(2)).prev_sample
    torch.testing.assert_close(ours, expected, rtol=0, atol=5e-3)  # theirs is float32 throughout


def test_the_last_step_is_the_prediction_itself():
    of_x0, of_x, deviation = Process(1000).posterior(0)
    assert of_x0 == pytest.approx(1, rel=1e-9)
    assert (of_x, deviation) == (0, 0)


@pytest.mark.parametrize(("predicted", "sampled"), [(7.0, 1.0), (-7.0, 0.0), (0.2, 0.6)])
def test_predictions_are_clamped_and_mapped_back(predicted, sampled):
    network, y = Constant(predicted), torch.tensor([2, 0])
    features = Process(5).sample(network, y, 3, seeded(0))
    torch.testing.assert_close(features, torch.full((2, 3), sampled))
    assert [t.tolist() for _, t, _ in network.calls] == [[t, t] for t in (4, 3, 2, 1, 0)]
    assert all(torch.equal(labels, y) for _, _, labels in network.calls)


def test_samples_are_a_function_of_the_generator_and_of_the_classes():
    network, process, y = small(), Process(6), torch.tensor([0, 1, 2])
    torch.manual_seed(1)
    features = process.sample(network, y, 16, seeded(5))
    assert features.shape == (3, 16)
    assert features.min() >= 0
    assert features.max() <= 1
    torch.manual_seed(2)  # PyTorch's own generator plays no part
    assert torch.equal(features, process.sample(network, y, 16, seeded(5)))
    assert not torch.equal(features, process.sample(network, y, 16, seeded(6)))
    assert not torch.equal(features, process.sample(network, y.flip(0), 16, seeded(5)))
    assert not features.requires_grad


# ---------------------------------------------------------------- learning


def clusters(means, spread=0.05):
    """256 vectors around each class's mean, shuffled."""
    y = torch.arange(len(means)).repeat(256)
    order = torch.randperm(len(y), generator=seeded(0))
    y = y[order]
    return means[y] + spread * torch.randn(len(y), means.shape[1], generator=seeded(1)), y


FLAT = torch.stack([torch.full((8,), 0.2), torch.full((8,), 0.8)])
PATTERNS = torch.cat([FLAT[:, :4], FLAT.flip(0)[:, 4:]], dim=1)  # equal but for the order


@pytest.mark.parametrize(("means", "positions"), [(FLAT, False), (PATTERNS, True)])
def test_two_clusters_are_learned(means, positions):
    z, y = clusters(means)
    network, process = small(classes=2, length=8, positions=positions), Process(10)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    batches = list(zip(z.split(64), y.split(64), strict=True))
    losses = [learn(network, process, optimiser, batches, seeded(i)) for i in range(15)]
    assert losses[-1] < losses[0] / 5
    labels = torch.tensor([0, 1]).repeat_interleave(100)
    samples = process.sample(network, labels, 8, seeded(99))
    nearest = torch.cdist(samples, means).argmin(1)
    assert (nearest == labels).float().mean() > 0.98
    for label in (0, 1):
        mean = samples[labels == label].mean(0)
        torch.testing.assert_close(mean, means[label], rtol=0, atol=0.1)


def test_the_loss_of_a_pass_is_the_mean_over_its_features():
    network = small()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
    z, y = torch.rand(5, 16, generator=seeded(0)), torch.tensor([0, 1, 2, 0, 1])
    process = Process(1)  # one time step: the losses differ by noise and features alone
    loss = learn(network, process, optimiser, [(z[:3], y[:3]), (z[3:], y[3:])], seeded(1))
    generator = seeded(1)
    first = process.loss(network, z[:3], y[:3], generator).item()
    second = process.loss(network, z[3:], y[3:], generator).item()
    assert loss == pytest.approx((3 * first + 2 * second) / 5, rel=1e-5)


def test_a_loss_that_is_not_finite_is_an_error():
    network = small()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    batch = (torch.full((2, 16), math.inf), torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"the loss is nan at learning rate 0\.5"):
        learn(network, Process(3), optimiser, [batch], seeded(0))
