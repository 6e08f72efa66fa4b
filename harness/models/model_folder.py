"""Checks the folder of a model before libraries load it: they build what its files say, unasked.

Every file is regular; JSON is whole and bounded; a tokenizer and the header of weights can be read;
and the networks that the configurations describe, built without memory (PyTorch's device `meta`),
have tensors of the shapes that the weights have. Every error is a sentence with the file.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core import documents, regular_files
from harness.core.errors import LIBRARY_ERRORS, DataError, brief, quoted

Shapes = Mapping[str, tuple[int, ...]]
WHAT = "configuration"
LARGEST = 10_000_000  # whole number in a configuration: vocabularies have some 100,000
MOST_STEPS = 100_000  # of a scheduler
FEWEST_LAYERS = 64  # that are allowed whatever the weights have
CODE = "auto_map"  # names code in the folder, which nobody runs here
RESIZED = "positional_embedding"  # open_clip fits it to another size of picture
MOST_RESIZED = 16  # times as long


def check(folder: Path) -> None:
    """DataError for files of a model's folder, or of folders in it, that are not sound."""
    configs = {}
    for path in _files(folder):
        if path.suffix == ".json":
            configs[path] = _config(path)
        elif path.suffix == ".safetensors":
            shapes(path)
        if path.name == "tokenizer.json":
            _check_tokenizer(path)
    for path, config in configs.items():
        weights = sorted(path.parent.glob("*.safetensors"))
        if path.name in _NETWORKS and len(weights) == 1:
            _check_layers(path, config, len(shapes(weights[0])))
            _compare(path, _NETWORKS[path.name](path, config), weights[0])
        if path.name == "scheduler_config.json":
            _check_scheduler(path, config)


def variant(folder: Path) -> str | None:
    """Which variant of a pipeline's weights a folder holds; None: files without one are there.

    Of "unet/diffusion_pytorch_model.fp16.safetensors" it is "fp16". DataError where parts of the
    pipeline have different ones.
    """
    parts = {path.parent for path in folder.glob("*/*.safetensors")}
    lacking = [part for part in sorted(parts) if not any(_plain(f) for f in _weights(part))]
    common = [{_variant(file) for file in _weights(part)} for part in lacking]
    if not lacking:
        return None
    shared = set.intersection(*common)
    if not shared:
        names = ", ".join(sorted({str(name) for some in common for name in some}))
        raise DataError(f"{folder}: no variant of the weights in all of its parts: {names}")
    return sorted(map(str, shared))[0]


def _weights(part: Path) -> list[str]:
    return [path.name for path in sorted(part.glob("*.safetensors"))]


def _plain(name: str) -> bool:
    return _variant(name) is None


def _variant(name: str) -> str | None:
    """Of "model.fp16.safetensors" or "model.fp16-00001-of-00002.safetensors", "fp16"."""
    match = re.fullmatch(r"[^.]+\.([^.]+?)(-\d+-of-\d+)?\.safetensors", name)
    return match[1] if match else None


