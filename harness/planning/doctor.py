"""What there is on this machine, and what each profile still needs; nothing is fetched or written.

Official files are looked for in the folders given, or below $HARNESS_DATA in a folder named like
the data set: it is there when the `files` that FACTS of its module names are (see
harness.planning.dataset_sizes).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core import parallel, registry
from harness.core.errors import DataError, UsageError
from harness.core.specs import Recipe
from harness.mini import weights
from harness.pipeline.config import PROFILES
from harness.pipeline.workspace import DATASETS, Workspace

DATA = "HARNESS_DATA"  # environment variable: a folder with a folder for each data set
GIB = 2**30
OK, MISSING = "ok", "missing"
ROOT = Path(__file__).parents[2]
LOCAL, HUB = "local-dir:", "hf-hub:"  # what open_clip calls folders and hub names
# What diffusers loads of a pipeline on the hub, as the generator asks for it.
PIPELINE = (
    "model_index.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder_2/model.safetensors",
)
# Where on the hub open_clip takes OpenAI's weights from; importing it to ask takes seconds.
OPENAI = {
    "ViT-B-32-quickgelu": "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16-quickgelu": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14-quickgelu": "timm/vit_large_patch14_clip_224.openai",
}
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # either will do


@dataclass(frozen=True)
class Package:
    name: str
    wanted: str  # as pip writes it: "torch>=2.11"
    found: str | None  # version
    extra: str | None  # the group of optional packages it belongs to; None: always needed

    @property
    def status(self) -> str:
        if self.found is None:
            return MISSING
        least = self.wanted.partition(">=")[2]
        return f"older than {least}" if _numbers(self.found) < _numbers(least) else OK


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_gib: float
    bf16: bool  # in hardware


@dataclass(frozen=True)
class Found:
    """Files that were looked for."""

    name: str
    status: str  # OK, MISSING, or what is wrong
    where: str  # the folder, a checksum, or how to get them


@dataclass(frozen=True)
class Report:
    """See `render`.

    written: data sets of the built-in world that are there, by profile. ready: what each data set
    needs, by profile; () is nothing.
    """

    python: str
    system: str
    packages: tuple[Package, ...]
    cores: int
    memory_gib: float
    gpus: tuple[Gpu, ...] | None  # None: PyTorch does not start
    home: str
    free_gib: float
    data: tuple[Found, ...]
    written: dict[str, tuple[str, ...]]
    weights: tuple[Found, ...]
    ready: dict[str, dict[str, tuple[str, ...]]]


def doctor(
    home: Path = Path(),
    roots: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    cache: Path | None = None,
) -> Report:
    """Look at this machine; PyTorch is imported where it is installed, to ask for GPUs.

    roots: folders of official files by data set, before those below $HARNESS_DATA of
    `environment` (os.environ). cache: the hub's (None: where the hub keeps it).
    """
    names, found = registry.names(DATASETS), packages()
    devices = gpus(found)
    folders = {name: _root(name, roots, environment) for name in names}
    modules = {name: _module(name) for name in names}
    official = {name: official_files(modules[name], folders[name], name) for name in names}
    weights: dict[str, Found] = {}
    ready: dict[str, dict[str, tuple[str, ...]]] = {profile: {} for profile in PROFILES}
    for profile in PROFILES:
        for name, module in modules.items():
            some = () if module is None else weights_of(module.RECIPES[profile], cache)
            others = () if module is None else _other_backbones(module, profile, cache)
            weights |= {model.name: model for model in (*some, *others)}
            looked = [*some, official[name]] if profile == "paper" else some
            needs = _needs(profile, found, devices, looked, home)
            ready[profile][name] = tuple(what for what, _ in needs)
    return Report(
        python=platform.python_version(),
        system=platform.platform(),
        packages=found,
        cores=parallel.cores(),
        memory_gib=memory_gib(),
        gpus=devices,
        home=str(home.resolve()),
        free_gib=shutil.disk_usage(_existing(home)).free / GIB,
        data=tuple(official.values()),
        written={p: _written(home, p, names) for p in PROFILES if p != "paper"},
        weights=tuple(weights.values()),
        ready=ready,
    )


def missing(workspace: Workspace, cache: Path | None = None) -> tuple[str, ...]:
    """What the stages of one data set and profile still need here, a phrase each."""
    found, name = packages(), workspace.module.NAME
    looked = list(weights_of(workspace.recipe, cache))
    if workspace.profile == "paper":
        root = workspace.root or _root(name, None, None)
        looked.append(official_files(workspace.module, root, name))
    devices = gpus(found) if has_driver() else ()
    needs = _needs(workspace.profile, found, devices, looked, workspace.home)
    return tuple(f"{what}: {how}" for what, how in needs)


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON can say it, with the status of every package."""
    told = asdict(report)
    for entry, package in zip(told["packages"], report.packages, strict=True):
        entry["status"] = package.status
    return told


