"""GPUs and memory of this machine, and folders that there are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.core import regular_files
from harness.planning.packages import Package

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_gib: float
    bf16: bool  # in hardware


# What a driver of NVIDIA or AMD, or that of WSL, puts there.
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/proc/driver/nvidia")


def has_driver() -> bool:
    """Whether there is any driver of a GPU, without importing PyTorch."""
    return any(Path(path).exists() for path in DEVICES)


def gpus(packages: Iterable[Package]) -> tuple[Gpu, ...] | None:
    """Those that PyTorch sees; None where it is missing or does not start."""
    if all(p.name != "torch" or p.installed is None for p in packages):
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
    text = limit.read_text().strip() if limit.is_file() else ""
    return (min(total, int(text)) if text.isdecimal() else total) / GIB


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that there is."""
    whole = regular_files.resolved(folder)
    return next(path for path in (whole, *whole.parents) if path.is_dir())


def gpu_text(devices: tuple[Gpu, ...] | None) -> str:
    if devices is None:
        return "GPUs unknown: PyTorch does not start"
    texts = [
        f"{d.name}, {d.memory_gib:.0f} GiB, {'' if d.bf16 else 'no '}bfloat16" for d in devices
    ]
    return "; ".join(texts) or "no GPU that PyTorch sees"
