"""What the files of data sets and terms must hold, and what is said of one that does not."""

import re
import sys
from pathlib import Path

import pytest
import torch
from training_world import CPU, MINI, world

from harness.cli import argument_tables
from harness.cli.main import main
from harness.core import registry
from harness.core.errors import UsageError
from harness.datasets import recipes
from harness.datasets.protocol import MEMBERS
from harness.methods import curriculum as curricula
from harness.methods.arguments import OneOf, Range, check, declared
from harness.methods.compose import compose, problem
from harness.methods.curriculum_stage import stage_of
from harness.methods.term_protocol import module_of
from harness.methods.terms import Method, Objective, Progress
from harness.training.trainer import fit

ROOT = Path(__file__).parents[2]
LOAD = "def load(root, imbalance, recipe): ...\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that writes a package of these files and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files):
        name = f"package_{tmp_path.name}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for stem, text in files.items():
            (folder / f"{stem}.py").write_text(f'NAME = "{stem}"\n{text}')
        return name

    yield write
    for name in [name for name in sys.modules if name.startswith(f"package_{tmp_path.name}")]:
        del sys.modules[name]


@pytest.fixture
def datasets(package):
    """The same of data sets, checked by the protocol of the project's."""
    return lambda **files: package(
        **files, protocol="from harness.datasets.protocol import complete"
    )


# ---------------------------------------------------------------- a data set


def test_a_data_set_needs_a_name_and_load(datasets):
    module = registry.find(datasets(few=LOAD), "few")
    for member in MEMBERS:
        assert hasattr(module, member.name) == (member.required or member.default is not None)
    assert module.RECIPES is recipes.RECIPES
    assert (module.TEST, module.VAL, module.HARD_BY) == ("test", None, None)
    with pytest.raises(UsageError, match="few cannot be downloaded: put its files below data"):
        module.fetch("data")


def test_what_a_file_has_counts(datasets):
    module = registry.find(
        datasets(few=LOAD + "VAL = 'val'\ndef headline(scores): return 1\n"), "few"
    )
    assert (module.VAL, module.headline({})) == ("val", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no load (reads the files", "expected load(root, imbalance, recipe)"]),
        ("def load(root): ...", ["load (reads the files", "is load(root); expected load(root,"]),
        (LOAD + "RECIPES = {'mini': {'lr': 1}}", ["RECIPES (hyper-parameters of", "Recipe}"]),
        (LOAD + "RECIPES = {}", ["RECIPES (hyper-parameters of each profile) is {}"]),
        (LOAD + "TEST = None", ["TEST (the split that results are of) is None; expected a text"]),
        (LOAD + "VAL = 3", ["VAL (", "is 3; expected a text or None"]),
        (LOAD + "MEAN = (0.5, 0.5)", ["MEAN (mean of each colour", "three numbers"]),
        (LOAD + "BACKBONES = ['resnet34']", ["BACKBONES (", "['resnet34']", "{backbone:"]),
        (LOAD + "FACTS = 3", ["FACTS (sizes known without", "is 3; expected a dictionary"]),
        (LOAD + "prompt = 'a photo'", ["prompt (what the generator", "prompt(classname, seed"]),
        (
            LOAD + "def edits(): ...",
            ["edits (prompts of edits", "is edits(); expected edits(recipe)"],
        ),
    ],
)
def test_a_member_is_named_with_its_purpose(datasets, text, words):
    with pytest.raises(UsageError) as error:
        registry.find(datasets(few=text), "few")
    assert "\n" not in str(error.value)
    for word in ["/few.py: ", *words]:
        assert word in str(error.value)


def test_every_data_set_is_whole():
    for name in registry.names("harness.datasets"):
        assert registry.problem("harness.datasets", name) is None


