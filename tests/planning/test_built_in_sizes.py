"""FACTS of the built-in world equal what the modules that draw it say."""

from collections import Counter

import pytest

from harness.core import registry
from harness.datasets.subsets import class_counts
from harness.mini import imagenet, inaturalist, wildcam, world
from harness.pipeline.workspace import Workspace
from harness.planning import dataset_sizes
from harness.planning import plan as plans

# The largest class that is hard, by the recipe's rule.
LARGEST_HARD = {"<20": 19, "<=20": 20}


def cifar100_lt(recipe):
    classes = len(world.rows_of_cifar100())
    whole = classes * (world.TRAIN_PER_CLASS + world.TEST_PER_CLASS)
    per_class, ratio = world.TRAIN_PER_CLASS, recipe.imbalances[0]
    counts = class_counts(per_class, classes, ratio, recipe.count_profile)
    return counts, {"test": classes * world.TEST_PER_CLASS}, whole


def imagenet_lt(recipe):
    counts = imagenet.class_counts()
    each = {"val": imagenet.VAL_PER_CLASS, "test": imagenet.TEST_PER_CLASS}
    splits = {split: n * len(counts) for split, n in each.items()}
    return counts, splits, sum(counts) + sum(splits.values())


def inaturalist2018(recipe):
    counts = inaturalist.class_counts()
    splits = {"test": inaturalist.VAL_PER_CLASS * len(counts)}
    return counts, splits, sum(counts) + sum(splits.values())


def iwildcam(recipe):
    rows = wildcam.plan(1.0)
    splits = dict(Counter(row.split for row in rows))
    splits.pop("train")
    kinds = Counter(row.y for row in rows if row.split == "train")
    return tuple(kinds.values()), splits, len(rows)


WORLDS = {
    "cifar100-lt": cifar100_lt,
    "imagenet-lt": imagenet_lt,
    "inaturalist2018": inaturalist2018,
    "iwildcam": iwildcam,
}


@pytest.mark.parametrize("profile", ["mini", "smoke"])
@pytest.mark.parametrize("name", registry.names("harness.datasets"))
def test_sizes_of_the_built_in_world(name, profile, tmp_path):
    for rule, largest in LARGEST_HARD.items():
        workspace = Workspace(name, profile, tmp_path, overrides=(("tail", rule),))
        imbalance = next(iter(workspace.recipe.imbalances), None)
        counts, splits, drawn = WORLDS[name](workspace.recipe)
        told = dataset_sizes.facts(workspace, imbalance)
        assert (told.train, len(told.counts)) == (sum(counts), len(counts))
        small = [n for n in counts if n <= largest]
        whole = {"mini": (300, None), "smoke": (150, None)}[profile]
        hard = whole if name == "iwildcam" else (sum(small), len(small))
        assert (told.hard, told.hard_classes) == hard
        assert told.splits == splits
        facts = workspace.module.FACTS[profile]
        assert facts.get("drawn", 0) + facts.get("drawn_files", 0) == drawn
        assert ("drawn" in facts) == (name == "cifar100-lt")


@pytest.mark.parametrize("name", registry.names("harness.datasets"))
def test_plans_of_the_built_in_world_count_tests(name, tmp_path):
    method = "Zero-shot" if name == "iwildcam" else "CE"
    plan = plans.plan(Workspace(name, "mini", tmp_path), [method])
    run = plan.runs[0]
    assert run.passes.forward >= sum(plan.facts[0].splits.values())
    assert not [text for text in plan.assumed if "not counted" in text]
