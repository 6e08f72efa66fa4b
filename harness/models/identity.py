"""What a model is known by: the digest of its files or the commit of its hub name, never a path.

A name is that of a built-in model, a folder, or a name on the Hugging Face hub; a generator's may
say a revision and a variant ("owner/name@revision:fp16"); open_clip's models are also named by an
architecture and the tag of its weights, "ViT-B-16-quickgelu:openai".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import DataError, brief
from harness.mini.weights import BUILT_IN, built_in_clip, built_in_generator, weights_digest

FOLDER, HUB = "local-dir:", "hf-hub:"  # what open_clip wants before a folder and a hub name
IN_A_FOLDER = "folder"  # what a model in a folder is called where the folder's name is no matter
# Where on the hub open_clip takes OpenAI's weights from; importing it to ask takes seconds.
OPENAI = {
    "ViT-B-32-quickgelu": "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16-quickgelu": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14-quickgelu": "timm/vit_large_patch14_clip_224.openai",
}


def placed(name: str, home: Path) -> str:
    """The name with its folder, where it names one, as an absolute path; any other as it is.

    A relative folder is one below `home` if it is there, else below the working directory.
    """
    mark = FOLDER if name.startswith(FOLDER) else ""
    folder = name.removeprefix(mark)
    for path in (home / folder, Path(folder)):
        if path.is_dir():
            return f"{mark}{os.path.abspath(path)}"
    return name


def without_path(name: str) -> str:
    """What stands for a model in a recipe that is hashed: of a folder, the digest of its files.

    name: as `placed` gives it, so that a relative one is none of a folder.
    """
    folder = Path(name.removeprefix(FOLDER))
    there = folder.is_absolute() and folder.is_dir()
    return f"{IN_A_FOLDER} {weights_digest(str(folder))}" if there else name


def generator(name: str) -> tuple[str, str]:
    """Of a generator: what it is called, and the digest of its files or its revision on the hub.

    DataError for a folder without model files and for a hub name whose commit nobody knows here.
    """
    if name == BUILT_IN:
        return name, weights_digest(str(built_in_generator()))
    if Path(name).is_dir():
        return IN_A_FOLDER, weights_digest(name)
    model, revision, variant = named(name)
    return f"{model}:{variant}" if variant else model, revision or commit(model)


@dataclass(frozen=True)
class Named:
    """A generator's name as diffusers wants it, with what may follow it.

    "owner/name", "owner/name@revision", "owner/name:fp16", "owner/name@revision:fp16".
    """

    model: str
    revision: str | None = None
    variant: str | None = None  # of its files: unet/diffusion_pytorch_model.fp16.safetensors

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.revision, self.variant))

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.model}{revision}{f':{self.variant}' if self.variant else ''}"


def named(name: str) -> Named:
    """The parts of a generator's name; a folder has its model alone."""
    if Path(name).is_dir():
        return Named(name)
    rest, _, variant = name.partition(":")
    model, _, revision = rest.partition("@")
    return Named(model, revision or None, variant or None)


def clip(name: str) -> str:
    """Digest or commit of an image-text model; of one that is on no hub, its name and tag.

    DataError as `generator`.
    """
    folder = built_in_clip(name)
    if folder is not None or name.startswith(FOLDER):
        return weights_digest(str(folder or name.removeprefix(FOLDER)))
    repository = _repository(name)
    return name if repository is None else commit(repository)


def _repository(name: str) -> str | None:
    """Where on the hub open_clip takes a model from; None for weights that are elsewhere."""
    if name.startswith(HUB):
        return name.removeprefix(HUB)
    model, _, tag = name.partition(":")
    if tag == "openai" and model in OPENAI:
        return OPENAI[model]
    import open_clip

    hub: str = open_clip.get_pretrained_cfg(model.replace("/", "-"), tag).get("hf_hub", "")
    return os.path.split(hub)[0] or None


@cache
def commit(name: str) -> str:
    """The commit that a hub name stands for here: that in the local cache, else the hub's.

    DataError where neither knows it.
    """
    import huggingface_hub
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(huggingface_hub.constants.HF_HUB_CACHE)
    reference = folder / repo_folder_name(repo_id=name, repo_type="model") / "refs" / "main"
    if reference.is_file():
        return reference.read_text().strip()
    try:  # the small files, so that the cache has a reference from now on
        return Path(huggingface_hub.snapshot_download(name, allow_patterns="*.json")).name
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name} is neither a folder nor in the cache of the hub, and the hub does not say "
            f"its commit ({brief(error, 120)}): where there is no network, name a folder"
        ) from error