# ---------------------------------------------------------------- a term


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no function term", "harness.methods.terms.TermParts"]),
        ("term = 3", ["no function term"]),
        ("def term(*, n=1): return None", ["term returns nothing; expected what it fills"]),
        ("def term(): return 'CE'", ["term returns a str"]),
        ("def term(): return TermParts", ["term returns the class TermParts"]),
        (
            "def term(): return TermParts(objective=Objective)",
            ["fills objective", "class Objective"],
        ),
        (
            "def term(): return TermParts(augment='crop')",
            ["fills augment with a str", "terms.Augment"],
        ),
        (
            "def term(): return TermParts(finetune=1)",
            ["fills finetune with a int", "terms.Finetune"],
        ),
        ("def term(): return TermParts(curriculum=print)", ["fills curriculum", "has no levels"]),
        ("def term(): return TermParts(ensemble=0.5)", ["fills ensemble with a float", "no alpha"]),
        ("def term(n=1): return TermParts()", ["argument 'n' of term", "def term(*, n=...)"]),
        ("def term(*, n): return TermParts()", ["argument 'n' of term", "has a default"]),
        (
            "def term(*, n: 'dict' = 1): return TermParts()",
            ["type of argument 'n'", "allowed: bool"],
        ),
        ("def term(*, n: 'strr' = 1): return TermParts()", ["annotations of term", "'strr'"]),
    ],
)
def test_a_term_that_is_none_is_one_sentence(package, text, words):
    name = package(few=f"from harness.methods.terms import Objective, TermParts\n{text}\n")
    sentence = problem(name, "few")
    assert sentence is not None
    assert "\n" not in sentence
    for word in ["/few.py: ", *words]:
        assert word in sentence
    with pytest.raises(UsageError):
        compose("few", package=name)


def test_other_defaults_are_of_arguments(package):
    text = "from harness.methods.terms import TermParts\ndef defaults(d, p): return {'bb': 2}\n"
    name = package(few=f"{text}def term(*, b=1): return TermParts()\n")
    with pytest.raises(UsageError, match=r"defaults has 'bb', no argument of term.*'b'"):
        compose("few", "cifar100-lt", package=name)


def one(
    *,
    n: "int" = 1,
    share: "float | None" = None,
    several: "tuple[int, ...]" = (1,),
    free=None,
):
    """Arguments of every type but those with ranges."""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"n": 2, "share": 1, "several": (3, 4), "free": object}, None),
        ({"share": None}, None),
        ({"n": True}, r"X\(n=...\): True is not allowed; a whole number$"),
        ({"n": 1.0}, r"1.0 is not allowed; a whole number$"),
        ({"share": "a"}, r"'a' is not allowed; a number, or None$"),
        ({"share": float("nan")}, "nan is not allowed"),
        ({"several": ()}, r"\(\) is not allowed; a tuple of whole numbers$"),
        ({"several": 3}, r"3 is not allowed; .*; write one value as \(3,\)$"),
        ({"several": [3]}, r"\[3\] is not allowed; a tuple of whole numbers$"),
        ({"several": (3, None)}, r"X\(several=...\): None is not allowed; a whole number$"),
    ],
)
def test_types(value, words):
    arguments = declared(one, "one.py")
    if words is None:
        check("X", arguments, value)
        return
    with pytest.raises(UsageError, match=words):
        check("X", arguments, value)


@pytest.mark.parametrize(
    ("allowed", "text", "inside", "outside"),
    [
        (Range(0, 1), " in [0, 1]", (0, 0.5, 1), (-0.1, 1.1)),
        (Range(0, 1, open_ends=True), " above 0 and below 1", (0.5,), (0, 1)),
        (Range(0, open_ends=True), " above 0", (1e9,), (0,)),
        (Range(low=2), " from 2", (2, 9), (1,)),
        (Range(8, 64, multiple=8), " in [8, 64], a multiple of 8", (8, 64), (12, 72)),
    ],
)
def test_ranges(allowed, text, inside, outside):
    assert str(allowed) == text
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)


def test_every_argument_of_every_term_has_type_and_help():
    for name in registry.names("baselines"):
        for argument in declared(module_of("baselines", name).term, name):
            assert argument.help, f"{name}({argument.name})"
            assert argument.kind.base is not None
            argument.kind.check(f"{name}({argument.name}=...)", argument.default)


def test_options_keep_their_order():
    assert OneOf("low", "high").options == ("low", "high")


# ---------------------------------------------------------------- broken files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def term(:\n", "few.py, line 2: cannot be imported: syntax error: "),
        ("\nimport no_such_package\n", "few.py, line 3: cannot be imported: ModuleNotFoundError: "),
        (
            "from harness.methods.terms import Slot\n",
            "few.py, line 2: cannot be imported: ImportError: ",
        ),
        ("x = 1 / 0\n", "few.py, line 2: cannot be imported: ZeroDivisionError: division by zero"),
        ("x = y\n", "few.py, line 2: cannot be imported: NameError: name 'y' is not defined"),
        ("x = '\0'\n", "few.py"),
    ],
)
def test_a_broken_file_is_one_sentence(package, text, words):
    name = package(few=text)
    assert registry.names(name) == ["few"]
    with pytest.raises(UsageError) as error:
        registry.find(name, "few")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_is_a_file(package, tmp_path):
    name = package(few=LOAD)
    file = tmp_path / name / "few.py"
    file.write_text(file.read_text().replace("few", "A-Few"))
    assert registry.names(name) == ["A-Few"]
    assert registry.problem(name, "A-Few") == (
        f"{name}/few.py: NAME is 'A-Few'; a name is a file: expected a_few.py"
    )