def _needs(
    profile: str,
    found: Iterable[Package],
    devices: tuple[Gpu, ...] | None,
    looked: Iterable[Found],
    home: Path,
) -> list[tuple[str, str]]:
    """What is missing, and how to get it."""
    needs = [(p.name, f"{p.status}; {pip(p)}") for p in found if not p.extra and p.status != OK]
    needs += [(f.name, f"{f.status}; {f.where}") for f in looked if f.status != OK]
    if profile == "paper" and not devices:
        needs.append(("a GPU", gpu_text(devices)))
    if not os.access(_existing(home), os.W_OK):
        needs.append(("a folder for results", f"{home} cannot be written; name another by --home"))
    return needs


def pip(package: Package) -> str:
    return f"pip install '{package.wanted}'"


# ---------------------------------------------------------------- the machine


def packages() -> tuple[Package, ...]:
    """What this package requires, in the order of its list, and which versions are installed."""
    found = []
    for text, extra in _requirements():
        name = re.split(r"[^\w.-]", text)[0]
        found.append(Package(name, text, version(name), extra))
    return tuple(found)


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Each with its extra: of the checkout that this file lies in, or of the package installed."""
    path = ROOT / "pyproject.toml"
    if path.is_file():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        yield from ((text, None) for text in project["dependencies"])
        for extra, texts in project.get("optional-dependencies", {}).items():
            yield from ((text, extra) for text in texts)
    else:
        for told in metadata.requires("harness") or ():
            text, _, condition = told.partition(";")
            yield text.strip(), condition.partition("==")[2].strip(" \"'") or None


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """A version's leading numbers: "2.14.1+cpu" is (2, 14, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])) or (0,)


# What a driver of NVIDIA or AMD, or that of WSL, puts there.
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/proc/driver/nvidia")


def has_driver() -> bool:
    """Whether there is any driver of a GPU, without importing PyTorch."""
    return any(Path(path).exists() for path in DEVICES)


def gpus(found: Iterable[Package]) -> tuple[Gpu, ...] | None:
    """Those that PyTorch sees; None where it is missing or does not start."""
    if all(p.name != "torch" or p.found is None for p in found):
        return None
    try:
        import torch
    except (ImportError, OSError):  # a library of its own is missing
        return None
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple(Gpu(d.name, d.total_memory / GIB, d.major >= 8) for d in devices)


def memory_gib() -> float:
    """Of the machine, or what its container may use of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else ""
    return (min(total, int(told)) if told.isdecimal() else total) / GIB


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that there is."""
    whole = folder.resolve()
    return next(path for path in (whole, *whole.parents) if path.is_dir())


# ---------------------------------------------------------------- data and weights


def _written(home: Path, profile: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if (home / "data" / profile / name).is_dir())


def _module(name: str) -> ModuleType | None:
    """None where a package that it imports is missing: the packages are reported themselves."""
    try:
        return registry.find(DATASETS, name)
    except UsageError:  # `harness list` says what is wrong with the file
        return None


def _root(
    name: str, roots: Mapping[str, Path] | None, environment: Mapping[str, str] | None
) -> Path | None:
    """Where the official files of a data set should be; None when nobody has said it."""
    if roots is not None and name in roots:
        return Path(roots[name])
    below = (os.environ if environment is None else environment).get(DATA, "")
    return Path(below) / name if below else None


