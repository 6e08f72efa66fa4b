"""Where the files of one data set and profile lie, and the recipe that holds there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError
from harness.core.specs import SMALL_UP_TO_PX, GeneratorSpec, Recipe
from harness.mini.weights import BUILT_IN, built_in_clip, built_in_generator, built_in_px
from harness.models import identity
from harness.pipeline import config

DATASETS = "harness.datasets"
AUGMENTATIONS, BACKBONES = (
    "harness.training.augmentation",
    "harness.models.backbones",
)  # a name is a function


@dataclass(frozen=True)
class Workspace:
    """One data set at one scale below `home`.

    `root` names the folder of the official files; without it the built-in world writes them.
    `overrides` are recipe fields from params.yaml, by name or dotted name; `backbone` replaces the
    recipe's, with what the data set's BACKBONES has for that name; `settings` are fields from
    `--set`, which beat both.
    """

    dataset: str
    profile: str = "mini"
    home: Path = Path()
    root: Path | None = None
    overrides: tuple[tuple[str, Any], ...] = ()
    backbone: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker gets the fields, not what was derived from them."""
        return Workspace, tuple(getattr(self, f.name) for f in fields(self))

    @property
    def hard_by(self) -> str | None:
        """The method whose p(true class) says which images are hard, where that is the rule."""
        by = getattr(self.module, "HARD_BY", None)
        return None if by is None else self.recipe.hard_by or by

    @cached_property
    def module(self) -> ModuleType:
        return registry.find(DATASETS, self.dataset)

    @cached_property
    def recipe(self) -> Recipe:
        """The profile's recipe with the overrides; UsageError for an unknown profile or field.

        Folders of models are absolute paths in it (identity.placed).
        """
        known: dict[str, Recipe] = self.module.RECIPES
        if self.profile not in known:
            hint = registry.nearest(self.profile, known)
            raise UsageError(f"unknown profile {self.profile!r} of {self.dataset}{hint}")
        base = known[self.profile]
        recipe = config.apply(base, self.overrides)
        if self.backbone not in (None, recipe.backbone):
            recipe = config.vary(recipe, base, self._other_backbone(recipe))
        recipe = config.apply(recipe, self.settings)
        self._check_names(recipe, base)
        return self._placed(recipe)

    def _placed(self, recipe: Recipe) -> Recipe:
        names = {"generator": recipe.generator} if recipe.generator != BUILT_IN else {}
        for field in ("clip", "pretrained"):
            name = getattr(recipe, field)
            if name is not None and name.startswith(identity.FOLDER):
                names[field] = name
        places: dict[str, Any] = {
            field: identity.placed(name, self.home) for field, name in names.items()
        }
        return replace(recipe, **places)

    def _check_names(self, recipe: Recipe, base: Recipe) -> None:
        """UsageError for changed names that training would not find."""
        where = {"augment": AUGMENTATIONS, "test_view": AUGMENTATIONS}
        if recipe.pretrained is None:  # else the backbone is what the pretrained weights are of
            where["backbone"] = BACKBONES
        for field, module in where.items():
            name = getattr(recipe, field)
            if name != getattr(base, field):
                registry.one_of(f"parameter {field}", name, registry.function_names(module))

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

    @property
    def of_own_backbone(self) -> Workspace:
        """The same with the profile's own backbone, whatever another table or caller names.

        Its runs say which images are hard, so that there is one list of them.
        """
        return replace(self, backbone=None)

    def imbalances(self, ratios: Sequence[int] | None = None) -> tuple[int | None, ...]:
        """Those asked for, or all; (None,) for a data set that is long-tailed as it comes.

        UsageError for one that the recipe lacks: its hard images and their spectra are not made.
        """
        known: tuple[int | None, ...] = self.recipe.imbalances or (None,)
        for ratio in ratios or ():
            if ratio not in known:
                names = ", ".join(map(str, self.recipe.imbalances)) or "none, it comes long-tailed"
                where = f"profile {self.profile} of {self.dataset}"
                raise UsageError(f"imbalance {ratio} is not in {where}; available: {names}")
        return tuple(ratios or known)

    def _below(self, top: str) -> Path:
        return self.home / top / self.profile / self.module.NAME

    @property
    def data(self) -> Path:
        """Folder of the official files: for profile paper --root or $HARNESS_DATA/<data set>."""
        if self.root is not None or self.profile != "paper":
            return self.root or self._below("data")
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
        """The identity of the synthetic images that this recipe asks for.

        DataError where the files of the model, or its commit on the hub, are not known here.
        """
        recipe = self.recipe
        model, revision = identity.generator(recipe.generator)
        return GeneratorSpec(
            model=model,
            weights=revision,
            size_px=recipe.size_px,
            steps=recipe.steps,
            text_guidance=recipe.text_guidance,
            scheduler=recipe.scheduler,
            dtype=self.dtype,
            batch=recipe.generator_batch,
            codec=self.codec,
            height_px=recipe.height_px,
            approximate=recipe.approximate,
        )

    @property
    def dtype(self) -> str:
        """Of the generator's arithmetic."""
        usual = "float32" if self.recipe.generator == BUILT_IN else "bfloat16"
        return self.recipe.generator_dtype or usual

    @property
    def codec(self) -> str:
        """Of the synthetic images."""
        small = max(self.recipe.size_px, self.recipe.height_px) <= SMALL_UP_TO_PX
        return "webp-lossless" if small else "jpeg"

    def check_built_in(self) -> None:
        """UsageError when the recipe asks for larger pictures than the built-in models make."""
        built_in, side = built_in_px(), max(self.recipe.size_px, self.recipe.height_px)
        if self.recipe.generator == BUILT_IN and built_in is not None and built_in < side:
            raise UsageError(
                f"profile {self.profile} of {self.module.NAME} wants pictures of {side} px, and "
                f"the built-in models make {built_in}: with them, size_px is at most {built_in}"
            )

    @property
    def generator_source(self) -> str:
        """Folder, or hub name with its revision, that `engine.load_pipeline` loads."""
        name = self.recipe.generator
        if name == BUILT_IN:
            return str(built_in_generator())
        if Path(name).is_dir():
            return name
        known = identity.named(name)
        return str(replace(known, revision=known.revision or identity.commit(known.model)))

    @property
    def clip_source(self) -> tuple[str, str | None]:
        """Name and pretrained tag for open_clip."""
        name, folder = self.recipe.clip, built_in_clip(self.recipe.clip)
        if folder is not None:
            return f"{identity.FOLDER}{folder}", None
        return name, None if name.startswith((identity.FOLDER, identity.HUB)) else "openai"

    @cached_property
    def pretrained(self) -> str | None:
        """Identity of the weights a run begins with, where these are not random."""
        name = self.recipe.pretrained
        return None if name is None else identity.clip(name)

    @cached_property
    def scorer(self) -> str:
        """The scoring model and its weights, as scores are filed under."""
        name = self.recipe.clip
        tagged = name if self.clip_source[1] is None else f"{name}:{self.clip_source[1]}"
        known_by = identity.clip(tagged)
        shown = identity.IN_A_FOLDER if name.startswith(identity.FOLDER) else name
        return name if known_by == tagged else f"{shown}-{known_by[:12]}"
