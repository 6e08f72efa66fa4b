"""Two fingerprints of a run (harness.training.behaviour) compared: did the code do the same?

What chance in the arithmetic cannot change has to be equal; the rest may differ by less than a
tolerance, which is many times what reruns under other arithmetic were seen to differ by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.guidance import level_text

SCORE = 0.02  # of a level's mean CLIPScore
BELOW = 0.05  # of a share below the threshold
LOSS = 0.02  # of the first loss from random or pretrained weights, relative
LOSS_ONWARD = 0.35  # of one from weights that this code trained before, which chance has moved
DRAWN = 0.10  # of the images drawn at a level, by class: the total variation distance
DRAWN_LEVEL = 0.05  # of how many there are, relative
GREY = 2.0  # of a class's mean brightness, in steps of 0 to 255
CHANGED = 0.15  # of the share of pictures that a hook changes

Behaviour = Mapping[str, Any]


@dataclass(frozen=True)
class Deviation:
    """One thing that a run does otherwise: what, and both values as text; no `before`: how much."""

    what: str
    before: str
    now: str

    def text(self) -> str:
        return f"{self.what}: {f'{self.before} before, ' * bool(self.before)}{self.now} now"


def deviations(
    before: Mapping[str, Any], now: Mapping[str, Any], adaptive: bool, fitted: bool = False
) -> tuple[Deviation, ...]:
    """What run `now` does otherwise than run `before`; both as `golden.fingerprint` gives them.

    adaptive: whether trained networks choose the images; what depends on it is then left out.
    fitted: whether the first batch, or the first weights as those of LP-FT, follow from training.
    Records that keep no fingerprint, such as those of merged weights, deviate in nothing but their
    class counts and levels.
    """
    found = [*exact("training images by class", before["counts"], now["counts"])]
    if not adaptive:
        found += exact("guidance levels by epoch", before["levels"], now["levels"])
    a, b = before.get("behaviour"), now.get("behaviour")
    if a is not None and b is not None:
        found += _of_runs(a, b, adaptive, fitted or bool(before["start"]))
    return tuple(found)


def _of_runs(a: Behaviour, b: Behaviour, adaptive: bool, onward: bool) -> Iterator[Deviation]:
    yield from exact("augmentation hooks", sorted(a["hooks"]), sorted(b["hooks"]))
    if not adaptive:
        yield from exact("steps", a["steps"], b["steps"])
        yield from _drawn(a["drawn"], b["drawn"])
    yield from _near("share of drawn images below the threshold", a["below"], b["below"], BELOW)
    yield from _pool(a["pool"] or {}, b["pool"] or {})
    for phase in sorted(a["first_loss"].keys() & b["first_loss"].keys()):
        first = phase == min(a["first_loss"], key=list(a["first_loss"]).index)
        loose = LOSS_ONWARD if onward or not first else LOSS
        allowed = loose * max(abs(a["first_loss"][phase]), 0.1)
        values = a["first_loss"][phase], b["first_loss"][phase]
        yield from _near(f"loss of the first batch ({phase})", *values, allowed)
    for hook in sorted(a["hooks"].keys() & b["hooks"].keys()):
        yield from _changed(hook, a["hooks"][hook], b["hooks"][hook])
    if not adaptive:
        yield from _grey(a["grey"], b["grey"])


def exact(what: str, a: Any, b: Any) -> Iterator[Deviation]:
    """A deviation unless both are equal."""
    if a != b:
        yield Deviation(what, _brief(a), _brief(b))


def _near(what: str, a: float | None, b: float | None, allowed: float) -> Iterator[Deviation]:
    if (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > allowed):
        yield Deviation(what, _brief(a), _brief(b))


def _drawn(a: Mapping[str, Sequence[int]], b: Mapping[str, Sequence[int]]) -> Iterator[Deviation]:
    yield from exact("guidance levels drawn", sorted(a), sorted(b))
    for level in sorted(a.keys() & b.keys()):
        what = f"images drawn at guidance {level_text(int(level))}"
        m, n = sum(a[level]), sum(b[level])
        if abs(m - n) > DRAWN_LEVEL * max(m, n):
            yield Deviation(what, str(m), str(n))
        elif m and n:
            apart = (
                math.fsum(abs(x / m - y / n) for x, y in zip(a[level], b[level], strict=True)) / 2
            )
            if apart > DRAWN:
                share = f"{100 * apart:.0f} % of them are of other classes"
                yield Deviation(f"{what}, by class", "", share)


def _pool(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Deviation]:
    yield from exact("guidance levels of the pool", sorted(a), sorted(b))
    for level in sorted(a.keys() & b.keys()):
        where = f"at guidance {level_text(int(level))}"
        x, y = a[level], b[level]
        yield from _near(
            f"images of the pool {where}", x["images"], y["images"], 0.02 * x["images"]
        )
        yield from _near(
            f"share of the pool below the threshold {where}", x["below"], y["below"], BELOW
        )
        yield from _near(f"mean CLIPScore {where}", x["score"], y["score"], SCORE)


def _changed(hook: str, a: float | None, b: float | None) -> Iterator[Deviation]:
    what = f"share of pictures that {hook} changes"
    if (a or 0) > 0.01 and not b:
        yield Deviation(what, _brief(a), _brief(b))
    else:
        yield from _near(what, a, b, CHANGED)


def _grey(a: Sequence[float | None], b: Sequence[float | None]) -> Iterator[Deviation]:
    pairs = [(x, y) for x, y in zip(a, b, strict=False) if x is not None and y is not None]
    far = [i for i, (x, y) in enumerate(pairs) if abs(x - y) > GREY]
    if len(a) != len(b) or far:
        yield Deviation(
            "mean brightness of their images", "", f"other in {len(far)} of {len(pairs)} classes"
        )


def _brief(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
