"""Charts as Plotly takes them: plain traces and layout, drawn by the page's own script."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.core.guidance import REAL, fraction, level_text

# Mid tones: to be told apart on light and on dark ground, and mostly without colour vision.
COLOURS = (
    "#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#d6a72c",
    "#8a8d91", "#d37295",
)  # fmt: skip
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
SPECTRUM = ((124, 77, 201), (63, 124, 201), (38, 150, 130))  # text alone, halfway, real
WRAP = 26  # characters of a label on a phone


@dataclass(frozen=True)
class Figure:
    """One chart. `height` in CSS pixels; its width is the page's."""

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 340

    def plain(self) -> dict[str, Any]:
        """What the script needs."""
        return {"data": self.data, "layout": self.layout, "height": self.height}


def text(value: object) -> str:
    """Any text as Plotly prints it: it reads some HTML, and a class may be called `<b>`."""
    return html.escape(str(value), quote=False)


def wrapped(label: str, width: int = WRAP) -> str:
    """A label in lines of about that many characters."""
    return "<br>".join(text(part) for part in textwrap.wrap(label, width) or [label])


def rows_px(labels: Iterable[str], margins: int) -> int:
    """Height of a chart with these labels beside its rows."""
    rows = list(labels)
    lines = max((label.count("<br>") + 1 for label in rows), default=1)
    return margins + len(rows) * (14 * lines + 12)


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def symbol(i: int) -> str:
    return SYMBOLS[i % len(SYMBOLS)]


def level_colour(guidance: int) -> str:
    """Colour of a guidance level in hundredths, 0 to 100."""
    at = fraction(guidance) * (len(SPECTRUM) - 1)
    i = min(int(at), len(SPECTRUM) - 2)
    low, high = SPECTRUM[i], SPECTRUM[i + 1]
    mixed = (round(a + (at - i) * (b - a)) for a, b in zip(low, high, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def level_name(guidance: int) -> str:
    """A guidance level in hundredths, in words where it has some."""
    return {0: "0 (text only)", REAL: "1 (real)"}.get(guidance, level_text(guidance))


def percent(values: Iterable[float | None]) -> list[float | None]:
    """Fractions as percentages with two decimals."""
    return [None if v is None else round(100 * v, 2) for v in values]


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": text(title)}, "automargin": True, **more}
