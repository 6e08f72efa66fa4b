"""Expressions to methods: what is understood, what is refused and in which words."""

import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import registry
from harness.core.errors import UsageError
from harness.methods.compose import argument, compose

HARNESS = Path(__file__).parents[2] / "harness"
MECHANISM = [
    "core/registry",
    "methods/compose",
    "methods/curriculum",
    "methods/sampling",
    "methods/spectra",
    "models/backbones",
    "models/feature_diffusion",
    "models/logistic_regression",
    "training/augmentation",
    "training/checkpoint",
    "training/data",
    "training/ensemble",
    "training/evaluation",
    "training/inference",
    "training/loop",
    "training/operations",
    "training/optimisation",
    "training/trainer",
]


@pytest.mark.parametrize(
    ("written", "canonical", "start"),
    [
        ("ce", "CE", None),
        (" CE + DisCL ", "CE+DisCL", "CE"),
        ("discl+BS", "BS+DisCL", "BS"),
        ("CE(control=True)", "CE(control=True)", "CE"),
        ("CE(control=False)", "CE", None),
        ("CE(scale=3.0, control=True)", "CE(control=True, scale=3)", "CE"),
        (
            'BS(control=True, counts="epoch", scale=0.5)',
            'BS(control=True, counts="epoch", scale=0.5)',
            'BS(counts="epoch")',
        ),
        (
            "BS(counts='epoch', control=True)",
            'BS(control=True, counts="epoch")',
            'BS(counts="epoch")',
        ),
        ('CE+DisCL(curriculum="diverse-to-specific")', "CE+DisCL", "CE"),
        ("CE+DisCL(threshold=None)", "CE+DisCL", "CE"),
        (
            "CE+DisCL(scale=1.0, levels=[0.5], curriculum='fixed')",
            'CE+DisCL(curriculum="fixed", levels=(0.5,), scale=1)',
            "CE",
        ),
        (
            "BS(counts='epoch')+DisCL(threshold=-0.25)",
            'BS(counts="epoch")+DisCL(threshold=-0.25)',
            'BS(counts="epoch")',
        ),
    ],
)
def test_canonical_expression_round_trips(written, canonical, start):
    method = compose(written)
    assert (method.expression, method.start) == (canonical, start)
    again = compose(method.expression)
    assert (again.expression, again.start) == (canonical, start)
    if start is not None:
        assert compose(start).start is None


def test_an_argument_that_came_later_changes_no_key_of_runs_without_it():
    """What stands in the keys of all runs: every argument, but `scale` only where it is set."""
    assert compose("CE").arguments == "CE(control=False)"
    assert compose("BS(control=True)").arguments == 'BS(control=True, counts="real")'
    assert compose("CE(control=True, scale=3)").arguments == "CE(control=True, scale=3)"


def test_an_argument_that_two_terms_take_is_that_of_the_last_one():
    assert argument("CE+DisCL(scale=3)", "scale") == ("CE+DisCL", 3)
    assert argument("CE(control=True, scale=3)", "scale") == ("CE(control=True)", 3)
    assert argument("FLYP", "scale") is None


def test_every_call_gives_fresh_objects():
    one, two = compose("BS+DisCL"), compose("BS+DisCL")
    assert one.objective is not two.objective
    assert one.augment[0] is not two.augment[0]
    assert one.curriculum is one.augment[0]


def test_the_pool_is_asked_for_only_where_it_is_used():
    assert compose("CE+DisCL").reads == "spectrum"
    for text in ("CE", "CE(control=True)", "CE+DisCL(scale=0)", 'CE+DisCL(curriculum="none")'):
        assert compose(text).reads is None, text


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("CE+DisCl2", ["unknown name 'DisCl2'", "did you mean 'DisCL'?", "CE, CUDA, DisCL"]),
        ("os.path", ["unknown name 'os.path'"]),
        ("__init__", ["unknown name '__init__'"]),
        ("", ["a term is empty"]),
        ("CE+", ["a term is empty"]),
        ("CE++DisCL", ["a term is empty"]),
        ("CE(control=True", ["parentheses do not match"]),
        ('BS(counts="epoch)', ["quotes do not match"]),
        ("CE)(", ["cannot read 'CE)('"]),
        ("CE(control=True)x", ["cannot read 'CE(control=True)x'"]),
        ("CE(a=1)(control=True)", ["cannot read the arguments of CE"]),
        ("CE(control=" + "(" * 1000, ["1011 characters"]),
        ("CE(True)", ["CE takes named arguments only", "key=True"]),
        ("CE(**{'control': True})", ["named arguments only"]),
        ("CE(control=True, control=True)", ["'control' is given twice"]),
        ("CE(kontrol=True)", ["CE has no argument 'kontrol'", "did you mean 'control'?"]),
        ("CE(control=1)", ["CE(control=...): 1 is not allowed", "False, True"]),
        ("CE(scale=3)", ["scale=3", "write control=True"]),
        ("CE(control=True, scale=-1)", ["-1 is not allowed", "a number in [0, 1000]"]),
        ("CE(control=print(1))", ["CE(control=...)", "print(1) is not allowed"]),
        ("CE(control=1e999)", ["not allowed"]),
        ("CE(control={1})", ["not allowed"]),
        ("BS(counts='epoc')", ["'epoc' is not allowed", "did you mean 'epoch'?"]),
        ("CE+BS", ["CE and BS both bring an objective"]),
        ("CE+CE", ["CE and CE both bring an objective"]),
        ("CE+DisCL+DisCL", ["DisCL and DisCL both bring a curriculum"]),
        ("CE(control=True)+DisCL", ["CE(control=True) and DisCL both bring a start"]),
        ("DisCL", ["'DisCL' has no objective", "'BS+DisCL'", "BS, CE"]),
        (
            "CE+DisCL(levels=(0.5, 1.5))",
            ["DisCL(levels=...): 1.5 is not allowed", "a number in [0, 1]"],
        ),
        ("CE+DisCL(levels=(-0.1,))", ["-0.1 is not allowed", "a number in [0, 1]"]),
        ("CE+DisCL(levels=(0.5))", ["0.5 is not allowed", "a tuple of numbers", "(0.5,)"]),
        ("CE+DisCL(levels=(0.5, 0.5))", ["names a level twice"]),
        ("CE+DisCL(levels=(0.123,))", ["two decimals"]),
        ("CE+DisCL(levels=())", ["() is not allowed", "a tuple of numbers"]),
        ("CE+DisCL(levels=(1.0,))", ["a level below 1"]),
        ("CE+DisCL(levels=(0,), level_zero='released')", ["a level below 1"]),
        ("CE+DisCL(curriculum='fixed')", ["needs its level", "levels=(0.5,)"]),
        ("CE+DisCL(curriculum='fixed', levels=(0.3, 0.5))", ["one level below 1"]),
        ("CE+DisCL(curriculum='text-only', levels=(0.3,))", ["text-only", "level 0"]),
        (
            "CE+DisCL(curriculum='diverse')",
            ["DisCL(curriculum=...): 'diverse'", "'diverse-to-specific'?"],
        ),
        ("CE+DisCL(curriculum='random_')", ["did you mean 'random'?"]),
        (
            "CE+DisCL(curriculum=3)",
            ["DisCL(curriculum=...): 3 is not allowed", "diverse-to-specific"],
        ),
        ("CE+DisCL(threshold=2)", ["threshold", "[-1, 1]"]),
        ("CE+DisCL(scale=-1)", ["scale", "[0, 1000]"]),
        ("CE+DisCL(schedule='relesed')", ["did you mean 'released'?"]),
        ("CE+DisCL(drop_real_hard=True)", ["fixed and text-only"]),
    ],
)
def test_refusals_say_what_is_wrong_and_what_is_allowed(written, words):
    with pytest.raises(UsageError) as error:
        compose(written)
    for word in words:
        assert word in str(error.value)


