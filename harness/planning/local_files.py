"""Which weights and official files are on this machine; nothing is fetched.

Official files are looked for in the folders given, or below $HARNESS_DATA in a folder named like
the data set: it is there when the `files` that FACTS of its module names are (see
harness.planning.dataset_sizes).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core.digests import Damaged
from harness.core.errors import DataError
from harness.core.specs import Recipe
from harness.mini import weights
from harness.models.identity import FOLDER, HUB, OPENAI, named
from harness.planning.packages import MISSING, OK, version

DAMAGED = "damaged"
DATA = "HARNESS_DATA"  # environment variable: a folder with a folder for each data set
# What diffusers loads of a pipeline on the hub, as the generator asks for it.
PIPELINE = (
    "model_index.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder_2/model.safetensors",
)
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # either will do


@dataclass(frozen=True)
class Files:
    """Files that were looked for."""

    name: str
    status: str  # OK, MISSING, or what is wrong
    where: str  # the folder, a checksum, or how to get them


# ---------------------------------------------------------------- data


def root_of(
    name: str, roots: Mapping[str, Path] | None, environment: Mapping[str, str] | None
) -> Path | None:
    """Where the official files of a data set should be; None when nothing names it."""
    if roots is not None and name in roots:
        return Path(roots[name])
    below = (os.environ if environment is None else environment).get(DATA, "")
    return Path(below) / name if below else None


def official_files(module: ModuleType | None, root: Path | None, name: str) -> Files:
    """Whether the official files are there, by their names alone; `harness check` reads them."""
    label = f"official files of {name}"
    sources = getattr(module, "SOURCES", ())
    get = f"; they are at {sources[0].url}" if sources else ""
    if root is None:
        return Files(label, MISSING, f"name their folder by --root or ${DATA}{get}")
    facts = getattr(module, "FACTS", {})
    files = facts.get("files", ())
    gone = [file for file in files if not (root / file).exists()]
    within = root / facts.get("folder", "")
    if not root.is_dir():
        return Files(label, MISSING, f"no folder {root}{get}")
    if gone and any(not (within / file).exists() for file in files):
        return Files(label, f"{len(gone)} of {len(files)} missing", f"no {root / gone[0]}{get}")
    return Files(label, OK, str(within if gone else root))


# ---------------------------------------------------------------- weights


def weights_of(recipe: Recipe, cache: Path | None = None) -> tuple[Files, ...]:
    """The models that a recipe reads: its generator, its scorer, and what its runs start from."""
    named = weights.built_in_clip(recipe.clip) or recipe.clip.startswith((FOLDER, HUB))
    scorer = recipe.clip if named else f"{recipe.clip}:openai"
    clips = dict.fromkeys([scorer, *([recipe.pretrained] if recipe.pretrained else [])])
    return (_generator(recipe, cache), *(_clip(name, cache) for name in clips))


def other_weights(module: Any, profile: str, cache: Path | None) -> list[Files]:
    """What only the tables of another backbone read: no need of the profile as it comes."""
    recipe, others = module.RECIPES[profile], module.BACKBONES.get(profile, {})
    return [files for of in others.values() for files in weights_of(replace(recipe, **of), cache)]


def _generator(recipe: Recipe, cache: Path | None) -> Files:
    name = recipe.generator
    label = f"generator {name}"
    if name == weights.BUILT_IN:
        built_in_px = weights.built_in_px()
        wanted_px = max(recipe.size_px, recipe.height_px)
        if built_in_px is not None and built_in_px < wanted_px:
            of_size = f"{label} for {wanted_px} px"
            why = f"the one there is makes pictures of {built_in_px} px"
            return Files(of_size, MISSING, why)
        return _folder(label, weights.built_in_generator())
    if Path(name).is_dir():
        return _folder(label, Path(name))
    model, revision, variant = named(name)
    files = [f.replace(".safetensors", f".{variant}.safetensors") for f in PIPELINE]
    wanted = files if variant else PIPELINE
    return _hub(label, model, [(file,) for file in wanted], cache, revision)


def _clip(name: str, cache: Path | None) -> Files:
    label = f"CLIP {name}"
    built_in = weights.built_in_clip(name)
    if built_in is not None or name.startswith(FOLDER):
        return _folder(label, built_in or Path(name.removeprefix(FOLDER)))
    model, _, tag = name.partition(":")
    repository = OPENAI.get(model) if tag == "openai" else None
    if name.startswith(HUB):
        repository = name.removeprefix(HUB)
    if repository is None:
        return Files(label, "not looked for", "open_clip knows where to get it when first used")
    return _hub(label, repository, [OPEN_CLIP], cache)


def _folder(label: str, folder: Path) -> Files:
    try:
        return Files(label, OK, f"SHA-256 {weights.weights_digest(str(folder))[:12]}")
    except Damaged as error:
        return Files(label, DAMAGED, str(error))
    except DataError:
        return Files(label, MISSING, f"no model files in {folder}")


def _hub(
    label: str,
    name: str,
    wanted: list[tuple[str, ...]],
    cache: Path | None,
    revision: str | None = None,
) -> Files:
    """wanted: files, each as names of which one will do. The network is not asked."""
    get = f"fetched from the hub{'' if label.endswith(name) else f' ({name})'} when first used"
    if version("huggingface_hub") is None:
        return Files(label, MISSING, get)
    from huggingface_hub import try_to_load_from_cache as find

    paths = [
        next((p for p in (find(name, n, cache, revision) for n in names) if isinstance(p, str)), "")
        for names in wanted
    ]
    there = [path for path in paths if path]
    if len(there) == len(wanted):
        return Files(label, OK, f"hub cache, revision {_revision(there[0])}")
    status = MISSING if not there else f"{len(wanted) - len(there)} of {len(wanted)} files missing"
    return Files(label, status, get)


def _revision(path: str) -> str:
    """Of a file in the hub's cache: .../snapshots/<revision>/..."""
    parts = Path(path).parts
    return parts[parts.index("snapshots") + 1][:12]
