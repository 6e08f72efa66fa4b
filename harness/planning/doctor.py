"""What there is on this machine, and what each profile still needs; nothing is fetched."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.core import package_files, parallel, registry, regular_files
from harness.core.errors import UsageError
from harness.pipeline.config import PROFILES
from harness.pipeline.workspace import DATASETS, Workspace
from harness.planning.devices import (
    GIB,
    Gpu,
    gpu_text,
    gpus,
    has_driver,
    memory_gib,
    nearest_folder,
)
from harness.planning.local_files import (
    DAMAGED,
    Files,
    official_files,
    other_weights,
    root_of,
    weights_of,
)
from harness.planning.packages import OK, Package, packages, pip


@dataclass(frozen=True)
class Report:
    """What this machine has and lacks.

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
    data: tuple[Files, ...]
    written: dict[str, tuple[str, ...]]
    weights: tuple[Files, ...]
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
    names, required = registry.names(DATASETS), packages()
    devices = gpus(required)
    folders = {name: root_of(name, roots, environment) for name in names}
    modules = {name: _module(name) for name in names}
    official = {name: official_files(modules[name], folders[name], name) for name in names}
    weights: dict[str, Files] = {}
    ready: dict[str, dict[str, tuple[str, ...]]] = {profile: {} for profile in PROFILES}
    for nth, error in enumerate(package_files.damage(), 1):
        weights[f"file {nth} of the package"] = Files("a file of the package", DAMAGED, str(error))
    for profile in PROFILES:
        for name, module in modules.items():
            some = () if module is None else weights_of(module.RECIPES[profile], cache)
            others = () if module is None else other_weights(module, profile, cache)
            weights |= {model.name: model for model in (*some, *others)}
            files = [*some, official[name]] if profile == "paper" else some
            needs = _needs(profile, required, devices, files, home)
            ready[profile][name] = tuple(what for what, _ in needs)
    return Report(
        python=platform.python_version(),
        system=platform.platform(),
        packages=required,
        cores=parallel.cores(),
        memory_gib=memory_gib(),
        gpus=devices,
        home=str(regular_files.resolved(home)),
        free_gib=shutil.disk_usage(nearest_folder(home)).free / GIB,
        data=tuple(official.values()),
        written={p: _written(home, p, names) for p in PROFILES if p != "paper"},
        weights=tuple(weights.values()),
        ready=ready,
    )


def missing(workspace: Workspace, cache: Path | None = None) -> tuple[str, ...]:
    """What the stages of one data set and profile still need here, a phrase each."""
    required, name = packages(), workspace.module.NAME
    files = list(weights_of(workspace.recipe, cache))
    if workspace.profile == "paper":
        root = workspace.root or root_of(name, None, None)
        files.append(official_files(workspace.module, root, name))
    devices = gpus(required) if has_driver() else ()
    needs = _needs(workspace.profile, required, devices, files, workspace.home)
    return tuple(f"{what}: {how}" for what, how in needs)


def _needs(
    profile: str,
    required: Iterable[Package],
    devices: tuple[Gpu, ...] | None,
    files: Iterable[Files],
    home: Path,
) -> list[tuple[str, str]]:
    """What is missing, and how to get it."""
    needs = [(p.name, f"{p.status}; {pip(p)}") for p in required if not p.extra and p.status != OK]
    needs += [(f.name, f"{f.status}; {f.where}") for f in files if f.status != OK]
    if profile == "paper" and not devices:
        needs.append(("a GPU", gpu_text(devices)))
    if not os.access(nearest_folder(home), os.W_OK):
        needs.append(("a folder for results", f"{home} cannot be written; name another by --home"))
    return needs


def _written(home: Path, profile: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if (home / "data" / profile / name).is_dir())


def _module(name: str) -> ModuleType | None:
    """None where a package that it imports is missing: the packages are reported themselves."""
    try:
        return registry.find(DATASETS, name)
    except UsageError:  # `harness list` says what is wrong with the file
        return None
