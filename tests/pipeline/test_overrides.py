"""Fields of a recipe that params.yaml and --set change: what they mean and what is refused."""

import dataclasses
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml

from harness.cli.main import main
from harness.core import registry
from harness.core.errors import UsageError
from harness.core.specs import Mixture, Recipe, Schedule, key
from harness.pipeline import config
from harness.pipeline.recipe_fields import NEVER, POOL_FIELDS
from harness.pipeline.workspace import Workspace

ROOT = Path(__file__).parents[2]
SET = "cifar100-lt"
DATASETS = registry.names("harness.datasets")


def recipe(*settings, dataset=SET, profile="mini", **workspace):
    return Workspace(dataset, profile, settings=config.assignments(settings), **workspace).recipe


def base(dataset=SET, profile="mini"):
    return Workspace(dataset, profile).recipe


# ---------------------------------------------------------------- values that are right


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("scratch.lr=0.05", 0.05),
        ("scratch.lr=1e-3", 0.001),  # a text to YAML 1.1
        ("scratch.lr=1", 1.0),
        ("scratch.epochs=3", 3),
        ("scratch.nesterov=true", True),
        ("scratch.milestones=[1, 2]", (1, 2)),
        ("scratch.decay=cosine", "cosine"),
        ("onward.lr=0.5", 0.5),
        ("onward=null", None),
        ("mixture.keep=1", 1.0),
        ("mixture.tail_fraction=0.25", 0.25),
        ("mixture.tail_fraction=null", None),
        ("mixture=null", None),
        ("mixture={keep: 0.5, tail_fraction: 0.1}", Mixture(0.5, 0.1)),
        ("levels=[0, 0.25]", (0.0, 0.25)),
        ("pool_seeds=[]", ()),
        ("run_seeds=[7]", (7,)),
        ("threshold=-1", -1.0),
        ("precision=no", "no"),  # false to YAML 1.1
        ("tail=<=20", "<=20"),
        ("pretrained=ViT-B-16-quickgelu:openai", "ViT-B-16-quickgelu:openai"),
        ("approximate=[deep-cache=2]", ("deep-cache=2",)),
        (" text_guidance =-3", -3.0),
    ],
)
def test_one_field_changes_and_no_other(text, value):
    changed = recipe(text)
    name = text.partition("=")[0].strip()
    found, usual = changed, base()
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)
    table, _, field = name.rpartition(".")
    expected = {field: value}
    if table:
        expected = {table: dataclasses.replace(getattr(usual, table), **expected)}
    assert changed == dataclasses.replace(usual, **expected)


def test_several_in_one_table():
    changed = recipe("scratch={lr: 0.05, epochs: 2}", "scratch.batch=8", "width=8")
    schedule = dataclasses.replace(base().scratch, lr=0.05, epochs=2, batch=8)
    assert changed == dataclasses.replace(base(), scratch=schedule, width=8)
    assert type(changed.scratch) is Schedule


def test_a_table_that_the_recipe_lacks_is_set_whole():
    changed = recipe("mixture.keep=0.5", "mixture.tail_fraction=null", dataset="iwildcam")
    assert changed.mixture == Mixture(0.5, None)
    changed = recipe("onward={optimiser: sgd, lr: 1, batch: 8, epochs: 2}", dataset="iwildcam")
    assert changed.onward == Schedule("sgd", 1.0, 8, 2)
    assert key(changed.onward) == key(Schedule("sgd", 1.0, 8, 2))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("profile", config.PROFILES)
def test_every_field_can_be_set_and_the_usual_value_keeps_the_key(dataset, profile):
    usual = base(dataset, profile)
    changes = []
    for table, names in config.names().items():
        values = getattr(usual, table) if table else usual
        if values is not None:
            changes += [
                (f"{table}.{name}" if table else name, getattr(values, name))
                for name in names
                if table or name not in config.names()
            ]
    assert len(changes) > 40 or usual.mixture is None
    changed = config.apply(usual, changes)
    assert changed == usual
    assert key(changed) == key(usual)


@pytest.mark.parametrize("dataset", DATASETS)
def test_params_that_ship_repeat_the_data_sets_recipe(dataset):
    """So that no key depends on whether the file is there."""
    changed = Workspace(dataset, overrides=config.overrides(None, ROOT, "mini", dataset))
    assert key(changed.recipe) == key(base(dataset))


