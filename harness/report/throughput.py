"""How fast things ran: every rate in results/profile/*.json, with the machine that it is from.

A rate is a number whose name ends in `images_per_s`, wherever in the file it stands; what it is the
rate of are the names on the way to it. In lists, an entry's `name` stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.report.figures import Figure, axis, colour, rows_px, text, wrapped

RATE = "images_per_s"
FOLDER = Path("results/profile")


@dataclass(frozen=True)
class Throughput:
    says: str
    figures: tuple[Figure, ...]


def throughput(folder: Path) -> Throughput | None:
    """A chart per file with rates, None where there is none; DataError for what is no JSON."""
    figures = []
    for i, file in enumerate(sorted(folder.glob("*.json"))):
        profile = documents.json_value(file, "profile")
        rates = list(_rates(profile, ()))
        if rates:
            machine = _machine(profile)
            figures.append(_figure(f"throughput-{i}", file.stem, machine, rates))
    if not figures:
        return None
    return Throughput("Measured, each on the machine that is named.", tuple(figures))


def _rates(value: Any, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith(RATE) and type(inner) in (int, float):
                what = (*names, name.removesuffix(RATE).rstrip("_"))
                yield ", ".join(part for part in what if part) or "all", float(inner)
            else:
                yield from _rates(inner, (*names, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            own = inner.get("name", i) if isinstance(inner, dict) else i
            yield from _rates(inner, (*names, str(own)))


def _machine(profile: Any) -> str:
    """What the file says of its machine, in a line."""
    machine = profile.get("machine") if isinstance(profile, dict) else None
    if isinstance(machine, dict):
        return ", ".join(f"{name} {value}" for name, value in machine.items())
    return str(machine) if machine else "a machine that the file does not name"


def _figure(name: str, title: str, machine: str, rates: list[tuple[str, float]]) -> Figure:
    labels = [wrapped(what) for what, _ in rates]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [rate for _, rate in rates],
        "y": labels,
        "text": [f"{rate:,.3g}" for _, rate in rates],
        "textposition": "auto",
        "marker": {"color": colour(0)},
        "hoverinfo": "x+y",
        "name": text(title),
    }
    rows = {"type": "category", "categoryarray": labels, "range": [len(labels) - 0.5, -0.5]}
    layout: dict[str, Any] = {"xaxis": axis("images per second"), "showlegend": False}
    layout["yaxis"] = rows | {"automargin": True}
    return Figure(name, title, f"On {machine}.", [bars], layout, rows_px(labels, 80))
