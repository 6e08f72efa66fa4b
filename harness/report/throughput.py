"""How fast things ran: the profiles of generation, reading and training, each with its machine.

A rate is a number whose name ends in `images_per_s`. What a rate is the rate of has a chart of its
own where it is known: guidance, batch, way of reading; every other rate of a file is listed by the
names on the way to it. In lists, an entry's `name` stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import documents
from harness.core.guidance import fraction
from harness.report.figures import Figure, Value, capitalised, colour, distinct, symbol

RATE = "images_per_s"
UNIT = "images per second"
FOLDER = Path("results/profile")
APART = 30  # largest rate over smallest from which a logarithmic axis is used
ENGINE, STOCK, LOOP = "the engine", "stock pipeline", "stock pipeline, one image at a time"


@dataclass(frozen=True)
class Throughput:
    """rows: of each profile what it measured, the rate, of what, and the machine."""

    says: str
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[Figure, ...]


def throughput(folder: Path) -> Throughput | None:
    """Every file with rates, None where there is none; DataError for what is no JSON."""
    rows, figures = [], []
    for i, file in enumerate(sorted(folder.glob("*.json"))):
        profile = documents.json_value(file, "profile")
        if next(_rates(profile, ()), None) is None:
            continue
        rows.append(_row(file.stem, profile))
        figures += _figures(f"throughput-{i}", file.stem, profile)
    if not rows:
        return None
    says = "Images per second, measured on the machine that is named; other machines differ."
    titles = distinct([figure.title for figure in figures])
    labels = (f"Throughput: {title}" for title in titles)
    labelled = (replace(f, label=label) for f, label in zip(figures, labels, strict=True))
    return Throughput(says, tuple(rows), tuple(labelled))


def _row(title: str, profile: Any) -> tuple[str, ...]:
    """A line of the table of profiles."""
    about = profile if isinstance(profile, dict) else {}
    what = str(about.get("what", title))
    of = ", ".join(str(about[k]) for k in ("dataset", "profile", "backbone") if k in about)
    batch = f"batch {about['batch']}" if "batch" in about else ""
    rates = [rate for _, rate in _rates(profile, ())]
    own = about.get(RATE)
    low, high = (own, own) if isinstance(own, int | float) else (min(rates), max(rates))
    rate = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
    details = ", ".join(part for part in (of, batch) if part) or "–"
    return capitalised(what), rate, details, machine(profile)


def _number(rate: float) -> str:
    """With four digits, or whole where it is larger."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"


def machine(profile: Any) -> str:
    """What the file says of its machine, as a phrase."""
    about = profile.get("machine") if isinstance(profile, dict) else None
    if not isinstance(about, dict):
        return str(about) if about else "a machine that the file does not name"
    cores = about.get("cores")
    cpu = about.get("cpu")
    parts = []
    if "gpu" in about:
        parts.append(f"{about['gpu']} as {about['device']}" if "device" in about else about["gpu"])
    if cores is not None:
        parts.append(f"{cores} core{'s' * (cores != 1)}" + (f" of {cpu}" if cpu else ""))
    elif cpu:
        parts.append(str(cpu))
    if about.get("threads") is not None:
        parts.append(f"{about['threads']} thread{'s' * (about['threads'] != 1)}")
    if "system" in about:
        parts.append(str(about["system"]))
    known = {"gpu", "device", "cores", "cpu", "threads", "system"}
    parts += [f"{name} {value}" for name, value in about.items() if name not in known]
    return ", ".join(parts)


def _figures(name: str, title: str, profile: Any) -> list[Figure]:
    """The charts of one file."""
    on = f"On {machine(profile)}."
    kind = profile.get("what") if isinstance(profile, dict) else None
    if kind == "generation" and isinstance(profile.get(RATE), int | float):
        return list(_generation(name, title, profile, on))
    rates = list(_rates(profile, ()))
    if kind == "training" and len(rates) == 1:  # the table says it
        return []
    return [_bars(name, f"Speed of {kind or title}: {title}", rates, on)]


