"""Where the files of one data set and profile lie, and the recipe that holds there."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.specs import GeneratorSpec, Recipe
from harness.generation import approximations
from harness.mini.weights import (
    BUILT_IN,
    built_in_clip,
    built_in_generator,
    built_in_px,
    weights_digest,
)

DATASETS = "harness.datasets"
LOSSLESS_UP_TO_PX = 64
OPTIONAL = ("pretrained",)  # fields that hold a text or nothing
TEXTS = ("approximate",)  # fields that hold a list of texts, which may be empty
NUMBERS = {int: "whole number", float: "finite number"}
# What numbers of params.yaml may be: lowest, highest, and how to say it.
RANGES: dict[str, tuple[float, float, str]] = {
    "levels": (0, 0.99, "guidance of synthetic images is in [0, 1)"),
    "threshold": (-1, 1, "a CLIPScore is in [-1, 1]"),
    "pool_seeds": (0, 2**31 - 1, "a seed is a whole number from 0 to 2147483647"),
    "run_seeds": (0, 2**31 - 1, "a seed is a whole number from 0 to 2147483647"),
    "steps": (1, 1000, "the noise schedule has 1 to 1000 steps"),
    "size_px": (1, 4096, "a side of 1 to 4096 px"),
    "height_px": (0, 4096, "a side of 1 to 4096 px, or 0 for a square"),
    "width": (1, 1024, "1 to 1024 channels"),
    "curriculum_epochs": (0, 100_000, "a number of epochs from 0"),
}


@dataclass(frozen=True)
class Workspace:
    """One data set at one scale below `home`.

    `given` names the folder of the official files; without it the built-in world writes them.
    `overrides` are recipe fields from params.yaml; `backbone` replaces the recipe's, with what the
    data set's BACKBONES has for that name.
    """

    dataset: str
    profile: str = "mini"
    home: Path = Path()
    given: Path | None = None
    overrides: tuple[tuple[str, Any], ...] = ()
    backbone: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker gets the fields, not what was derived from them."""
        return Workspace, tuple(getattr(self, f.name) for f in fields(self))

    @cached_property
    def module(self) -> ModuleType:
        return registry.find(DATASETS, self.dataset)

    @cached_property
    def recipe(self) -> Recipe:
        """The profile's recipe with the overrides; UsageError for an unknown profile or field."""
        known: dict[str, Recipe] = self.module.RECIPES
        if self.profile not in known:
            hint = registry.nearest(self.profile, known)
            raise UsageError(f"unknown profile {self.profile!r} of {self.dataset}{hint}")
        recipe = known[self.profile]
        fixed = ("profile", "version")
        allowed = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name not in fixed}
        changes: dict[str, Any] = {}
        for name, value in self.overrides:
            if name not in allowed:
                raise UsageError(f"unknown parameter {name!r}{registry.nearest(name, allowed)}")
            changes[name] = _fitting(name, value, allowed[name])
        recipe = replace(recipe, **changes)
        if self.backbone in (None, recipe.backbone):
            return recipe
        return replace(recipe, **self._other_backbone(recipe))

    def _other_backbone(self, recipe: Recipe) -> dict[str, Any]:
        others: dict[str, dict[str, Any]] = self.module.BACKBONES.get(self.profile, {})
        if self.backbone not in others:
            known = [recipe.backbone, *others]
            where = f"of {self.module.NAME} in profile {self.profile}"
            raise UsageError(
                f"unknown backbone {self.backbone!r} {where}"
                f"{registry.nearest(str(self.backbone), known)}"
            )
        return others[str(self.backbone)]

    def imbalances(self, asked: Sequence[int] | None = None) -> tuple[int | None, ...]:
        """Those asked for, or all; (None,) for a data set that is long-tailed as it comes.

        UsageError for one that the recipe lacks: its hard images and their spectra are not made.
        """
        known: tuple[int | None, ...] = self.recipe.imbalances or (None,)
        for ratio in asked or ():
            if ratio not in known:
                said = ", ".join(map(str, self.recipe.imbalances)) or "none, it comes long-tailed"
                where = f"profile {self.profile} of {self.dataset}"
                raise UsageError(f"imbalance {ratio} is not in {where}; there is: {said}")
        return tuple(asked or known)

    def _below(self, top: str) -> Path:
        return self.home / top / self.profile / self.module.NAME

    @property
    def data(self) -> Path:
        """Folder of the official files: for profile paper --root or $HARNESS_DATA/<data set>."""
        if self.given is not None or self.profile != "paper":
            return self.given or self._below("data")
        if "HARNESS_DATA" not in os.environ:
            raise UsageError(
                "profile paper needs the official files: name their folder by --root, or a folder "
                f"that holds a folder {self.module.NAME} by $HARNESS_DATA"
            )
        return Path(os.environ["HARNESS_DATA"]) / self.module.NAME

    @property
    def work(self) -> Path:
        return self._below("work")

    @property
    def pool(self) -> Path:
        return self._below("pool")

    @property
    def runs(self) -> Path:
        return self._below("runs")

    @property
    def prompts(self) -> Path:
        """Scene descriptions for the generator, where `harness prompts` wrote some."""
        return self.home / "prompts" / f"{self.module.NAME}.json"

    @property
    def records(self) -> Path:
        return self.home / "results" / "records"

    @cached_property
    def generator(self) -> GeneratorSpec:
        """The identity of the synthetic images that this recipe asks for."""
        recipe = self.recipe
        small = max(recipe.size_px, recipe.height_px) <= LOSSLESS_UP_TO_PX
        return GeneratorSpec(
            model=recipe.generator,
            weights=weights_digest(self.generator_source),
            size_px=recipe.size_px,
            steps=recipe.steps,
            text_guidance=recipe.text_guidance,
            dtype="float32" if recipe.generator == BUILT_IN else "bfloat16",
            codec="webp-lossless" if small else "jpeg",
            height_px=recipe.height_px,
            approximate=recipe.approximate,
        )

    def check_built_in(self) -> None:
        """UsageError when the recipe asks for larger pictures than the built-in models make."""
        made, asked = built_in_px(), max(self.recipe.size_px, self.recipe.height_px)
        if self.recipe.generator == BUILT_IN and made is not None and made < asked:
            raise UsageError(
                f"profile {self.profile} of {self.module.NAME} wants pictures of {asked} px, and "
                f"the built-in models make {made}: with them, size_px is at most {made}"
            )

    @property
    def generator_source(self) -> str:
        """Folder or hub name that diffusers loads."""
        name = self.recipe.generator
        return str(built_in_generator()) if name == BUILT_IN else name

    @property
    def clip_source(self) -> tuple[str, str | None]:
        """Name and pretrained tag for open_clip."""
        folder = built_in_clip(self.recipe.clip)
        return (self.recipe.clip, "openai") if folder is None else (f"local-dir:{folder}", None)

    @cached_property
    def pretrained(self) -> str | None:
        """Identity of the weights a run begins with, where these are not random."""
        name = self.recipe.pretrained
        if name is None:
            return None
        return weights_digest(str(built_in_clip(name) or name.removeprefix("local-dir:")))

    @cached_property
    def scorer(self) -> str:
        """The scoring model and its weights, as scores are filed under."""
        name = self.recipe.clip
        folder = built_in_clip(name)
        return name if folder is None else f"{name}-{weights_digest(str(folder))[:12]}"


