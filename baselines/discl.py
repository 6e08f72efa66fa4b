"""DisCL: hard images learned along a spectrum of synthetic ones (arXiv 2410.13674, section 3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness import curriculum as curricula
from harness.lookup import function, one_of
from harness.mixture import hundredths, mix
from harness.types import REAL, Augment, DataError, Progress, Slots, UsageError

if TYPE_CHECKING:
    import polars as pl

NAME = "DisCL"
PAPER_OR_RELEASED = ("paper", "released")


class Spectrum(Augment):
    """Chooses the levels of an epoch and adds synthetic images of those levels to its rows.

    candidates: guidance levels in hundredths, ascending, REAL last; None takes the recipe's.
    threshold: CLIPScore from which an image is used; None takes the recipe's.
    """

    def __init__(
        self, choose: Callable[[Progress], tuple[int, ...]], candidates: Any, **settings: Any
    ) -> None:
        self.choose = choose
        self.candidates: tuple[int, ...] | None = candidates
        self.threshold: float | None = settings["threshold"]
        self.scale: float | None = settings["scale"]
        self.real_hard = not settings["drop_real_hard"]
        self.schedule: str = settings["schedule"]
        self.level_zero: str = settings["level_zero"]

    @property
    def needs_pool(self) -> bool:
        return self.scale != 0 and self.choose is not curricula.none

    def start(self, model: Any, data: Any) -> None:
        if self.needs_pool and data.pool is None:
            raise DataError("DisCL needs synthetic images, and this data set has no pool yet")

    def levels(self, progress: Progress) -> tuple[int, ...]:
        epoch = progress.epoch if self.schedule == "paper" else _released_epoch(progress)
        seen = dataclasses.replace(progress, epoch=epoch, levels=self._candidates(progress))
        return self.choose(seen)

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        if progress.epoch == 0 and self.needs_pool:
            self._spectra(progress, self._candidates(progress))  # a gap is told now, not later
        chosen = [level for level in progress.state["levels"] if level != REAL]
        spectra = None
        if chosen:
            spectra = self._spectra(progress, chosen) if self.needs_pool else rows.clear()
        settings: dict[str, Any] = {"scale": self.scale, "real_hard": self.real_hard}
        return mix(rows, spectra, progress.recipe.mixture, progress.rng, **settings)

    def _candidates(self, progress: Progress) -> tuple[int, ...]:
        levels = self.candidates or progress.levels
        return levels if self.level_zero == "paper" else tuple(c for c in levels if c)

    def _spectra(self, progress: Progress, levels: Any) -> pl.DataFrame:
        """Synthetic rows of these levels above the threshold; DataError for a level without any."""
        default = progress.recipe.threshold
        threshold = default if self.threshold is None else self.threshold
        found = progress.at([level for level in levels if level != REAL])
        if found["score"].null_count():
            raise DataError(f"{found['score'].null_count()} synthetic images have no CLIPScore")
        kept = found.filter(found["score"] >= threshold)
        for level in sorted(set(levels) - {REAL} - set(kept["guidance"].unique().to_list())):
            there = found.filter(found["guidance"] == level).height
            raise DataError(
                f"no synthetic image of guidance {level / 100:g} has a CLIPScore of at least "
                f"{threshold:g} (the pool has {there} of that guidance)"
            )
        return kept


def term(
    *,
    curriculum: str = "diverse-to-specific",
    levels: tuple[float, ...] | None = None,
    threshold: float | None = None,
    scale: float | None = None,
    drop_real_hard: bool = False,
    schedule: str = "paper",
    level_zero: str = "paper",
) -> Slots:
    """levels: guidance below 1, in [0, 1] (None: the recipe's); threshold: CLIPScore in [-1, 1].

    scale: synthetic images per epoch as a multiple of the real hard ones (None: the mixture's).
    drop_real_hard: for the curricula fixed and text-only. paper | released: `schedule`
    (the released one begins every stage an epoch early) and `level_zero` (released without it).
    """
    choose = function(curricula, curriculum)
    for argument, value in (("schedule", schedule), ("level_zero", level_zero)):
        one_of(f"DisCL({argument}=...)", value, PAPER_OR_RELEASED)
    one_of("DisCL(drop_real_hard=...)", drop_real_hard, (False, True))
    if drop_real_hard and curriculum not in ("fixed", "text-only"):
        raise UsageError(f"DisCL(drop_real_hard=True) is for fixed and text-only, not {curriculum}")
    _check_number("threshold", threshold, -1, 1)
    _check_number("scale", scale, 0, 1000)
    spectrum = Spectrum(
        choose,
        _levels(curriculum, levels, level_zero),
        threshold=threshold,
        scale=scale,
        drop_real_hard=drop_real_hard,
        schedule=schedule,
        level_zero=level_zero,
    )
    return Slots(augment=spectrum, curriculum=spectrum, onward=True, needs_pool=spectrum.needs_pool)


def _levels(name: str, levels: Any, level_zero: str) -> tuple[int, ...] | None:
    """Candidates of the term's own, or None for the recipe's."""
    where = "DisCL(levels=...)"
    if name == "text-only":
        if levels is not None or level_zero != "paper":
            raise UsageError('DisCL(curriculum="text-only") is level 0; it takes no other levels')
        return (0, REAL)
    if name == "fixed" and levels is None:
        raise UsageError('DisCL(curriculum="fixed") needs its level: levels=(0.5,)')
    if levels is None:
        return None
    found = hundredths(levels, where)
    below = [code for code in found if code != REAL and (code or level_zero == "paper")]
    if not below or (name == "fixed" and len(below) > 1):
        wanted = "one level" if name == "fixed" else "a level"
        raise UsageError(f"{where}: {levels!r}: the curriculum {name} needs {wanted} below 1")
    return found


def _check_number(argument: str, value: Any, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(
            f"DisCL({argument}=...): {value!r} is not allowed; a number in [{low}, {high}]"
        )


def _released_epoch(progress: Progress) -> int:
    """The epoch whose stage the released code takes: its counter runs one ahead, and it goes back
    to real images only after epoch curriculum_epochs itself.
    """
    if progress.epoch > progress.curriculum_epochs:
        return progress.epoch
    return min(progress.epoch + 1, progress.curriculum_epochs - 1)