def library_errors() -> tuple[type[Exception], ...]:
    """What libraries raise about damaged models."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return SafetensorError, StrictDataclassError, *LIBRARY_ERRORS


def shapes(path: Path) -> Shapes:
    """Shapes of the tensors in a safetensors file, by name; DataError for a damaged header."""
    from safetensors import safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except library_errors() as error:
        raise DataError(f"{path}: damaged weights ({brief(error)})") from None


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            regular_files.refuse_other_kinds(path)
            yield path


def _config(path: Path) -> dict[str, Any]:
    config = documents.json_value(path, WHAT)
    if not isinstance(config, dict):
        raise DataError(f"{path}: damaged {WHAT}: {quoted(config)}, expected an object")
    if config.get(CODE):
        raise DataError(f"{path}: {CODE} asks for code of the model's own, which is not run")
    return config


def _check_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_buffer(path.read_bytes())
    except LIBRARY_ERRORS as error:
        raise DataError(f"{path}: damaged tokenizer ({brief(error)})") from None


def _check_layers(path: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Whole numbers that are not absurd, so that building the network takes no time."""
    for name, value in _numbers("", config):
        most = max(tensors, FEWEST_LAYERS) if "layer" in name else LARGEST
        if not -LARGEST <= value <= most:
            raise DataError(f"{path}: {name[-60:]} is {quoted(value)}, expected at most {most:,}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int]]:
    """Whole numbers, and the lengths of lists as if they were layers, with their dotted names."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _numbers(f"{name}.{inner}" if name else inner, item)
    elif isinstance(value, list):
        yield f"layers of {name}", len(value)
        for item in value:
            yield from _numbers(name, item)
    elif type(value) is int:
        yield name, value


def _check_scheduler(path: Path, config: Mapping[str, Any]) -> None:
    from diffusers import DDIMScheduler

    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 0 < steps <= MOST_STEPS:
        expected = f"a whole number from 1 to {MOST_STEPS:,}"
        raise DataError(f"{path}: num_train_timesteps is {quoted(steps)}, expected {expected}")
    try:
        scheduler = DDIMScheduler.from_config(dict(config), clip_sample=False)
        scheduler.set_timesteps(min(steps, 10))
    except library_errors() as error:
        raise DataError(f"{path}: damaged {WHAT} ({brief(error)})") from None


# ---------------------------------------------------------------- networks


def _compare(path: Path, network: Shapes, weights: Path) -> None:
    """DataError where weights have another shape than the network of a configuration."""
    known = shapes(weights)
    if network and not set(network) & set(known):
        raise DataError(f"{weights}: no tensor of the network that {path.name} describes")
    for name in sorted(set(network) & set(known)):
        expected, actual = network[name], known[name]
        if name.endswith(RESIZED) and _fits(actual, expected):
            continue
        if expected != actual:
            raise DataError(
                f"{path}: it asks for {list(expected)} as {name[:80]}, which has {list(actual)} in "
                f"{weights.name}"
            )


def _fits(actual: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether open_clip brings embeddings of positions to the length that is wanted."""
    same = len(actual) == len(wanted) and actual[-1:] == wanted[-1:]
    return same and math.prod(wanted) <= MOST_RESIZED * math.prod(actual)


def _built(path: Path, build: Callable[[], Any]) -> Shapes:
    """Shapes of what `build` builds, without memory for it."""
    import torch

    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return {name: tuple(t.shape) for name, t in build().state_dict().items()}
    except library_errors() as error:
        raise DataError(f"{path}: damaged {WHAT} ({brief(error)})") from None


def _part(path: Path, config: Mapping[str, Any]) -> Shapes:
    """A part of a pipeline, by its folder; nothing is known of other parts."""
    import diffusers
    import transformers

    def text() -> Any:
        encoder = path.parent.name == "text_encoder_2"
        kind = "CLIPTextModelWithProjection" if encoder else "CLIPTextModel"
        return getattr(transformers, kind)(transformers.CLIPTextConfig(**config))

    builders: dict[str, Callable[[], Any]] = {
        "unet": lambda: diffusers.UNet2DConditionModel.from_config(dict(config)),
        "vae": lambda: diffusers.AutoencoderKL.from_config(dict(config)),
        "text_encoder": text,
        "text_encoder_2": text,
    }
    name = path.parent.name
    return _built(path, builders[name]) if name in builders else {}


def _image_text(path: Path, config: Mapping[str, Any]) -> Shapes:
    """An open_clip model of its own towers; those of other libraries are built by these."""
    from open_clip.model import CustomTextCLIP

    model = config.get("model_cfg")
    model = model if isinstance(model, dict) else {}
    towers = [model.get(f"{name}_cfg") for name in ("vision", "text")]
    if not all(isinstance(tower, dict) for tower in towers):
        raise DataError(f"{path}: no model_cfg with vision_cfg and text_cfg")
    if any(key.startswith(("timm_model", "hf_model")) for tower in towers for key in tower or ()):
        return {}
    settings = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    wanted = {name: model[name] for name in settings if name in model}
    network = _built(path, lambda: CustomTextCLIP(**wanted))
    plain = {name.removeprefix("text."): shape for name, shape in network.items()}
    return plain | dict(network)  # files have the text tower's names with and without the prefix


_NETWORKS: dict[str, Callable[[Path, Mapping[str, Any]], Shapes]] = {
    "config.json": _part,
    "open_clip_config.json": _image_text,
}
