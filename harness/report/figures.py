"""Charts as the page's script takes them: a table, and how it is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core.guidance import REAL, level_text

# Mid tones, at least 3:1 on light and on dark ground, chosen to lie far apart in OKLab.
COLOURS = (
    "#2f6fb6", "#e17800", "#1f9a3d", "#c31e78", "#1ea596", "#965a00", "#8a4fff", "#e0322b",
    "#8a8d91", "#00785a", "#ff4b96", "#0096ff", "#c34bd2", "#a587c3",
)  # fmt: skip
SYMBOLS = ("circle", "square", "diamond", "triangle", "cross", "star", "wye")
# From text alone to 0.9 in equal steps of hue; the real image has a colour far from all of them.
SPECTRUM = ((122, 74, 186), (31, 115, 204), (0, 147, 169), (26, 160, 109), (144, 155, 59))
NEXT_TO_REAL = 90  # guidance in hundredths at the end of the spectrum
REAL_COLOUR = "#dd4115"
Value = str | float | None


@dataclass(frozen=True)
class Figure:
    """One chart and the table behind it.

    kind: the function of charts.js that draws it; columns, rows: the table, None where there is no
    value; drawn: what else the drawing takes; label: accessible name, of this chart alone.
    """

    id: str
    title: str
    kind: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    caption: str = ""
    drawn: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def plain(self) -> dict[str, Any]:
        """What the script needs."""
        content = {"kind": self.kind, "columns": self.columns, "rows": self.rows}
        return content | {"drawn": self.drawn}


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def symbol(i: int) -> str:
    """Of series i: colour and symbol together differ for the first 98 series."""
    return SYMBOLS[(i + i // len(COLOURS)) % len(SYMBOLS)]


def dash(i: int) -> str:
    """Of line i, as SVG takes it: lines of one colour differ in it."""
    return ("none", "6,3", "2,3")[i // len(COLOURS) % 3]


def level_colour(guidance: int) -> str:
    """Colour of a guidance level in hundredths, 0 to 100."""
    if guidance == REAL:
        return REAL_COLOUR
    at = min(guidance / NEXT_TO_REAL, 1) * (len(SPECTRUM) - 1)
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


def distinct(names: Sequence[str], details: Sequence[str] | None = None) -> list[str]:
    """The names, no two of them equal: shared ones get their detail, or else a number."""
    shared = {name for name, n in Counter(names).items() if n > 1}
    if shared and details is not None:
        pairs = zip(names, details, strict=True)
        return distinct([f"{name}: {more}" if name in shared else name for name, more in pairs])
    results: list[str] = []
    for i, name in enumerate(names):
        nth = names[: i + 1].count(name)
        results.append(f"{name} ({nth})" if name in shared else name)
    return results


def beside(profile: str) -> str:
    """What a reader of ours and the published numbers on one axis should know."""
    if profile == "paper":
        return ""
    return (
        f"Ours are of profile {profile}, on other data and with a smaller network than the "
        "published numbers: compare the order of methods, not the numbers."
    )


def capitalised(title: str) -> str:
    """With a capital letter."""
    return title[:1].upper() + title[1:]
