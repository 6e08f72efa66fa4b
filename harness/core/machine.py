"""What this machine is, as results name it."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """The processor's name; of the architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def system_name() -> str:
    """Operating system, architecture and Python."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