def test_every_range_says_what_is_allowed():
    for table, names in config.names().items():
        for name in names:
            hint = config._hint(f"{table}.{name}" if table else name)
            inner = typing.get_args(hint)
            if typing.get_origin(hint) is typing.Literal or hint is bool:
                continue
            if dataclasses.is_dataclass(hint):
                continue
            assert any(isinstance(text, str) for text in hint.__metadata__), name
            assert inner


# ---------------------------------------------------------------- which one holds


def test_set_beats_params_beats_the_file(tmp_path):
    (tmp_path / "params.yaml").write_text(
        f"mini:\n  {SET}:\n    scratch: {{lr: 0.5, batch: 16}}\n    mixture.keep: 0.5\n"
    )
    changed = config.overrides(None, tmp_path, "mini", SET)
    workspace = Workspace(SET, home=tmp_path, overrides=changed)
    schedule = dataclasses.replace(base().scratch, lr=0.5, batch=16)
    mixture = dataclasses.replace(base().mixture, keep=0.5)
    assert workspace.recipe == dataclasses.replace(base(), scratch=schedule, mixture=mixture)
    workspace = dataclasses.replace(workspace, settings=config.assignments(["scratch.lr=0.25"]))
    assert workspace.recipe.scratch == dataclasses.replace(schedule, lr=0.25)
    assert workspace.recipe.mixture == mixture


def test_another_backbone_brings_what_it_needs_and_nothing_else():
    usual = recipe(dataset="iwildcam", backbone="ViT-L-14")
    shipped = config.overrides(None, ROOT, "mini", "iwildcam")
    assert recipe(dataset="iwildcam", backbone="ViT-L-14", overrides=shipped) == usual
    assert usual.scratch.epochs == 4
    changes = (("scratch", {"lr": 0.5, "epochs": 9}),)
    both = recipe(dataset="iwildcam", backbone="ViT-L-14", overrides=changes)
    assert both.scratch == dataclasses.replace(usual.scratch, lr=0.5)
    both = recipe("scratch.epochs=9", dataset="iwildcam", backbone="ViT-L-14", overrides=changes)
    assert both.scratch == dataclasses.replace(usual.scratch, lr=0.5, epochs=9)
    assert both.backbone == "ViT-L-14"


# ---------------------------------------------------------------- what is refused