@given(st.text(alphabet="CEBSDis+()=\"'[]{},._# \\\n01*-", max_size=30))
def test_any_text_is_understood_or_refused(text):
    try:
        method = compose(text)
    except UsageError:
        return
    assert compose(method.expression).expression == method.expression


def test_a_name_is_a_file(tmp_path, monkeypatch):
    package = tmp_path / "some_terms"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "lp_ft.py").write_text('NAME: str = "LP-FT"\n')
    (package / "base.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.names("some_terms") == ["LP-FT"]
    assert "some_terms.lp_ft" not in sys.modules
    for spelling in ("LP-FT", "lp-ft", "lp_ft"):
        assert registry.find("some_terms", spelling).NAME == "LP-FT"
    with pytest.raises(UsageError, match="unknown name 'base' in some_terms"):
        registry.find("some_terms", "base")


def test_a_new_term_is_one_file(tmp_path, monkeypatch):
    package = tmp_path / "other_terms"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "we.py").write_text(
        'NAME = "WE"\nfrom baselines.we import Between\n'
        "from harness.methods.terms import TermParts\n"
        "def term(*, alpha=0.5):\n    return TermParts(ensemble=Between(alpha, (0, 1)))\n"
    )
    (package / "go.py").write_text(
        'NAME = "Go"\nfrom harness.methods.terms import Objective, TermParts\n'
        "def term(*, on=False, n=1):\n"
        "    return TermParts(objective=Objective(), onward=on or None)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    method = compose("WE(alpha=0.25)+Go(n=2, on=True)", package="other_terms")
    assert method.expression == "Go(n=2, on=True)+WE(alpha=0.25)"
    assert method.ensemble.alpha == 0.25
    assert method.start == "Go(n=2)"  # weights before any ensemble, without what goes onward


def test_printed_spellings_name_their_files():
    for package in ("baselines", "harness.datasets"):
        for name in registry.names(package):
            assert name == registry.find(package, name).NAME


@pytest.mark.parametrize("stem", MECHANISM)
def test_the_mechanism_knows_no_method(stem):
    text = (HARNESS / f"{stem}.py").read_text()
    for name in registry.names("baselines"):
        assert not re.search(rf"\b{re.escape(name)}\b", text), f"{stem}.py names {name}"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("CE+DisCL(step=None)", ["DisCL(step=...): None is not allowed", "a number in [0, 1]"]),
        ("CE+DisCL(scale=" + "-" * 400 + "1)", ["is not allowed; a value is None, True"]),
        ("CE(scale=" + "9" * 310 + ")", ["a number lies within ±1e+30"]),
        ("CE(scale=" + "9" * 900 + ")", ["a number lies within ±1e+30"]),
        ("CE(scale=0x" + "f" * 900 + ")", ["a number lies within ±1e+30"]),
        ("+".join(["CE"] * 300), ["300 terms; 12 are allowed"]),
        ("CE+" * 333, ["a term is empty"]),
        ("CE(scale=" + "[" * 95 + "]" * 95 + ")", ["is not allowed"]),
        ("CE(scale='" + "a" * 500 + "')", ["a text has at most 200 characters"]),
        ("CE\x1b[31m(", ["parentheses do not match", r"\x1b"]),
        ("x" * 900, ["unknown name", "available"]),
    ],
    ids=range(11),
)
def test_expressions_out_of_bounds_are_one_short_sentence(written, words):
    compose("CE+DisCL")  # imports
    began = time.process_time()
    with pytest.raises(UsageError) as error:
        compose(written)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert text.isprintable()
    assert len(text) <= 300
    assert time.process_time() - began < 1
