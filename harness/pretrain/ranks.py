"""Several processes that learn one model, gradients averaged."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from harness.pretrain import unet, vae

TRAIN = {"vae": vae.train, "unet": unet.train}


def spread(model: str, ranks: int, out: Path, start: Path | None = None) -> None:
    """Train `model` with one process per rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_rank, (ranks, port, model, out, start), nprocs=ranks)


def _rank(rank: int, ranks: int, port: int, model: str, out: Path, start: Path | None) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    TRAIN[model](out, start)
    dist.destroy_process_group()
