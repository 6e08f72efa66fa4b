"""What this machine is, as results name it, and how much of it a container may use."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


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


def cpu_quota(root: Path = CGROUPS, membership: str | None = None) -> int | None:
    """Cores' worth of time that the control groups of this process allow, rounded up; None: all.

    Version 2 has cpu.max, version 1 cpu.cfs_quota_us; the tightest of all enclosing groups holds.
    membership: the text of /proc/self/cgroup.
    """
    quotas = []
    for folder in _groups(root, "cpu", membership):
        words = _words(folder / "cpu.max")  # "max 100000" or "150000 100000", in microseconds
        if not words:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            quotas.append(max(1, math.ceil(int(words[0]) / int(words[1]))))
    return min(quotas, default=None)


def _groups(root: Path, controller: str, membership: str | None) -> Iterator[Path]:
    """Folders of this process's control groups, from its own outwards.

    In a container its own group may be named by the host's path and lie at the root.
    """
    for line in (_cgroups() if membership is None else membership).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        if controllers and not top.is_dir():
            top = root / controller
        group = top / path.strip("/")
        while group != top and group.is_relative_to(top):
            yield group
            group = group.parent
        yield top


def _cgroups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
