"""One request: what it resolves, once, and what it refuses before any work."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_workspace
import yaml

from harness.api import steps
from harness.api.plans import plan_of
from harness.cli.main import main
from harness.core import parallel
from harness.core.errors import UsageError
from harness.mini import weights
from harness.pipeline import config, run_files
from harness.pipeline.code import code_of
from harness.pipeline.request import Choices, resolve
from harness.pipeline.workspace import Workspace
from harness.results import records

SET = "cifar100-lt"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def quick(models: Path) -> Iterator[None]:
    """Tiny models, and jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield


def test_a_warm_compare_resolves_its_workspace_once(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"smoke": {SET: small_workspace.SMALL}}))
    words = ["compare", "--dataset", SET, "--rows", "CE", "--imbalance", "100", "--profile"]
    words += ["smoke", "--root", str(data), "--home", str(tmp_path), "--workers", "1"]
    assert main(words) == 0
    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(Workspace, "__init__", counted("workspaces", Workspace.__init__))
    monkeypatch.setattr(config, "overrides", counted("params", config.overrides))
    capsys.readouterr()
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "train: 0 of 1 runs trained" in err
    assert "CE" in out
    assert counts == {"workspaces": 1, "params": 1}


def test_runs_of_other_code_are_named_and_repeated(data, tmp_path, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"smoke": {SET: small_workspace.SMALL}}))
    words = ["compare", "--dataset", SET, "--rows", "CE", "--imbalance", "100", "--profile"]
    words += ["smoke", "--root", str(data), "--home", str(tmp_path), "--workers", "1"]
    assert main(words) == 0
    (about,) = (tmp_path / "runs").rglob("run.json")
    first = json.loads(about.read_text())
    (record,) = (tmp_path / "results/records").rglob("*.json")
    assert json.loads(record.read_text())["code"] == first["code"] == code_of("train")
    about.write_text(json.dumps(first | {"code": "0" * 64}))
    done = json.loads((about.parent / run_files.DONE).read_text())
    run_files.write(about.parent, done["spec"], done["read"])
    content = records.read(record) | {"code": "0" * 64}
    records.write(content, tmp_path / records.ROOT)
    capsys.readouterr()
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "train: 0 of 1 runs trained" in err
    assert "Trained by other code than this: CE (1 record)" in out
    assert main([*words, "--rerun"]) == 0
    out, err = capsys.readouterr()
    assert "train: 1 of 1 runs trained" in err
    assert "other code" not in out
    assert json.loads(about.read_text())["code"] == first["code"]


def test_what_a_request_holds(tmp_path):
    rows = ["CE", "BS+DisCL(levels=(0.5, 0.3))", "CE"]
    choices = Choices(SET, rows, seeds=range(2), imbalance=[100], home=tmp_path)
    request = resolve(choices, methods=True, table=True)
    assert request.rows == ("CE", "BS+DisCL(levels=(0.5, 0.3))")
    assert (request.seeds, request.imbalances, request.rows_named) == ((0, 1), (100,), True)
    assert (request.kinds, request.levels) == (("spectrum",), (30, 50))
    assert request.paper is not None
    assert request.paper.dataset == SET
    assert resolve(Choices("CIFAR100_LT", home=tmp_path)).dataset == SET
    default = resolve(Choices(SET, home=tmp_path), methods=True)
    assert default.rows[0] == "CE"
    assert (default.seeds, default.rows_named) == (default.workspace.recipe.run_seeds, False)


@pytest.mark.parametrize(
    ("rows", "kinds", "needs_hard"),
    [
        (["CE", "BS"], (), False),
        (["CE(control=True)"], (), True),
        (["CE", "CE+DisCL"], ("spectrum",), True),
        (None, ("spectrum",), True),
    ],
)
def test_nothing_is_asked_for_that_no_row_reads(tmp_path, rows, kinds, needs_hard):
    request = resolve(Choices(SET, rows, home=tmp_path), methods=True)
    assert (request.kinds, request.needs_hard) == (kinds, needs_hard)


