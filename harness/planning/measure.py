"""Seconds, FLOPs, memory and energy of work on this machine, and what the machine is."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from harness.core.machine import cpu_name, system_name

VERSION = 1  # of the profiles
PACKAGES = ("diffusers", "numpy", "open_clip_torch", "simplejpeg", "torch", "transformers")
RATE_OF_SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product is timed


class Clock:
    """Seconds by the name of what was done.

    On a CPU those of this thread alone, so that other programs on the machine do not count; on
    another device wall-clock seconds, after everything given to it has ended.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        if self.device.type == "cpu":
            return time.thread_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = self.now()
        with torch.profiler.record_function(name):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - begun

    @property
    def kind(self) -> str:
        return "CPU seconds of one thread" if self.device.type == "cpu" else "wall-clock seconds"


def machine(device: str) -> dict[str, Any]:
    """What a result was measured on: equal for two runs on one machine."""
    about: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "system": system_name(),
        "device": device,
    }
    if torch.device(device).type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
    return about


def about(what: str, dataset: str, profile: str, device: str) -> dict[str, Any]:
    """What every profile begins with. load: processes that ran or waited for a core meanwhile."""
    return {
        "version": VERSION,
        "what": what,
        "dataset": dataset,
        "profile": profile,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(device),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of the packages that do the work, those that are installed."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def matrix_tflops(device: str, dtype: torch.dtype, rounds: int = 10) -> float:
    """TFLOP/s of a product of two square random matrices, the best of some."""
    clock, kind = Clock(device), torch.device(device).type
    side = RATE_OF_SIDE.get(kind, RATE_OF_SIDE["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(rounds):
        begun = clock.now()
        a @ b
        best = min(best, clock.now() - begun)
    return 2 * side**3 / best / 1e12


def tflop(work: Callable[[], Any]) -> float:
    """FLOPs of some work, two per multiply-add, in TFLOP."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e12


def peak_gib(device: str) -> float:
    """Most memory that PyTorch held on a GPU, or that this process ever had."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def joules(device: str) -> float | None:
    """What a GPU has used since its driver was loaded; None where nobody tells."""
    if torch.device(device).type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        index = torch.device(device).index or torch.cuda.current_device()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