BAD = [
    ("scratch.lr=-1", "parameter scratch.lr: -1 is not allowed; a finite number above 0"),
    ("scratch.lr=0", "parameter scratch.lr: 0 is not allowed; a finite number above 0"),
    ("scratch.lr=fast", "parameter scratch.lr: 'fast' is not a finite number"),
    ("scratch.lr='0.1'", "parameter scratch.lr: '0.1' is not a finite number"),
    ("scratch.lr=true", "parameter scratch.lr: True is not a finite number"),
    ("scratch.lr=.nan", "parameter scratch.lr: nan is not a finite number"),
    ("scratch.lr=.inf", "parameter scratch.lr: inf is not a finite number"),
    ("scratch.lr=1e999", "parameter scratch.lr: inf is not a finite number"),
    ("scratch.lr=", "parameter scratch.lr: None is not a finite number"),
    ("scratch.epochs=0", "parameter scratch.epochs: 0 is not allowed; 1 to 100000 epochs"),
    ("scratch.epochs=1.5", "parameter scratch.epochs: 1.5 is not a whole number"),
    ("scratch.epochs=3.0", "parameter scratch.epochs: 3.0 is not a whole number"),
    ("scratch.batch=[8]", "parameter scratch.batch: [8] is not a whole number"),
    ("scratch.momentum=1", "parameter scratch.momentum: 1 is not allowed; a number in [0, 1)"),
    ("scratch.nesterov=1", "parameter scratch.nesterov: 1 is not a truth value: true or false"),
    (
        "scratch.optimiser=adan",
        "parameter scratch.optimiser: 'adan' is not allowed; did you mean 'adam'? "
        "Available: adam, adamw, sgd",
    ),
    ("scratch.decay=5", "parameter scratch.decay: 5 is not allowed; available: cosine, steps"),
    ("scratch.milestones=5", "parameter scratch.milestones: 5 is not a list"),
    (
        "scratch.milestones=[-1]",
        "parameter scratch.milestones: -1 is not allowed; a number of epochs from 0 to 100000",
    ),
    ("scratch.weight_decay=-1", "a finite number from 0"),
    ("onward.gamma=2", "parameter onward.gamma: 2 is not allowed; a fraction in [0, 1]"),
    ("onward.clip_norm=.inf", "parameter onward.clip_norm: inf is not a finite number"),
    ("mixture.keep=1.5", "parameter mixture.keep: 1.5 is not allowed; a fraction in [0, 1]"),
    ("mixture.keep=null", "parameter mixture.keep: None is not a finite number"),
    ("mixture.tail_fraction=-0.1", "parameter mixture.tail_fraction: -0.1 is not allowed"),
    ("mixture.tail_fraction=1", "1 is not allowed; a number in [0, 1)"),
    ("mixture=0.3", "parameter mixture: 0.3 is not a table of fields"),
    ("scratch=null", "parameter scratch: None is not a table of fields"),
    ("scratch={lr: fast}", "parameter scratch.lr: 'fast' is not a finite number"),
    ("levels=[0.5, 1]", "parameter levels: 1 is not allowed; guidance of synthetic images"),
    ("levels=[0.5, 0.333]", "parameter levels: 0.333 is not allowed; guidance of"),
    ("run_seeds=[]", "parameter run_seeds: [] is not allowed; a list of one seed or more"),
    ("run_seeds=[1, 1]", "parameter run_seeds: [1, 1] is not allowed; a list of one seed or more"),
    ("imbalances=[0]", "parameter imbalances: 0 is not allowed; an imbalance ratio is"),
    ("clip=''", "parameter clip: '' is not allowed; a text that is not empty"),
    ("generator=[mini]", "parameter generator: ['mini'] is not a text"),
    (
        "precision=fp32",
        "'fp32' is not allowed; did you mean 'tf32'? Available: bf16, fp16, no, tf32",
    ),
    ("tail=<30", "parameter tail: '<30' is not allowed"),
    ("size_px=0", "parameter size_px: 0 is not allowed; a side of 1 to 4096 px"),
    ("approximate=[deep-cash]", "unknown approximation 'deep-cash'; did you mean 'deep-cache'?"),
    (
        "backbone=resnet35",
        "parameter backbone: 'resnet35' is not allowed; did you mean 'resnet34'?",
    ),
    (
        "augment=crop_flip",
        "parameter augment: 'crop_flip' is not allowed; did you mean 'crop-flip'?",
    ),
    ("test_view=center", "parameter test_view: 'center' is not allowed; did you mean 'centre'?"),
    ("backbone=2020-01-01", "numbers, texts, lists and tables are allowed"),
    ("scratch.lr", "--set 'scratch.lr': expected NAME=VALUE, such as scratch.lr=0.05"),
    ("=5", "--set '=5': expected NAME=VALUE"),
    ("levels=[0.5", "--set 'levels=[0.5': cannot read the value"),
]
UNKNOWN = [
    ("lr=0.05", "unknown parameter 'lr'; did you mean 'scratch.lr' or 'onward.lr'?"),
    ("keep=0.05", "unknown parameter 'keep'; did you mean 'mixture.keep'?"),
    ("scratch.lrr=1", "unknown parameter 'scratch.lrr'; did you mean 'scratch.lr'?"),
    ("scrach.lr=1", "unknown parameter 'scrach.lr'; did you mean 'scratch.lr'?"),
    ("scratch.lr.x=1", "unknown parameter 'scratch.lr.x'; did you mean 'scratch.lr'?"),
    ("treshold=1", "unknown parameter 'treshold'; did you mean 'threshold'?"),
    ("mixture={kep: 1}", "unknown parameter 'mixture.kep'; did you mean 'mixture.keep'?"),
    ("mixture.version=2", "unknown parameter 'mixture.version'"),
    ("version=2", "unknown parameter 'version'"),
    ("profile=paper", "unknown parameter 'profile'"),
    ("threshold.low=2", "unknown parameter 'threshold.low'"),
    (".=2", "unknown parameter '.'"),
]


