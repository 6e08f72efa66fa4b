"""Image-text models (CLIP, Radford et al. 2021) as backbones, and the classifier of captions."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from harness.core.errors import DataError, UsageError, brief
from harness.mini.weights import built_in_clip
from harness.models import model_folder

FOLDER = "local-dir:"  # what open_clip wants before a path
HUB = "hf-hub:"
TEXTS = 256  # captions embedded at once


class ImageTower(nn.Module):
    """Images (B, 3, side, side), normalised -> z (B, D), not of unit length."""

    def __init__(self, tower: nn.Module, side: int) -> None:
        super().__init__()
        self.tower, self.side = tower, side

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != (3, self.side, self.side):
            shape = "x".join(str(n) for n in images.shape[1:])
            raise DataError(
                f"this image tower reads pictures of 3x{self.side}x{self.side}, not of {shape}: "
                f"give the recipe view_px = {self.side}"
            )
        return cast(Tensor, self.tower(images))


class ImageText(nn.Module):
    """An open_clip model with a linear head beside its two towers.

    `encoder`: images -> z (B, D); `text`: token ids (N, L) -> (N, D), both not of unit length;
    `logit_scale`: log of the factor on cosines; `head`: z -> logits (B, classes), zero at first.
    mean, std: per channel, of images in [0, 1], and side (px): what the image tower was shown.
    Raises DataError for a model of another kind: without a text tower of its own, with a bias on
    its cosines, or for pictures that are not square.
    """

    def __init__(self, model: Any, tokenizer: Any, features: int, classes: int) -> None:
        super().__init__()
        import open_clip
        from open_clip.model import CustomTextCLIP

        size = model.visual.image_size
        height, width = size if isinstance(size, tuple | list) else (size, size)
        plain = isinstance(model, CustomTextCLIP) and model.logit_bias is None
        if not plain or model.logit_scale.ndim or height != width:
            raise DataError("not a CLIP model: two towers and one logit scale, for square pictures")
        cfg = open_clip.get_model_preprocess_cfg(model)
        self.mean: tuple[float, ...] = tuple(cfg["mean"])
        self.std: tuple[float, ...] = tuple(cfg["std"])
        self.side: int = height
        self.tokenizer = tokenizer
        self.encoder = ImageTower(model.visual, height)
        self.text = model.text
        self.logit_scale = model.logit_scale
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """int64 (N, L) on the CPU; what is longer than L tokens is cut."""
        return cast(Tensor, self.tokenizer(list(texts)))


def load(name: str, classes: int, *, weights: bool = True) -> ImageText:
    """The image-text model of that name in float32, with a head for so many classes.

    name: "mini" or "mini-large" (built in), "local-dir:/path" of an open_clip folder,
    "hf-hub:owner/name", or an open_clip architecture and the tag of its weights,
    "ViT-B-16-quickgelu:openai". OpenAI trained with the QuickGELU activation: without `-quickgelu`
    the architecture computes another
    function of the same weights, so such a pair is refused. weights False: none are read or
    fetched, the values are arbitrary, for a state dict to be loaded into.
    Raises UsageError for an unknown name or tag, DataError when there are no weights or no
    tokenizer of it.
    """
    import open_clip
    from open_clip.factory import get_model_config

    source, tag = _source(name)
    settings: dict[str, Any] = {"device": torch.get_default_device(), "force_custom_text": True}
    if not weights:  # what the tag says about pictures is wanted all the same
        weights_config = open_clip.get_pretrained_cfg(source, tag) if tag else {}
        colours = {k: weights_config[k] for k in ("mean", "std") if k in weights_config}
        settings |= {"load_weights": False, "force_preprocess_cfg": colours}
        tag = None
    try:
        # the draws of weights that are replaced; and no warning that there are none
        with torch.random.fork_rng(devices=[]), nullcontext() if weights else _no_warnings():
            model = open_clip.create_model(source, tag, require_pretrained=weights, **settings)
            tokenizer = open_clip.get_tokenizer(source)
            features = get_model_config(source)["embed_dim"]
            check_vocabulary(name, tokenizer, model)
            return ImageText(model.float(), tokenizer, features, classes)
    except model_folder.library_errors() as error:
        raise DataError(
            f"cannot load the image-text model {name}: {brief(error)}; where there is no network, "
            f"name a folder with its open_clip files: {FOLDER}/path"
        ) from error


@contextmanager
def _no_warnings() -> Iterator[None]:
    """open_clip logs on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _source(name: str) -> tuple[str, str | None]:
    """What open_clip calls the model, and the tag of its weights."""
    import open_clip

    folder = built_in_clip(name)
    if folder is not None:
        name = f"{FOLDER}{folder}"
    if name.startswith(FOLDER):
        return checked_folder(name), None
    if name.startswith(HUB):
        return name, None
    model, _, tag = name.partition(":")
    model = model.replace("/", "-")
    if model not in open_clip.list_models():
        raise UsageError(
            f"unknown image-text model {name!r}{_like(model, open_clip.list_models())}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag not in tags:
        hint = f"write {model}:TAG" if not tag else f"{model} has no weights {tag!r}"
        raise UsageError(f"image-text model {name!r}: {hint}{_like(tag, tags)}")
    quick = open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False)
    if quick != open_clip.get_model_config(model).get("quick_gelu", False):
        plain, how = model.removesuffix("-quickgelu"), "with" if quick else "without"
        other = f"{plain}-quickgelu" if quick else plain
        raise UsageError(
            f"image-text model {name!r}: these weights were trained {how} QuickGELU; "
            f"write {other}:{tag}"
        )
    return model, tag


