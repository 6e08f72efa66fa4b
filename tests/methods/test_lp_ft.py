"""LP-FT: the start, the probe (against scikit-learn), its choice, its file."""

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from toy_clip import Toy

from baselines import lp_ft
from harness.core.errors import DataError, UsageError
from harness.core.specs import Schedule
from harness.methods.compose import compose
from harness.methods.terms import Batch
from harness.models import logistic_regression, torch_files

CAPTIONS = (("a", "b"), ("c",), ("d",))
VECTORS = torch.tensor([[3.0, 0], [0, 5], [0, -2], [-4, 3]])
CLASSES = 4  # the last one has no image


def clouds(n: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Three overlapping classes of n points, far from the origin and on another scale than 1."""
    rng = np.random.default_rng(seed)
    centres = np.array([[30.0, 4, 0, 0, 0], [33, 2, 0, 0, 0], [31, 7, 1, 0, 0]])
    labels = np.arange(3 * n) % 3
    return torch.from_numpy(centres[labels] + 2 * rng.standard_normal((3 * n, 5))).float(), labels


class Tools:
    """The loop's side: features are ready, the folder is a real one."""

    def __init__(self, folder: Path, n: int = 40, val: bool = True, seed: int = 0) -> None:
        self.z, labels = clouds(n, seed)
        self.z_val, truth = clouds(30, 1)
        images = np.arange(len(labels))
        self.data = SimpleNamespace(
            rows=pl.DataFrame({"image": images, "label": pl.Series(labels, dtype=pl.Int32)}),
            counts=(n, n, n, 0),
            captions=(*CAPTIONS, ("b",)),
            val="val" if val else None,
            splits={"val": SimpleNamespace(labels=truth)} if val else {},
        )
        self.folder, self.device, self.seeds = folder, "cpu", []

    def features(self, rows, seed, *, batch, batch_statistics):
        assert rows.equals(self.data.rows)
        assert not batch_statistics
        self.seeds.append(seed)
        return self.z.clone()

    def tested(self, split):
        assert split == "val"
        return self.z_val.clone()


def toy() -> Toy:
    return Toy("abcd", torch.zeros(4, 5), torch.eye(5), scale=7, classes=CLASSES)


def sklearn_fit(x: np.ndarray, y: np.ndarray, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x, y)


def standardised(z: torch.Tensor) -> tuple[np.ndarray, float, float]:
    x = z.double().numpy()
    return (x - x.mean()) / x.std(), float(x.mean()), float(x.std())


def path(z, labels, strengths, **settings):
    _, mean, std = standardised(z)
    fit = logistic_regression.Fit(CLASSES, mean, std, "cpu")
    options = {"max_iter": 2000, "tolerance": 1e-9} | settings
    return list(fit.path(z, labels, np.array(strengths), **options))  # (probe, theta)


# ---------------------------------------------------------------- the regression


def test_probes_are_scikit_learns():
    z, labels = clouds(40, 0)
    x, _, _ = standardised(z)
    strengths = [1e-3, 0.1, 10]
    for (probe, theta), strength in zip(path(z, labels, strengths), strengths, strict=True):
        expected = sklearn_fit(x, labels, strength)
        theta = theta.reshape(3, 6)
        assert probe.strength == strength
        assert theta[:, :5] == pytest.approx(expected.coef_, abs=2e-5)
        shifted = theta[:, 5] - theta[:, 5].mean()  # a constant on all biases changes nothing
        assert shifted == pytest.approx(expected.intercept_ - expected.intercept_.mean(), abs=2e-5)


def test_weights_are_for_features_as_they_are():
    z, labels = clouds(40, 0)
    x, _, _ = standardised(z)
    ((probe, theta),) = path(z, labels, [1.0])
    logits = z.double() @ probe.weight.double().T + probe.bias.double()
    theta = theta.reshape(3, 6)
    assert logits[:, :3].numpy() == pytest.approx(x @ theta[:, :5].T + theta[:, 5], abs=2e-4)
    p = logits[:, :3].softmax(1).numpy()
    assert p == pytest.approx(sklearn_fit(x, labels, 1.0).predict_proba(x), abs=2e-4)


def test_a_class_without_images_has_weight_and_bias_zero():
    z, labels = clouds(40, 0)
    moved = np.array([3, 0, 2])[labels]  # class 1 has none now
    ((probe, _),) = path(z, moved, [1.0])
    assert not probe.weight[1].any()
    assert probe.bias[1] == 0
    ((plain, _),) = path(z, np.array([2, 0, 1])[labels], [1.0])
    assert torch.equal(probe.weight[[0, 2, 3]], plain.weight[:3])
    assert torch.equal(probe.bias[[0, 2, 3]], plain.bias[:3])


def test_the_optimum_does_not_depend_on_the_way_there():
    z, labels = clouds(40, 0)
    _, warm = path(z, labels, [1e-5, 1e-2, 1.0])[-1]
    ((_, cold),) = path(z, labels, [1.0])
    assert warm == pytest.approx(cold, abs=1e-5)


def test_it_stops_after_so_many_steps():
    z, labels = clouds(40, 0)
    (_, few), (_, many) = *path(z, labels, [100.0], max_iter=2), *path(z, labels, [100.0])
    assert np.abs(few - many).max() > 0.1


# ---------------------------------------------------------------- the choice


def file_content(folder: Path) -> dict:
    (name,), about = torch_files.read(folder / "probe.pt", ("name",), "")
    return {**about, "name": name}


def fitted(tools: Tools, arguments: str = "grid=7, tolerance=1e-9, max_iter=2000") -> dict:
    compose(f"LP-FT({arguments})").finetune.start(toy(), tools)
    return file_content(tools.folder)


def test_validation_chooses_the_penalty(tmp_path):
    tools = Tools(tmp_path, n=6, seed=10)
    arguments = "grid=7, tolerance=1e-9, max_iter=2000, smallest=1e-4"
    probe = fitted(tools, arguments)
    x, mean, std = standardised(tools.z)
    labels, truth = tools.data.rows["label"].to_numpy(), tools.data.splits["val"].labels
    val = (tools.z_val.double().numpy() - mean) / std
    strengths = 10.0 ** np.arange(-4, 3)
    scores = [sklearn_fit(x, labels, c).score(val, truth) for c in strengths]
    assert max(scores) > max(scores[0], scores[-1])  # neither end is the answer
    assert probe["C"] == pytest.approx(strengths[int(np.argmax(scores))])
    assert probe["accuracy"] == pytest.approx(max(scores))
    weight = sklearn_fit(x, labels, probe["C"]).coef_ / std
    assert probe["weight"][:3].numpy() == pytest.approx(weight, abs=2e-4)


def test_without_a_validation_split_a_fifth_of_every_class_chooses(tmp_path):
    tools = Tools(tmp_path, n=6, val=False)
    probe = fitted(tools)
    labels = tools.data.rows["label"].to_numpy()
    judge = lp_ft.stratified(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[judge]).tolist() == [1, 1, 1]
    x, _, std = standardised(tools.z)
    strengths = np.geomspace(1e-7, 100, 7)
    scores = [
        sklearn_fit(x[~judge], labels[~judge], c).score(x[judge], labels[judge]) for c in strengths
    ]
    assert probe["C"] == pytest.approx(strengths[int(np.argmax(scores))])
    assert probe["accuracy"] == pytest.approx(max(scores))
    weight = sklearn_fit(x, labels, probe["C"]).coef_ / std  # fitted to all of them
    assert probe["weight"][:3].numpy() == pytest.approx(weight, abs=2e-4)


def test_every_class_gives_its_share_rounded_down():
    labels = np.repeat([0, 1, 2, 3], [21, 10, 4, 1])
    mask = lp_ft.stratified(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[mask], minlength=4).tolist() == [4, 2, 0, 0]
    other = lp_ft.stratified(labels, 0.2, np.random.default_rng(1))
    assert not np.array_equal(mask, other)
    with pytest.raises(DataError, match=r"0.2 of every class's images"):
        lp_ft.stratified(labels[-4:], 0.2, np.random.default_rng(0))


# ---------------------------------------------------------------- start and objective


def test_the_start_is_the_zero_shot_classifier(tmp_path):
    """Class 0 points along (1, 1), 1 along (0, -1), 2 along (-.8, .6); embeddings are 2 long on
    average.
    """
    model = Toy("abcd", VECTORS, torch.eye(2), scale=7, classes=3)
    tools = Tools(tmp_path)
    tools.data.captions = CAPTIONS
    tools.z = torch.tensor([[3.0, 0], [0, -1]])
    model.head.bias.data.fill_(1)
    compose("LP-FT").finetune.first_weights(model, tools)
    half = 0.5**0.5
    expected = 7 / 2 * np.array([[half, half], [0, -1], [-0.8, 0.6]])
    assert model.head.weight.detach().numpy() == pytest.approx(expected, abs=1e-6)
    assert not model.head.bias.any()


def test_first_weights_leave_the_probe_to_the_start(tmp_path):
    tools, finetune, model = Tools(tmp_path), compose("LP-FT(grid=3)").finetune, toy()
    model.text.table.data[:, 0] = 1
    finetune.first_weights(model, tools)
    before = model.head.weight.detach().clone()
    assert not list(tmp_path.iterdir())
    finetune.start(model, tools)
    content = file_content(tmp_path)
    assert not torch.equal(model.head.weight, before)
    assert torch.equal(model.head.weight, content["weight"])
    assert torch.equal(model.head.bias, content["bias"])
    assert tools.seeds == [0]  # features were taken once, with the seed of the arguments


def test_a_resumed_run_fits_nothing_again(tmp_path, monkeypatch):
    fitted(Tools(tmp_path), "grid=3")
    monkeypatch.setattr(logistic_regression.Fit, "path", None)
    model, tools = toy(), Tools(tmp_path)
    compose("LP-FT(grid=3)").finetune.start(model, tools)
    assert torch.equal(model.head.weight, file_content(tmp_path)["weight"])
    assert tools.seeds == []


@pytest.mark.parametrize("change", ["encoder", "rows", "arguments"])
def test_a_probe_of_something_else_is_not_taken(tmp_path, change):
    old = fitted(Tools(tmp_path), "grid=3")
    model, tools, arguments = toy(), Tools(tmp_path), "grid=3"
    if change == "encoder":
        model.encoder.weight.data[0, 0] = 2
    if change == "rows":
        tools.data.rows = tools.data.rows.with_columns(image=pl.col("image") + 1)
    if change == "arguments":
        arguments = "grid=2"
    compose(f"LP-FT({arguments})").finetune.start(model, tools)
    assert tools.seeds == [0]
    assert file_content(tmp_path)["name"] != old["name"]


@pytest.mark.parametrize("content", [b"", b"short", b"PK\x03\x04"])
def test_a_damaged_probe_is_fitted_again(tmp_path, caplog, content):
    (tmp_path / "probe.pt").write_bytes(content)
    compose("LP-FT").finetune.start(toy(), Tools(tmp_path))
    assert "probe.pt is damaged: " in caplog.text
    assert "C" in file_content(tmp_path)


def test_then_everything_but_the_text_tower_learns():
    method = compose("LP-FT")
    (phase,) = method.finetune.phases(Schedule("adamw", 1e-5, 256, 20))
    assert (phase.trains, phase.on_features) == (None, False)
    assert method.objective.trains == ("encoder", "head")
    assert method.needs_text == "LP-FT"
    model, z = toy(), torch.tensor([[1.0, 2, 3, 4, 5], [0, 1, 0, 1, 0]])
    batch = Batch(torch.tensor([3, 1]), torch.full((4,), 0.25), torch.zeros(2, dtype=torch.int64))
    logits = method.objective.logits(model, z).detach().double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -(np.log(p[0, 3]) + np.log(p[1, 1])) / 2
    assert method.objective.loss(model, z, batch).item() == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- arguments


def test_defaults_are_the_authors_and_fewer_on_the_built_in_world():
    paper = compose("LP-FT", "iwildcam", "paper").arguments
    for part in ("grid=50", "max_iter=200", "smallest=1e-07", "largest=100"):
        assert part in paper
    assert "grid=10" in compose("LP-FT", "iwildcam", "mini").arguments
    strengths = np.geomspace(1e-7, 1e2, 10)
    assert strengths == pytest.approx(10.0 ** np.arange(-7, 3))


@pytest.mark.parametrize(
    "arguments",
    "grid=0 grid=2.5 grid=True max_iter=0 seed=-1 smallest=0 largest=-1 tolerance=0 "
    'tolerance=None held_out=0 held_out=1 held_out="half"'.split(),
)
def test_values_that_are_not_allowed(arguments):
    name = arguments.partition("=")[0]
    with pytest.raises(UsageError, match=rf"LP-FT\({name}=...\).*is not allowed; a "):
        compose(f"LP-FT({arguments})")


def test_an_empty_range():
    with pytest.raises(UsageError, match="none lies between"):
        compose("LP-FT(smallest=10, largest=1)")


def test_no_warning_is_printed(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(Tools(tmp_path), "grid=3")


def test_gradients_are_clipped_as_in_wise_ft():
    schedule = Schedule("adamw", 1e-5, 256, 20)
    (phase,) = compose("LP-FT").finetune.phases(schedule)
    assert phase.schedule == replace(schedule, clip_norm=1.0)
    (phase,) = compose("LP-FT(clip_norm=0)").finetune.phases(schedule)
    assert phase.schedule == schedule
