"""Which fields of a recipe a method's run reads."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from harness.core.specs import Recipe, unread
from harness.methods.terms import Method
from harness.models.identity import without_path

POOL_FIELDS = (
    "levels", "pool_seeds", "threshold", "generator", "clip", "steps", "text_guidance", "size_px",
    "height_px", "approximate", "generator_batch", "generator_dtype", "scheduler",
)  # fmt: skip
ONWARD_FIELDS = ("onward", "curriculum_epochs", "mixture", "probe_images", "probe_train")
MODELS = ("generator", "clip", "pretrained")
# Which runs there are changes none of them; which images are hard shows in the pool that they read.
NEVER = ("run_seeds", "imbalances", "hard_by", "hard_images")


def relevant(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with None for what the method's run does not read, so that it changes no key.

    A model in a folder is known by the digest of its files.
    """
    unused = set(NEVER)
    if method.reads is None:
        unused |= set(POOL_FIELDS)
    if method.start is None and method.curriculum is None:
        unused |= set(ONWARD_FIELDS)
    values: dict[str, Any] = {
        f.name: unread(f) if f.name in unused else getattr(recipe, f.name) for f in fields(recipe)
    }
    models = {name: values[name] for name in MODELS if values[name] is not None}
    return Recipe(**values | {name: without_path(model) for name, model in models.items()})
