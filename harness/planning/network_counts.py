"""Writes the counts of networks that ship with the package.

Run as python -m harness.planning.network_counts; a test compares the files with PyTorch's counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from harness.core import registry
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.methods.compose import compose
from harness.models import diffusion_counts
from harness.pipeline.config import PROFILES
from harness.pipeline.workspace import DATASETS, Workspace
from harness.planning.dataset_sizes import facts
from harness.planning.flops import COUNTS, Shape, count, shape_of


def shapes() -> Iterator[Shape]:
    """Of every recipe and other backbone whose data set says its class sizes."""
    for name in registry.names(DATASETS):
        module = registry.find(DATASETS, name)
        for profile in PROFILES:
            for backbone in (None, *module.BACKBONES.get(profile, {})):
                workspace = Workspace(module.NAME, profile, backbone=backbone)
                try:
                    sizes = facts(workspace, workspace.imbalances()[0])
                except DataError:
                    continue
                yield shape_of(workspace.recipe, len(sizes.counts))


def diffusion_shapes() -> Iterator[tuple[int, int, tuple[object, ...]]]:
    """Of LDMLR with its default arguments on the classifiers above, where there are few classes."""
    for name in registry.names(DATASETS):
        module = registry.find(DATASETS, name)
        for profile in PROFILES:
            workspace = Workspace(module.NAME, profile)
            recipe = workspace.recipe
            if recipe.pretrained is not None:
                continue
            finetune = compose("CE+LDMLR", module.NAME, profile).finetune
            assert finetune is not None
            try:
                classes = len(facts(workspace, workspace.imbalances()[0]).counts)
            except DataError:
                continue
            features = count(shape_of(recipe, classes)).features
            yield features, classes, finetune.settings.network  # type: ignore[attr-defined]


def main() -> None:
    """Count every known network anew."""
    networks = {shape.name: asdict(count(shape)) for shape in shapes()}
    text = json.dumps(dict(sorted(networks.items())), indent=1) + "\n"
    write_atomic(COUNTS, text.encode())
    diffusion = {
        diffusion_counts.name(*shape): diffusion_counts.count(*shape)
        for shape in dict.fromkeys(diffusion_shapes())
    }
    text = json.dumps(dict(sorted(diffusion.items())), indent=1) + "\n"
    write_atomic(diffusion_counts.COUNTS, text.encode())
    print(f"{len(networks)} networks, {len(diffusion)} of feature diffusion")


if __name__ == "__main__":
    main()
