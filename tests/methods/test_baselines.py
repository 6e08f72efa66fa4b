"""Every row that a term's file or a published table names trains end to end, on a toy."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from epoch_tables import RECIPE
from noise_world import CPU, LEVELS, world

from harness.core import registry
from harness.core.specs import Mixture, Schedule
from harness.methods.compose import compose
from harness.results import published
from harness.training.ensemble import merge
from harness.training.trainer import fit

TERMS = [registry.find("baselines", name) for name in registry.names("baselines")]


def published_rows():
    """Expressions of all tables of runs whose terms there are."""
    known = {module.NAME for module in TERMS}
    for file in published.files():
        for row in published.read(file).rows:
            terms = {term.split("(")[0] for term in row.method.split("+")}
            if published.read(file).kind == "runs" and terms <= known:
                yield row.method


ROWS = sorted({row for module in TERMS for row in module.ROWS} | set(published_rows()))


@pytest.fixture(scope="module")
def recipes(clip_folder):
    """A long-tailed recipe with a mixture, and one for image-text models without."""
    short = Schedule("sgd", 0.05, 16, 2, momentum=0.9)
    onward = Schedule("adam", 1e-3, 16, 5, decay="cosine")
    mixture = Mixture(keep=0.5, tail_fraction=0.5)
    long_tail = replace(
        RECIPE, scratch=short, onward=onward, curriculum_epochs=4, mixture=mixture,
        levels=tuple(level / 100 for level in LEVELS), probe_images=3, threshold=0.2,
    )  # fmt: skip
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    clip = Schedule("adamw", 5e-3, 16, 5, weight_decay=0.2, decay="cosine", warmup_steps=4)
    image_text = replace(
        long_tail, backbone="clip", pretrained=f"local-dir:{clip_folder}", scratch=clip,
        onward=None, mixture=None, probe_train=30,
        view_px=config["model_cfg"]["vision_cfg"]["image_size"],
    )  # fmt: skip
    return long_tail, image_text


def train(expression, recipes, folder):
    """Weights after training `expression` and all that it needs, each once."""
    dataset = "iwildcam" if compose(expression).needs_text else "cifar100-lt"
    method = compose(expression, dataset, "smoke")
    recipe = recipes[method.needs_text is not None]
    data = world(recipe.view_px, method.reads)
    if method.merges is not None:
        end = train(method.merges, recipes, folder / "base")
        base = compose(method.merges, dataset, "smoke")
        merge(method, base, data, recipe, 0, folder, CPU, end)
        return end
    start = reference = None
    if method.start is not None and recipe.onward is not None:
        start = train(method.start, recipes, folder / "start")
    if method.repeats:
        train(method.reference, recipes, folder / "repeated")
        lines = (folder / "repeated" / "epochs.jsonl").read_text().splitlines()
        levels = [json.loads(line)["levels"] for line in lines]
        data = replace(data, levels=tuple(tuple(round(100 * x) for x in some) for some in levels))
    elif method.reference is not None:
        other = compose(method.reference, dataset, "smoke")
        reference = other.objective, train(method.reference, recipes, folder / "reference")
    return fit(method, data, recipe, 0, folder, CPU, start, reference)


@pytest.mark.parametrize("expression", ROWS)
def test_the_row_trains(expression, recipes, tmp_path):
    weights = train(expression, recipes, tmp_path)
    assert all(torch.isfinite(value).all() for value in weights.values())
    predictions = pl.read_parquet(tmp_path / "predictions-last.parquet")
    assert predictions["split"].to_list() == ["test"] * 18 + ["id_val"] * 18
    assert predictions["p_true"].is_between(0, 1).all()
    assert (tmp_path / "predictions-best_val.parquet").exists() == ("alpha" not in expression)


@pytest.mark.parametrize(
    "expression",
    [
        "CE+DisCL{}(curriculum='adaptive')",
        "FLYP+DisCL{}(curriculum='adaptive')",
        "FLYP+DisCL{}(curriculum='random')",
        "FLYP+ALIA{}",
    ],
)
def test_a_control_takes_as_many_steps_on_real_images_alone(expression, recipes, tmp_path):
    row, control = expression.format(""), expression.format("(control=True)")
    control = control.replace(")(", ", ")
    done = {}
    for name, text in (("row", row), ("control", control)):
        train(text, recipes, tmp_path / name)
        done[name] = json.loads((tmp_path / name / "behaviour.json").read_text())
    assert done["control"]["steps"] == done["row"]["steps"]
    assert set(done["row"]["drawn"]) > set(done["control"]["drawn"]) == {"100"}
    totals = [sum(map(sum, some["drawn"].values())) for some in done.values()]
    assert totals[0] == totals[1]
    by_class = [np.sum(list(some["drawn"].values()), axis=0).tolist() for some in done.values()]
    assert by_class[0] == by_class[1]


def test_an_ensemble_takes_the_share_that_validation_chooses(recipes, tmp_path):
    train("FLYP+WE", recipes, tmp_path)
    about = json.loads((tmp_path / "ensemble.json").read_text())
    scores = dict(map(tuple, about["scores"]))
    assert list(scores) == [n / 10 for n in range(11)]
    assert about["alpha"] == min(a for a, s in scores.items() if s == max(scores.values()))
    tables = [pl.read_parquet(tmp_path / f"predictions-{n}.parquet") for n in ("last", "best_val")]
    assert tables[0].equals(tables[1])
    train("FLYP+WE(alpha=0.5)", recipes, tmp_path / "fixed")
    about = json.loads((tmp_path / "fixed" / "ensemble.json").read_text())
    assert about == {"alpha": 0.5, "scores": []}


@pytest.mark.parametrize("module", TERMS, ids=lambda module: module.NAME)
def test_a_term_names_rows_of_its_own_in_canonical_spelling(module):
    assert module.ROWS
    for row in module.ROWS:
        assert compose(row).expression == row
        assert module.NAME in [term.split("(")[0] for term in row.split("+")]


@pytest.mark.parametrize("expression", ["CE+DisCL", "CE+CUDA", "CE+LDMLR", "FLYP", "LP-FT"])
def test_a_killed_row_goes_on_with_the_same_bits(expression, recipes, tmp_path):
    """As a whole run, and as one that is killed after each of its first epochs."""
    dataset = "iwildcam" if compose(expression).needs_text else "cifar100-lt"
    recipe = recipes[compose(expression).needs_text is not None]
    first = compose(expression).start
    start = train(first, recipes, tmp_path / "start") if first and recipe.onward else None
    data = world(recipe.view_px, "spectrum")

    class Killed(Exception):
        pass

    def run(name, watch=None):
        method = compose(expression, dataset, "smoke")
        return fit(method, data, recipe, 0, tmp_path / name, CPU, start, watch=watch, save_s=0)

    def kill(entry):
        if entry["epoch"] in (0, 1):
            raise Killed

    whole = run("whole")
    for _ in range(2):
        with pytest.raises(Killed):
            run("cut", kill)
    again = run("cut")
    for name, value in whole.items():
        assert value.numpy().tobytes() == again[name].numpy().tobytes(), name


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("CE+BS", "CE and BS both bring an objective"),
        ("CE+LDMLR+LP-FT", "LP-FT and LDMLR both bring a way to fine-tune"),
        ("FLYP+LP-FT", "FLYP and LP-FT both bring an objective"),
        ("FLYP+ALIA+DisCL", "ALIA and DisCL read different synthetic images"),
        ("FLYP+WE+WE(alpha=0.2)", r"WE and WE\(alpha=0.2\) both bring an ensemble"),
        ("CE+CUDA(acept=0.4)", "CUDA has no argument 'acept'; did you mean 'accept'"),
    ],
)
def test_a_conflict_names_both_terms(expression, words):
    from harness.core.errors import UsageError

    with pytest.raises(UsageError, match=words):
        compose(expression)


def test_text_is_asked_of_a_network_that_reads_none(recipes, tmp_path):
    from harness.core.errors import UsageError

    with pytest.raises(UsageError, match="FLYP needs an image-text model, and resnet10 reads no"):
        fit(compose("FLYP"), world(32, None), recipes[0], 0, tmp_path, CPU)
