"""Keys of specs: golden values, and what has no key."""

import dataclasses
import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from harness.core.specs import (
    ADDED_LATER,
    GeneratorSpec,
    ImageSpec,
    Machine,
    Mixture,
    Recipe,
    RunSpec,
    Schedule,
    key,
    unread,
)

GENERATOR = GeneratorSpec(model="mini", weights="ab", size_px=32)
SCHEDULE = Schedule(optimiser="sgd", lr=0.1, batch=128, epochs=30, milestones=(10, 20))
RECIPE = Recipe(
    profile="mini",
    backbone="resnet10",
    width=16,
    scratch=SCHEDULE,
    onward=SCHEDULE,
    curriculum_epochs=5,
    mixture=Mixture(keep=0.5, tail_fraction=None),
    levels=(0.1, 0.5),
    pool_seeds=(0,),
    threshold=0.3,
    generator="mini",
    clip="mini",
    steps=50,
    text_guidance=10.0,
    size_px=32,
    view_px=32,
)
RUN = RunSpec(
    "cifar100-lt", 100, "BS+DisCL", "BS()+DisCL()", 0, RECIPE, "cd", None, None, None, None
)
GOLDEN = {
    # a value here changes only together with the `version` of its spec
    GENERATOR: "f06932ffbcf35345969753c050e38e56b2db59573d2073d6b18bc451466f2e4d",
    SCHEDULE: "6807f56790940e60f5bb1454d2da2b79cdf419a92eec8dc4d5b023f766380975",
    RECIPE: "4b10155873759cd711003dc7ce550a9641b9563453739e6edae67572285117c9",
    RUN: "d811674772196d166020cf0c8af687fc7b5245e21ccb673d8ceee80808800c1e",
    ImageSpec(
        "ab", "cd", 50, 0, "a photo of a fox"
    ): "4a2be50596f48b514dea1f0f34274c5c90e3b7c2023ee7a1c0812de04a2f9580",
    RECIPE.mixture: "6d70aeff6c1fb2106b912fcee601595c26914bcbd64b0992db1d3514fc906da5",
}


@pytest.mark.parametrize("spec", GOLDEN, ids=lambda s: type(s).__name__)
def test_golden_keys(spec):
    assert key(spec) == GOLDEN[spec]


@pytest.mark.parametrize("spec", GOLDEN, ids=lambda s: type(s).__name__)
def test_every_field_counts(spec):
    """Two specs that differ in one field never share a key."""
    others = {f.name: replace(spec, **{f.name: "other"}) for f in dataclasses.fields(spec)}
    keys = {key(spec), *map(key, others.values())}
    assert len(keys) == 1 + len(others)


def test_a_field_that_came_later_leaves_keys_alone():
    @dataclass(frozen=True)
    class Mixture:  # in the name of the one with golden keys
        keep: float
        tail_fraction: float | None
        version: int = 1
        share: float = field(default=0.0, metadata=ADDED_LATER)
        names: tuple[str, ...] = field(default_factory=tuple, metadata=ADDED_LATER)

    assert key(Mixture(0.5, None)) == GOLDEN[RECIPE.mixture]
    changed = [Mixture(0.5, None, share=0.1), Mixture(0.5, None, names=("a",))]
    changed += [Mixture(0.5, None, share=0), Mixture(0.5, None, share=None)]
    assert len({GOLDEN[RECIPE.mixture], *map(key, changed)}) == 5
    assert key(changed[0]) == "de8648f99e67b45870d32850d344c599f484c4cff2f0c9158caf902015eb85fe"
    unreads = {f.name: unread(f) for f in dataclasses.fields(Mixture)}
    assert (unreads["share"], unreads["names"], unreads["version"]) == (0.0, (), None)


def test_specs_of_different_classes_differ():
    @dataclass(frozen=True)
    class Other:
        keep: float
        tail_fraction: float | None
        version: int = 1

    assert key(Other(0.5, None)) != key(Mixture(0.5, None))
    assert key(Mixture(1, None)) != key(Mixture(True, None))
    assert key(Mixture(0.5, 0.0)) != key(Mixture(0.5, None))


def test_tuples_and_lists_say_the_same():
    assert key(replace(SCHEDULE, milestones=[10, 20])) == key(SCHEDULE)


@dataclass
class Mutable:
    a: int = 1


@dataclass(frozen=True)
class Holds:
    value: object = field(default=None)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Machine(), "Machine is not a spec"),
        (Mutable(), "Mutable is not a spec"),
        (Holds(Machine()), "Machine is not a spec"),
        (Holds((1, Mutable())), "Mutable is not a spec"),
        (Holds(float("nan")), "nan cannot be part"),
        (Holds([float("inf")]), "inf cannot be part"),
        (Holds({"a": 1}), "dict cannot be part"),
        (Holds({1}), "set cannot be part"),
        (Holds(b"bytes"), "bytes cannot be part"),
        (Holds(np.float32(0.5)), "float32 cannot be part"),
        (Holds(np.int64(1)), "int64 cannot be part"),
        (Holds(Machine), "type cannot be part"),
    ],
    ids=lambda v: None if not isinstance(v, str) else v.split()[0],
)
def test_what_has_no_key(value, says):
    with pytest.raises(TypeError, match=says):
        key(value)


def test_an_image_key_follows_each_of_its_parts():
    parts = [("g", "h"), ("s", "t"), (10, 50), (0, 1), ("a photo", "a picture")]
    keys = {key(ImageSpec(*values)) for values in itertools.product(*parts)}
    assert len(keys) == 2**5