@pytest.mark.parametrize(("text", "words"), BAD + UNKNOWN, ids=lambda value: value[:24])
def test_one_sentence_says_what_is_wrong(text, words, tmp_path, capsys):
    command = ["plan", "--dataset", SET, "--home", tmp_path, "--set", text]
    assert main([str(word) for word in command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("harness: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["scratch.lr=1", "scratch.lr=2"], "scratch.lr is set twice: 1 and 2"),
        (["scratch={lr: 1}", "scratch.lr=1"], "scratch.lr is set twice: 1 and 1"),
        (["scratch.nesterov=true", "scratch.momentum=0"], "it needs scratch.momentum above 0"),
    ],
)
def test_what_does_not_go_together(settings, words):
    with pytest.raises(UsageError, match=words):
        recipe(*settings)


def test_a_table_that_is_set_in_part_names_the_rest():
    with pytest.raises(UsageError) as error:
        recipe("onward.lr=1", dataset="iwildcam")
    assert str(error.value) == (
        "parameter onward.optimiser is missing: this recipe has no onward, which needs "
        "onward.optimiser, onward.lr, onward.batch, onward.epochs"
    )
    with pytest.raises(UsageError, match=r"mixture\.tail_fraction is missing"):
        recipe("mixture.keep=1", dataset="iwildcam")


def test_a_value_without_end():
    endless: list = []
    endless.append(endless)
    with pytest.raises(UsageError, match="parameter levels: "):
        config.apply(base(), [("levels", endless)])


# ---------------------------------------------------------------- DVC


def test_an_experiment_sets_nested_fields(tmp_path):
    """As `dvc exp run -S` does, with fields that params.yaml lists and, by a plus, with others."""
    from dvc.utils.hydra import apply_overrides

    file = shutil.copy(ROOT / "params.yaml", tmp_path)
    asked = ["mini.cifar100-lt.scratch.lr=0.05", "mini.cifar100-lt.mixture.tail_fraction=0.25"]
    asked += ["+mini.cifar100-lt.onward.gamma=0.5", "+mini.cifar100-lt.width=8"]
    apply_overrides(file, asked)
    workspace = Workspace(
        SET, home=tmp_path, overrides=config.overrides(None, tmp_path, "mini", SET)
    )
    usual = base()
    assert workspace.recipe == dataclasses.replace(
        usual,
        scratch=dataclasses.replace(usual.scratch, lr=0.05),
        mixture=dataclasses.replace(usual.mixture, tail_fraction=0.25),
        onward=dataclasses.replace(usual.onward, gamma=0.5),
        width=8,
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_params_list_every_field_but_those_of_the_backbone(dataset):
    """With the values of the recipe; of its tables, the fields that one varies."""
    listed = yaml.safe_load((ROOT / "params.yaml").read_text())["mini"][dataset]
    of_backbone = {"backbone", "width", "pretrained", "view_px", "augment", "test_view"}
    usual = dataclasses.asdict(base(dataset))
    absent = {name for name in ("onward", "mixture") if usual[name] is None}
    assert listed.keys() == usual.keys() - of_backbone - absent - {"profile", "version"}
    for name, value in listed.items():
        values = value if isinstance(value, dict) else {name: value}
        expected = usual[name] if isinstance(value, dict) else usual
        for field, number in values.items():
            wanted = expected[field]
            assert number == (list(wanted) if isinstance(wanted, tuple) else wanted), field


def test_stages_watch_every_field_that_they_read():
    """Whether a stage runs again is for DVC to say: it must know of each field."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    watched = {
        stage: {text.removeprefix("mini.${item}.") for text in content["do"].get("params", ())}
        for stage, content in stages.items()
    }
    assert set(NEVER) <= set().union(*watched.values())
    assert {"hard_by", "hard_images", "tail"} <= watched["hard"]
    assert set(POOL_FIELDS) - {"threshold"} <= watched["generate"] | watched["score"]


def test_stages_watch_fields_that_are_there():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["mini"]
    for stage in ("index", "hard", "generate", "score"):
        for watched in stages[stage]["do"]["params"]:
            field = watched.removeprefix("mini.${item}.")
            assert all(field in values[dataset] for dataset in DATASETS), watched
    assert stages["train"]["do"]["params"] == ["mini.${key}"]


def test_generation_watches_the_generators_fields_and_no_others():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    watched = {text.rpartition(".")[2] for text in stages["generate"]["do"]["params"]}
    assert watched == {
        *("generator", "size_px", "height_px", "steps", "text_guidance", "approximate"),
        *("levels", "pool_seeds", "scheduler", "generator_batch", "generator_dtype"),
    }


# ---------------------------------------------------------------- the price


def test_the_schema_library_is_loaded_where_values_are_checked():
    code = "import sys, harness.cli.main; print('pydantic' in sys.modules, 'ruamel' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False False\n", "")


def test_nothing_to_change_changes_nothing():
    usual: Recipe = base()
    assert config.apply(usual, ()) is usual