def _generation(name: str, title: str, profile: dict[str, Any], on: str) -> Iterator[Figure]:
    levels = [level for level in profile.get("levels", []) if "guidance" in level]
    if len(levels) > 1:
        points = [(fraction(level["guidance"]), level[RATE]) for level in levels]
        steps = "; ".join(
            f"{fraction(level['guidance']):g}: {level['steps']}"
            for level in levels
            if "steps" in level
        )
        caption = f"{on} Denoising steps by guidance: {steps}." if steps else on
        series = [(ENGINE, points)]
        yield _lines(
            f"{name}-levels", f"Generation by guidance: {title}", "guidance", series, caption
        )
    stock = profile.get("stock") or {}
    by_batch = stock.get(f"{RATE}_by_batch") or {}
    if len(by_batch) > 1:
        points = sorted((int(batch), rate) for batch, rate in by_batch.items())
        series = [(STOCK, points)]
        yield _lines(
            f"{name}-batches",
            f"The stock pipeline by batch: {title}",
            "images in a batch",
            series,
            on,
        )
    rates, ratios = [(ENGINE, profile[RATE])], []
    rates += [
        (f"{ENGINE}, {way.replace('=', ' ')}", about[RATE])
        for way, about in (profile.get("approximate") or {}).items()
    ]
    for what, about in ((STOCK, stock), (LOOP, profile.get("loop") or {})):
        if RATE in about:
            rates.append((what, about[RATE]))
        if "ratio" in about and "ratio_is" in about:
            ratios.append(f" Engine to {what}: {about['ratio']:g}, {about['ratio_is']}.")
    if len(rates) > 1:
        caption = f"{on}{''.join(ratios)}"
        yield _bars(f"{name}-ways", f"Generation, ways compared: {title}", rates, caption)


def _lines(
    name: str, title: str, x: str, series: Sequence[tuple[str, Any]], caption: str
) -> Figure:
    rows: list[tuple[Value, ...]] = [(who, a, b, None) for who, some in series for a, b in some]
    styles = [
        {"name": who, "colour": colour(i), "symbol": symbol(i), "hollow": False}
        for i, (who, _) in enumerate(series)
    ]
    drawn = {"x": x, "y": UNIT, "series": styles, "zero": True}
    drawn["ticks"] = sorted({a for _, some in series for a, _ in some})
    return Figure(name, title, "lines", ("What", x, UNIT, "± sd"), rows, caption, drawn)


def _bars(name: str, title: str, rates: Sequence[tuple[str, float]], caption: str) -> Figure:
    labels = distinct([what for what, _ in rates])
    rows: list[tuple[Value, ...]] = list(zip(labels, (rate for _, rate in rates), strict=True))
    positive = [rate for _, rate in rates if rate > 0]
    wide = len(positive) == len(rates) and max(positive) > APART * min(positive)
    if wide:
        caption += " The axis is logarithmic."
    drawn = {"x": UNIT, "log": wide, "colour": colour(0)}
    return Figure(name, title, "bars", ("What", UNIT), rows, caption, drawn)


def _rates(value: Any, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Every rate of a file, with what it is of."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith(RATE) and type(inner) in (int, float):
                what = (*names, name.removesuffix(RATE).rstrip("_"))
                yield ", ".join(part for part in what if part) or "all", float(inner)
            elif name.startswith(RATE) and isinstance(inner, dict):
                yield from (
                    (", ".join((*names, what)), float(rate))
                    for what, rate in inner.items()
                    if type(rate) in (int, float)
                )
            else:
                yield from _rates(inner, (*names, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _rates(inner, (*names, _entry(inner, i)))


def _entry(value: Any, i: int) -> str:
    """What an entry of a list is called: by its name, its guidance, or its place, from 1."""
    about = value if isinstance(value, dict) else {}
    if isinstance(about.get("guidance"), int):
        return f"guidance {fraction(about['guidance']):g}"
    return str(about.get("name", i + 1))