def _fitting(name: str, value: Any, example: Any) -> Any:
    """A value of params.yaml as the recipe's type; UsageError says what is wrong with it."""
    if name in TEXTS:
        value = _texts(name, value)
    elif isinstance(example, tuple) and isinstance(value, list):
        kind = type(example[0]) if example else int
        value = tuple(_number(name, v, kind) for v in value)
    elif isinstance(example, int | float) and not isinstance(example, bool):
        value = _number(name, value, type(example))
    elif type(value) is not type(example) and not (name in OPTIONAL and type(value) is str):
        kind_name = "list" if isinstance(example, tuple) else type(example).__name__
        raise UsageError(f"parameter {name}: {value!r} is not a {kind_name}")
    for v in value if isinstance(value, tuple) else (value,):
        low, high, allowed = RANGES.get(name, (-math.inf, math.inf, ""))
        if allowed and not low <= v <= high:
            raise UsageError(f"parameter {name}: {v!r} is not allowed; {allowed}")
        if name == "levels" and abs(100 * v - round(100 * v)) > 1e-6:
            raise UsageError(f"parameter levels: {v!r} is not allowed; guidance has two decimals")
    if isinstance(value, tuple) and len(set(value)) < len(value):
        raise UsageError(f"parameter {name}: {list(value)} names a value twice")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(type(v) is str for v in value):
        raise UsageError(f"parameter {name}: {value!r} is not a list of texts")
    approximations.parse(value)
    return tuple(value)


def _number(name: str, value: Any, kind: type) -> Any:
    """`value` as a finite number of that kind; a whole number is a float, too."""
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"parameter {name}: {value!r} is not a {NUMBERS[kind]}")
    return value