@pytest.fixture
def broken(monkeypatch):
    """A broken file in each of the two folders, as the commands see them."""
    found = registry._files
    names = ("baselines.few", "harness.datasets.few")

    def more(package):
        name = f"{package}.few"
        return found(package) | ({"few": ("few", name)} if name in names else {})

    def imported(name):
        if name in names:
            raise UsageError(f"{name}: cannot be imported")
        return whole(name)

    whole = registry._imported
    monkeypatch.setattr(registry, "_files", more)
    monkeypatch.setattr(registry, "_imported", imported)


@pytest.mark.usefixtures("broken")
def test_the_others_are_listed_and_work(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "data sets: cifar100-lt, imagenet-lt, inaturalist2018, iwildcam"
    assert "few" not in lines[2]
    assert [line for line in lines if line.startswith("broken")] == [
        "broken:    harness.datasets.few: cannot be imported",
        "broken:    baselines.few: cannot be imported",
    ]
    assert compose("CE+DisCL").expression == "CE+DisCL"
    with pytest.raises(UsageError, match="terms with an objective: BS, CE, FLYP, LP-FT, Zero-shot"):
        compose("DisCL")


# ---------------------------------------------------------------- what is printed


def test_the_arguments_of_a_method_are_listed(capsys):
    assert main(["list", "--method", "DisCL"]) == 0
    out = capsys.readouterr().out
    for argument in declared(module_of("baselines", "DisCL").term, "discl.py"):
        assert sum(line.startswith(f"{argument.name} ") for line in out.splitlines()) == 1
    row = next(line for line in out.splitlines() if line.startswith("drop_real_hard"))
    assert "False" in row.split()
    assert "Other defaults with profiles mini and smoke: step=0.05" in out
    assert main(["list", "--method", "DisCl2"]) == 2
    assert "did you mean 'DisCL'?" in capsys.readouterr().err


def test_the_documented_arguments_are_the_declared_ones():
    """`harness list --method all --format markdown` writes the section anew."""
    section = (ROOT / "docs/methods.md").read_text().split("\n## Arguments\n")[1]
    names = registry.names("baselines")
    assert section[section.index("### ") :] == argument_tables.render(names, "markdown") + "\n"


# ---------------------------------------------------------------- a curriculum, an epoch


def test_the_stage_of_an_epoch():
    def stages(levels, curriculum_epochs, epochs):
        progress = [
            Progress(e, epochs, curriculum_epochs, levels, None, None, None) for e in range(epochs)
        ]
        return [stage_of(p) for p in progress]

    assert stages((0, 50, 100), 6, 8) == [0, 0, 1, 1, 2, 2, None, None]
    assert stages((0, 50, 100), 5, 6) == [0, 0, 1, 1, 2, None]
    assert "stage-of" not in registry.functions(curricula)


@pytest.mark.parametrize("levels", [None, 50, [50], (0.5,), (40,), ("50",)])
def test_a_curriculum_that_returns_no_levels_is_told(monkeypatch, levels):
    spectrum = compose("CE+DisCL").curriculum
    monkeypatch.setattr(spectrum, "choose", lambda progress: levels)
    progress = Progress(0, 5, 4, (0, 50, 100), None, None, None)
    with pytest.raises(
        UsageError, match=re.escape(f"returns {levels!r}; expected a tuple of some")
    ):
        spectrum.levels(progress)


class Deferred(Objective):
    """Cross-entropy, weighted by class from the middle of a run on (as LDAM-DRW)."""

    def __init__(self):
        self.seen = []

    def loss(self, model, z, batch):
        self.seen.append((batch.epoch, batch.epochs))
        weight = 1 / batch.prior if batch.epoch >= batch.epochs // 2 else None
        return torch.nn.functional.cross_entropy(model.head(z), batch.y, weight)


def test_a_loss_knows_the_epoch(tmp_path):
    objective = Deferred()
    fit(Method("X", "X", objective), world(), MINI, 0, tmp_path, CPU)
    epochs = MINI.scratch.epochs
    assert sorted(set(objective.seen)) == [(epoch, epochs) for epoch in range(epochs)]
    assert objective.seen == sorted(objective.seen)
