"""DisCL: hard images learned along a spectrum of synthetic ones (arXiv 2410.13674, section 3.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from harness.core.errors import DataError, UsageError
from harness.core.guidance import REAL
from harness.core.registry import function, functions
from harness.methods import curriculum as curricula
from harness.methods import spectra
from harness.methods.arguments import Later, OneOf, Range
from harness.methods.sampling import CONTROL_OF_IMAGES, hundredths, mix, real, sources, union
from harness.methods.terms import Augment, Progress, TermParts, Trial

if TYPE_CHECKING:
    import polars as pl

NAME = "DisCL"
ROWS = (
    "CE+DisCL",
    "BS+DisCL",
    'CE+DisCL(curriculum="adaptive")',
    'CE+DisCL(curriculum="all-level")',
    'CE+DisCL(curriculum="specific-to-diverse")',
    'CE+DisCL(curriculum="text-only")',
    'CE+DisCL(control=True, curriculum="adaptive")',
    'CE+DisCL(filter="high")',
    'CE+DisCL(filter="low")',
    'FLYP+DisCL(curriculum="adaptive")',
    'FLYP+DisCL(curriculum="adaptive")+WE',
    'FLYP+DisCL(curriculum="all-level")',
    'FLYP+DisCL(curriculum="easy-to-hard")',
    'FLYP+DisCL(curriculum="fixed", levels=(0.5,))',
    'FLYP+DisCL(curriculum="random")',
    'FLYP+DisCL(curriculum="text-only")',
    'FLYP+DisCL(control=True, curriculum="adaptive")',
    'FLYP+DisCL(control=True, curriculum="random")',
)
SWITCHES = ("schedule", "level_zero", "trim", "probe", "choice", "non_hard")
VALIDATION_SEED = 42  # the released code's


class Spectrum(Augment):
    """Chooses the levels of an epoch and adds synthetic images of those levels to its rows.

    candidates: guidance levels in hundredths, ascending, REAL last; None takes the recipe's.
    settings: the arguments of `term`.
    """

    def __init__(self, candidates: tuple[int, ...] | None, **settings: Any) -> None:
        self.choose = function(curricula, settings["curriculum"])
        self.candidates = candidates
        self.threshold: float | None = settings["threshold"]
        self.stricter = settings["step"] * spectra.FILTERS[settings["filter"]]
        self.scale: float | None = settings["scale"]
        self.one_level = settings["curriculum"] in ("fixed", "text-only")
        self.adaptive = self.choose is curricula.adaptive  # accuracies choose the levels
        self.real_hard = not settings["drop_real_hard"]
        self.control: bool = settings["control"]
        self.released = {name for name in SWITCHES if settings[name] == "released"}

    @property
    def needs_pool(self) -> bool:
        return self.scale != 0 and self.choose is not curricula.none

    def start(self, model: Any, tools: Any) -> None:
        if self.needs_pool and tools.data.pool is None:
            raise DataError("DisCL needs synthetic images, and this data set has no pool yet")
        if "non_hard" in self.released and tools.recipe.mixture is not None:
            raise UsageError(
                'DisCL(non_hard="released") is for recipes without a mixture: '
                "where there is one, the released code keeps the images that are not hard"
            )

    def levels(self, progress: Progress) -> tuple[int, ...]:
        """Guidance levels of this epoch; () after the curriculum."""
        epoch = _released_epoch(progress) if "schedule" in self.released else progress.epoch
        candidates = self._candidates(progress)
        view = dataclasses.replace(
            progress, epoch=epoch, levels=candidates, trial=lambda: self._trial(progress)
        )
        chosen = self.choose(view)
        if not isinstance(chosen, tuple) or not all(level in candidates for level in chosen):
            raise UsageError(
                f"the curriculum {self.choose.__name__} returns {chosen!r}; expected a tuple of "
                f"some of {', '.join(map(str, candidates))}, the guidance levels in hundredths"
            )
        return candidates if chosen and "choice" in self.released else chosen

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """S_lambda, the real images that are not hard, and the real hard ones (section 3.2).

        A control has the source in the place of each image of S_lambda: as many rows, all real.
        """
        rows = self._drawn(rows, progress)
        if not self.control:
            return rows
        progress.state["levels"] = []
        return sources(rows)

    def _drawn(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        if progress.epoch == 0 and self.needs_pool:
            self._spectra(progress, self._candidates(progress))  # a gap is told now, not later
        rows = self._without_validation(rows, progress)
        chosen = progress.state["levels"]
        synthetic = None
        if any(level != REAL for level in chosen):
            synthetic = self._spectra(progress, chosen) if self.needs_pool else rows.clear()
            synthetic = self._without_validation(synthetic, progress)
        if progress.recipe.mixture is not None:
            settings: dict[str, Any] = {"scale": self.scale, "real_hard": self.real_hard}
            return mix(rows, synthetic, progress.recipe.mixture, progress.rng, **settings)
        keeps_real = REAL in chosen or (self.one_level and self.real_hard)
        settings = {"scale": self.scale, "real_hard": keeps_real}
        other = "non_hard" not in self.released
        return union(rows, synthetic, progress.rng, other=other, **settings)

    def _candidates(self, progress: Progress) -> tuple[int, ...]:
        levels = self.candidates or progress.levels
        return tuple(c for c in levels if c) if "level_zero" in self.released else levels

    def _spectra(self, progress: Progress, levels: Any) -> pl.DataFrame:
        default = progress.recipe.threshold
        threshold = default if self.threshold is None else self.threshold
        threshold = round(threshold + self.stricter, 6)
        below_real = [level for level in levels if level != REAL]
        return spectra.above(progress.at(below_real), below_real, threshold)

    # ------------------------------------------------------------ Algorithm 2

    def _trial(self, progress: Progress) -> Trial:
        """V: one image per level of validation sources; D: real images without these sources."""
        assert progress.tools is not None
        candidates = self._candidates(progress)
        if "validation" not in progress.state:
            synthetic, n = self._spectra(progress, candidates), progress.recipe.probe_images
            progress.state["validation"] = spectra.validation(
                progress.at([REAL]), synthetic, candidates, n, VALIDATION_SEED
            )
        images = progress.state["validation"]["images"]
        rows = progress.at(candidates)
        training = self._without_validation(progress.tools.data.rows, progress)
        n = progress.recipe.probe_train
        return Trial(
            validation=rows.filter(rows["image"].is_in(images)),
            training=real(training, progress.recipe.mixture, n, progress.rng),
            trim="trim" in self.released,
            late="probe" in self.released,
            choice=self._repeated(progress) if self.control else None,
        )

    def _repeated(self, progress: Progress) -> tuple[int, ...]:
        """The level that the run without `control` chose; a dry run assumes the lowest."""
        assert progress.tools is not None
        candidates = self._candidates(progress)
        if getattr(progress.tools, "dry", False):
            return candidates[:1]
        if progress.tools.data.levels is None:
            raise UsageError('DisCL(control=True, curriculum="adaptive") repeats a run\'s levels')
        level = progress.tools.data.levels[progress.epoch]
        return tuple(level[:1])

    def _without_validation(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        held = progress.state.get("validation")
        return rows if held is None else rows.filter(~rows["parent"].is_in(held["parents"]))


def defaults(dataset: str, profile: str) -> dict[str, Any]:
    """CLIPScores of the built-in world's small CLIP spread wider than CLIP's."""
    return {} if profile == "paper" else {"step": 0.05}


# Where the paper and its released code differ.
Switch = Annotated[str, OneOf("paper", "released")]
Curriculum = Annotated[str, OneOf(*functions(curricula))]
Filter = Annotated[str, OneOf(*spectra.FILTERS)]
Level = Annotated[float, Range(0, 1)]


def term(
    *,
    curriculum: Annotated[Curriculum, "chooses the guidance levels of an epoch"] = (
        "diverse-to-specific"
    ),
    levels: Annotated[tuple[Level, ...] | None, "guidance levels; None: the recipe's"] = None,
    threshold: Annotated[
        float | None, Range(-1, 1), "CLIPScore from which images are used; None: the recipe's"
    ] = None,
    filter: Annotated[Filter, "low, high: a threshold one step below, above that one"] = "usual",
    step: Annotated[float, Range(0, 1), "the step of `filter`, in CLIPScore"] = 0.02,
    scale: Annotated[
        float | None,
        Range(0, 1000),
        "synthetic images per epoch, times the real hard ones; None: the mixture's",
    ] = None,
    drop_real_hard: Annotated[
        bool, "fixed and text-only: leave the real hard images out of these epochs"
    ] = False,
    control: Annotated[bool, Later, CONTROL_OF_IMAGES] = False,
    schedule: Annotated[Switch, "released: every stage begins an epoch early"] = "paper",
    level_zero: Annotated[Switch, "released: level 0 is no candidate"] = "paper",
    trim: Annotated[Switch, "adaptive; released: outliers among the gains left out"] = "paper",
    probe: Annotated[Switch, "adaptive; released: the first look after two batches"] = "paper",
    choice: Annotated[
        Switch, Later, "adaptive; released: all levels, whichever gained most"
    ] = "paper",
    non_hard: Annotated[
        Switch, "without a mixture; released: the hard images and their spectra alone"
    ] = "paper",
) -> TermParts:
    """Spectra by a curriculum; it starts from the run without this term.

    Paper, Table 1, has the thresholds 0.28, 0.30 and 0.32 as `filter` low, usual and high.
    """
    switches = {
        "schedule": schedule,
        "level_zero": level_zero,
        "trim": trim,
        "probe": probe,
        "choice": choice,
        "non_hard": non_hard,
    }
    if drop_real_hard and curriculum not in ("fixed", "text-only"):
        raise UsageError(f"DisCL(drop_real_hard=True) is for fixed and text-only, not {curriculum}")
    if curriculum != "adaptive" and "released" in (trim, probe, choice):
        raise UsageError(
            f"DisCL(trim, probe, choice) are for the curriculum adaptive, not {curriculum}"
        )
    spectrum = Spectrum(
        _levels(curriculum, levels, level_zero),
        curriculum=curriculum,
        threshold=threshold,
        filter=filter,
        step=step,
        scale=scale,
        drop_real_hard=drop_real_hard,
        control=control,
        **switches,
    )
    read: dict[str, Any] = {}
    if spectrum.needs_pool:
        own = spectrum.candidates
        read["reads"] = "spectrum"
        read["levels"] = None if own is None else tuple(code for code in own if code != REAL)
    if control and spectrum.adaptive:
        read["repeats"] = True
    return TermParts(augment=spectrum, curriculum=spectrum, onward=True, **read)


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
    codes = hundredths(levels, where)
    below = [code for code in codes if code != REAL and (code or level_zero == "paper")]
    if not below or (name == "fixed" and len(below) > 1):
        expected = "one level" if name == "fixed" else "a level"
        raise UsageError(f"{where}: {levels!r}: the curriculum {name} needs {expected} below 1")
    return codes


def _released_epoch(progress: Progress) -> int:
    """The epoch whose stage the released code takes: its counter runs one ahead, and it goes back
    to real images only after epoch curriculum_epochs itself.
    """
    if progress.epoch > progress.curriculum_epochs:
        return progress.epoch
    return min(progress.epoch + 1, progress.curriculum_epochs - 1)