def checked_folder(name: str) -> str:
    """`name` of a folder that has all it takes; open_clip makes up a tokenizer where none is.

    DataError for one that lacks something, or whose files are not sound.
    """
    folder = Path(name.removeprefix(FOLDER))
    for file in ("open_clip_config.json", "tokenizer.json"):
        if not (folder / file).is_file():
            raise DataError(f"cannot load the image-text model {name}: there is no {folder / file}")
    model_folder.check(folder)
    return name


def check_vocabulary(name: str, tokenizer: Any, model: Any) -> None:
    """DataError where a tokenizer has more tokens than the model's text tower knows."""
    inner = getattr(tokenizer, "tokenizer", None)
    known = len(inner) if inner is not None else tokenizer.vocab_size
    ids = tokenizer(["", "a"])
    if not ids.is_meta:  # the default device of tests and plans
        known = max(known, int(ids.max()) + 1)
    if known > model.vocab_size:
        raise DataError(
            f"the tokenizer of {name} has {known} tokens, its text tower {model.vocab_size}: "
            "they do not belong together"
        )


def _like(word: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, options, n=3, cutoff=0.4) or list(options[:6])
    return f"; for example {', '.join(near)}" if near else ""


@torch.no_grad()
def zero_shot(model: Any, captions: Sequence[Sequence[str]]) -> Tensor:
    """Class vectors (C, D), by exp(logit_scale) longer than 1, for image embeddings of length 1.

    captions: of each class, one or more. A class vector has the direction of the mean of its
    captions' unit embeddings (Radford et al. 2021, section 3.1.4). DataError for a class without.
    """
    bare = [label for label, some in enumerate(captions) if not some]
    if bare:
        raise DataError(f"class {bare[0]} has no caption (one of {len(bare)} such classes)")
    ids = model.tokenise([c for some in captions for c in some]).to(model.logit_scale.device)
    v = normalize(torch.cat([model.text(part) for part in ids.split(TEXTS)]).float(), dim=1)
    means = [part.mean(0) for part in v.split([len(some) for some in captions])]
    return cast(Tensor, model.logit_scale.exp() * normalize(torch.stack(means), dim=1))


def of_all_ranks(x: Tensor) -> Tensor:
    """The rows of every process of a data-parallel run, by rank: (B, D) -> (sum of all B, D).

    Numbers of rows may differ. Gradients flow back to the rows' own process, summed over those
    that used them; without other processes, x itself.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return cast(Tensor, _Gather.apply(x))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ranks, rank = dist.get_world_size(), dist.get_rank()
        length = torch.tensor([len(x)], device=x.device)
        lengths = [torch.empty_like(length) for _ in range(ranks)]
        dist.all_gather(lengths, length)
        sizes = [int(n) for n in lengths]
        most = max(sizes)
        parts = [x.new_empty(most, *x.shape[1:]) for _ in range(ranks)]
        dist.all_gather(parts, pad(x, (0, 0, 0, most - len(x))).contiguous())
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own]
