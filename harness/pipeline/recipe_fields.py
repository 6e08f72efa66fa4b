"""Which fields of a recipe a method's run reads."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from harness.core.specs import Recipe
from harness.methods.terms import Method

POOL_FIELDS = (
    "levels", "pool_seeds", "threshold", "generator", "clip", "steps", "text_guidance", "size_px",
    "height_px", "approximate",
)  # fmt: skip
ONWARD_FIELDS = ("onward", "curriculum_epochs", "mixture", "probe_images", "probe_train")
NEVER = ("run_seeds", "imbalances")  # which runs there are changes none of them


def relevant(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with None for what the method's run does not read, so that it changes no key."""
    unused = set(NEVER)
    if method.reads is None:
        unused |= set(POOL_FIELDS)
    if method.start is None and method.curriculum is None:
        unused |= set(ONWARD_FIELDS)
    values: dict[str, Any] = {
        f.name: None if f.name in unused else getattr(recipe, f.name) for f in fields(recipe)
    }
    return Recipe(**values)
