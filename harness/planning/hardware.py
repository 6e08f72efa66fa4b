"""The machines that a plan is for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.core import parallel
from harness.core.errors import UsageError
from harness.pipeline.workspace import Workspace
from harness.planning.devices import memory_gib

CARD_GIB = 80 * 1e9 / 2**30  # of an H100, as NVIDIA counts: 80 GB
PAPER_CORES = 16  # beside a card, where nobody says
PAPER_MEMORY_GIB = 128.0
READ_MB_S = 500.0  # of a disk: SATA's 600 MB/s less what the protocol takes


@dataclass(frozen=True)
class Hardware:
    """gpus 0: all work is the cores'. Memory is of one card, and of all machines together."""

    gpus: int
    cores: int
    gpu_gib: float = CARD_GIB
    memory_gib: float = PAPER_MEMORY_GIB
    read_mb_s: float = READ_MB_S
    named: bool = False  # by the caller

    def __str__(self) -> str:
        cards = f"{self.gpus} GPUs of {self.gpu_gib:.1f} GiB" if self.gpus else "no GPU"
        cards = cards.replace("1 GPUs", "1 GPU") if self.gpus == 1 else cards
        host = f"{self.cores} cores, {self.memory_gib:.0f} GiB of memory"
        return f"{cards}, {host}, a disk that reads {self.read_mb_s:g} MB/s"


def hardware(
    workspace: Workspace,
    gpus: int | None = None,
    cores: int | None = None,
    gpu_gib: float | None = None,
    memory: float | None = None,
    read_mb_s: float | None = None,
) -> Hardware:
    """What the caller names; else one card with its cores for profile paper, and this machine.

    gpu_gib: memory of a card. UsageError for numbers out of range.
    """
    paper = workspace.profile == "paper"
    named = any(value is not None for value in (gpus, cores, gpu_gib, memory, read_mb_s))
    cards = (1 if paper else 0) if gpus is None else _whole("gpus", gpus, 0)
    usual_cores = PAPER_CORES * max(1, cards) if paper else parallel.cores()
    return Hardware(
        gpus=cards,
        cores=usual_cores if cores is None else _whole("cores", cores, 1),
        gpu_gib=CARD_GIB if gpu_gib is None else _above_0("gpu-memory", gpu_gib),
        memory_gib=_above_0("memory", memory)
        if memory is not None
        else (PAPER_MEMORY_GIB if paper else memory_gib()),
        read_mb_s=READ_MB_S if read_mb_s is None else _above_0("read-mb-s", read_mb_s),
        named=named,
    )


def _whole(name: str, value: int, least: int) -> int:
    if not least <= value <= 10**6:
        raise UsageError(f"--{name} {value} is not allowed; a whole number from {least} to 1000000")
    return value


def _above_0(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"--{name} {value:g} is not allowed; a number above 0")
    return float(value)