@pytest.mark.parametrize(
    ("rows", "images"),
    [
        (["CE"], 0),
        (["CE(control=True)"], 0),
        (["CE+DisCL"], 60),
        (['CE+DisCL(curriculum="fixed", levels=(0.3,))', "CE"], 30),
        (['CE+DisCL(curriculum="fixed", levels=(0.3,))', "CE+DisCL"], 90),
    ],
)
def test_a_comparison_makes_the_images_of_its_plan(data, tmp_path, rows, images):
    settings = tuple(small_workspace.SMALL.items())
    choices = Choices(SET, rows, [0], home=tmp_path, root=data, overrides=settings, workers=1)
    request = resolve(replace(choices, profile="smoke"), methods=True, table=True)
    steps.index(request)
    if request.needs_hard:
        steps.hard(request)
    plan = plan_of(request)
    assert sum(level.images for level in plan.plan.pool) == images
    done = {step.name: step.result for step in steps.run(request)}
    assert done["generate"].images == images if images else "generate" not in done
    assert ("hard" in done) == request.needs_hard
    assert {run.method for run in plan.plan.runs} == {
        json.loads(path.read_text())["method"] for path in request.workspace.records.rglob("*.json")
    }


def test_overrides_come_after_params(tmp_path):
    (tmp_path / "params.yaml").write_text(
        f"mini: {{{SET}: {{threshold: 0.25, curriculum_epochs: 2}}}}"
    )
    choices = Choices(SET, home=tmp_path, overrides=(("threshold", 0.5),))
    recipe = resolve(choices).workspace.recipe
    assert (recipe.threshold, recipe.curriculum_epochs) == (0.5, 2)


def test_a_table_names_its_backbone(tmp_path):
    named = Choices(SET, table="table7", home=tmp_path)
    request = resolve(named, methods=True)
    assert request.paper is not None
    assert request.workspace.recipe.backbone == request.paper.backbone


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "cifar10-lt"}, "'cifar10-lt'.*mean 'cifar100-lt'"),
        ({"profile": "minni"}, "'minni'.*mean 'mini'"),
        ({"rule": "Z"}, "no grouping rule 'Z'"),
        ({"select": "orakel"}, "select: 'orakel'.*mean 'oracle'"),
        ({"select": "best_val"}, "no validation split"),
        ({"rows": ["CEE"]}, "'CEE'.*mean 'CE'"),
        ({"rows": "CE"}, "rows: 'CE' is not allowed; a list"),
        ({"rows": []}, "rows: an empty list"),
        ({"rows": [1]}, "rows: 1 is not an expression"),
        ({"rows": ["FLYP"]}, "FLYP needs an image-text model"),
        ({"seeds": 3}, "seeds: 3 is not allowed; a list"),
        ({"seeds": range(0)}, "seeds: an empty list"),
        ({"seeds": [-1]}, "seeds: -1 is not a whole number from 0"),
        ({"seeds": [True]}, "seeds: True is not a whole number"),
        ({"seeds": [2**31]}, "seeds: 2147483648 is not"),
        ({"imbalance": [20]}, "imbalance 20"),
        ({"imbalance": [0]}, "imbalance: 0 is not a whole number from 1"),
        ({"table": "table22"}, "no table 'table22'"),
        ({"table": "table1"}, "does not show cifar100-lt"),
        ({"table": "statistics"}, "counts synthetic images"),
        ({"backbone": "resnet43"}, "mean 'resnet34'"),
        ({"overrides": (("treshold", 0.5),)}, "'treshold'.*mean 'threshold'"),
        ({"overrides": (("threshold", 28),)}, "not allowed"),
        ({"device": "gpu0"}, "device 'gpu0' cannot be used"),
        ({"profile": ["mini"]}, "profile: .* is not a text"),
        ({"workers": 0}, "workers: 0 is not a whole number from 1"),
    ],
)
def test_every_mistake_is_refused_before_any_work(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words) as refusal:
        resolve(Choices(**({"dataset": SET, "home": tmp_path} | changes)), methods=True, table=True)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