def official_files(module: ModuleType | None, root: Path | None, name: str) -> Found:
    """Whether the official files are there, by their names alone; `harness check` reads them."""
    label = f"official files of {name}"
    sources = getattr(module, "SOURCES", ())
    get = f"; they are at {sources[0].url}" if sources else ""
    if root is None:
        return Found(label, MISSING, f"name their folder by --root or ${DATA}{get}")
    facts = getattr(module, "FACTS", {})
    files = facts.get("files", ())
    gone = [file for file in files if not (root / file).exists()]
    within = root / facts.get("folder", "")
    if not root.is_dir():
        return Found(label, MISSING, f"no folder {root}{get}")
    if gone and any(not (within / file).exists() for file in files):
        return Found(label, f"{len(gone)} of {len(files)} missing", f"no {root / gone[0]}{get}")
    return Found(label, OK, str(within if gone else root))


def weights_of(recipe: Recipe, cache: Path | None = None) -> tuple[Found, ...]:
    """The models that a recipe reads: its generator, its scorer, and what its runs start from."""
    scorer = recipe.clip if weights.built_in_clip(recipe.clip) else f"{recipe.clip}:openai"
    clips = dict.fromkeys([scorer, *([recipe.pretrained] if recipe.pretrained else [])])
    return (_generator(recipe, cache), *(_clip(name, cache) for name in clips))


def _other_backbones(module: Any, profile: str, cache: Path | None) -> list[Found]:
    """What only the tables of another backbone read: no need of the profile as it comes."""
    recipe, others = module.RECIPES[profile], module.BACKBONES.get(profile, {})
    return [found for of in others.values() for found in weights_of(replace(recipe, **of), cache)]


def _generator(recipe: Recipe, cache: Path | None) -> Found:
    name = recipe.generator
    label = f"generator {name}"
    if name == weights.BUILT_IN:
        made_px = weights.built_in_px()
        wanted = max(recipe.size_px, recipe.height_px)
        if made_px is not None and made_px < wanted:
            of_size = f"{label} for {wanted} px"
            return Found(of_size, MISSING, f"the one there is makes pictures of {made_px} px")
        return _folder(label, weights.built_in_generator())
    if Path(name).is_dir():
        return _folder(label, Path(name))
    return _hub(label, name, [(file,) for file in PIPELINE], cache)


def _clip(name: str, cache: Path | None) -> Found:
    label = f"CLIP {name}"
    built_in = weights.built_in_clip(name)
    if built_in is not None or name.startswith(LOCAL):
        return _folder(label, built_in or Path(name.removeprefix(LOCAL)))
    model, _, tag = name.partition(":")
    repository = OPENAI.get(model) if tag == "openai" else None
    if name.startswith(HUB):
        repository = name.removeprefix(HUB)
    if repository is None:
        return Found(label, "not looked for", "open_clip knows where to get it when first used")
    return _hub(label, repository, [OPEN_CLIP], cache)


def _folder(label: str, folder: Path) -> Found:
    gone = Found(label, MISSING, f"no model files in {folder}")
    try:
        digest = weights.weights_digest(str(folder))  # what is no folder, it takes for a name
    except DataError:
        return gone
    return Found(label, OK, f"SHA-256 {digest[:12]}") if folder.is_dir() else gone


def _hub(label: str, name: str, wanted: list[tuple[str, ...]], cache: Path | None) -> Found:
    """wanted: files, each as names of which one will do. The network is not asked."""
    get = f"fetched from the hub{'' if label.endswith(name) else f' ({name})'} when first used"
    if version("huggingface_hub") is None:
        return Found(label, MISSING, get)
    from huggingface_hub import try_to_load_from_cache

    paths = [
        next((p for n in names if isinstance(p := try_to_load_from_cache(name, n, cache), str)), "")
        for names in wanted
    ]
    there = [path for path in paths if path]
    if len(there) == len(wanted):
        return Found(label, OK, f"hub cache, revision {_revision(there[0])}")
    status = MISSING if not there else f"{len(wanted) - len(there)} of {len(wanted)} files missing"
    return Found(label, status, get)


def _revision(path: str) -> str:
    """Of a file in the hub's cache: .../snapshots/<revision>/..."""
    parts = Path(path).parts
    return parts[parts.index("snapshots") + 1][:12]


def gpu_text(devices: tuple[Gpu, ...] | None) -> str:
    if devices is None:
        return "GPUs unknown: PyTorch does not start"
    told = [f"{d.name}, {d.memory_gib:.0f} GiB, {'' if d.bf16 else 'no '}bfloat16" for d in devices]
    return "; ".join(told) or "no GPU that PyTorch sees"
