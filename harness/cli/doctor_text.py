"""What a machine has and lacks, as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from harness.planning.devices import gpu_text
from harness.planning.doctor import Report
from harness.planning.model_loading import Loaded
from harness.planning.packages import OK, Package, pip

WIDTH = 100  # in characters


def as_json(report: Report, models: Iterable[Loaded] | None = None) -> str:
    """As JSON, with the models that were loaded, if any were to be."""
    content = asdict(report)
    content["packages"] = [{**asdict(p), "status": p.status} for p in report.packages]
    if models is not None:
        content["models"] = [asdict(model) for model in models]
    return json.dumps(content, indent=1, ensure_ascii=False)


def of_model(model: Loaded) -> str:
    """A model that was loaded, or why not."""
    about = f"{model.gib:.2f} GiB in {model.seconds:.1f} s" if model.status == OK else ""
    return f"  {model.name}: {model.status} {about}".rstrip()


def render(report: Report) -> str:
    """For the terminal."""
    r = report
    pieces = [
        f"Python {r.python}, {r.system}",
        f"{r.cores} cores, {r.memory_gib:.1f} GiB of memory; {gpu_text(r.gpus)}",
        f"{r.free_gib:.1f} GiB free at {r.home}",
        "\nPackages",
        *_package_lines(r.packages),
        "\nWeights",
        *_grid((f.name, f.status, f.where) for f in r.weights),
        "\nOfficial data",
        *_grid((f.name.removeprefix("official files of "), f.status, f.where) for f in r.data),
        "\nBuilt-in data, written when first used",
        *_grid((name, "", ", ".join(there) or "none yet") for name, there in r.written.items()),
        "\nProfiles",
    ]
    for profile, by_data in r.ready.items():
        for needs, names in _grouped(by_data).items():
            state = f"needs {', '.join(needs)}" if needs else "ready"
            pieces += _wrapped(f"{profile:<6} {', '.join(names)}: {state}")
    return "\n".join(pieces) + "\n"


def _package_lines(packages: Iterable[Package]) -> list[str]:
    """Those that are there in one paragraph, then a line for each of the others."""
    there = [f"{p.name} {p.installed}" for p in packages if p.status == OK]
    lines = _wrapped(", ".join(there)) if there else []
    for p in packages:
        if p.status != OK:
            use = f"optional, for {p.extra}" if p.extra else "needed"
            lines.append(f"  {p.name}: {p.status} ({use}); {pip(p)}")
    return lines


def _grouped(by_data: dict[str, tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """Data sets by what they need."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, needs in by_data.items():
        groups.setdefault(needs, []).append(name)
    return groups


def _grid(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Columns under each other; no library, as it may be what is missing."""
    cells = list(rows)
    first, second = (max((len(row[i]) for row in cells), default=0) for i in (0, 1))
    return [f"  {a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in cells]


def _wrapped(text: str) -> list[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="         ", **options)
