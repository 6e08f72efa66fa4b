"""How an epoch is drawn from real rows and spectra (the release of arXiv 2410.13674)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.core import guidance
from harness.core.errors import DataError, UsageError
from harness.core.guidance import REAL
from harness.core.specs import Mixture
from harness.methods.terms import Augment, Progress

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def mix(
    rows: pl.DataFrame,
    spectra: pl.DataFrame | None,
    mixture: Mixture,
    rng: np.random.Generator,
    *,
    scale: float | None = None,
    real_hard: bool = True,
) -> pl.DataFrame:
    """Rows of one epoch, not shuffled.

    int(keep * N) of the N non-tail rows, drawn without replacement, and K tail images, so many
    that they are the mixture's tail fraction of the epoch: all T real tail rows and K - T of
    `spectra` (with replacement when there are no more than that). `spectra` None: K real tail rows
    drawn with replacement. scale: K = T + int(scale * T) instead; real_hard False: no real tail
    rows, their places go to spectra too (with a scale: int(scale * T) spectra alone).
    Raises UsageError when K < T, DataError when spectra are needed and there are none.
    """
    import polars as pl

    hard = rows["hard"].to_numpy()
    other, tail = rows.filter(~hard), rows.filter(hard)
    easy = int(mixture.keep * other.height)
    drawn = other[rng.permutation(other.height)[:easy]]
    if scale is None:
        target = _tail_target(rows, easy, mixture)
    else:
        target = tail.height + int(scale * tail.height)
    if spectra is None:
        return pl.concat([drawn, _draw(tail, target, rng, "real hard image", again=True)])
    if real_hard:
        synthetic = _room(target, tail.height)
    else:
        tail, synthetic = tail.clear(), target if scale is None else int(scale * tail.height)
    again = spectra.height <= synthetic
    return pl.concat([drawn, tail, _draw(spectra, synthetic, rng, "synthetic image", again)])


def union(
    rows: pl.DataFrame,
    spectra: pl.DataFrame | None,
    rng: np.random.Generator,
    *,
    scale: float | None = None,
    real_hard: bool = False,
    other: bool = True,
) -> pl.DataFrame:
    """Rows of one epoch where nothing is drawn: `spectra` and the real rows beside the hard ones.

    `spectra` None: all real rows. scale: int(scale * T) of the spectra for T real hard rows;
    real_hard: the real hard rows too; other False: without the real rows that are not hard.
    """
    import polars as pl

    hard = rows.filter(rows["hard"])
    parts = [rows.filter(~rows["hard"])] if other else []
    if spectra is None:
        return pl.concat([*parts, hard])
    if scale is not None:
        n = int(scale * hard.height)
        again = spectra.height <= n
        spectra = _draw(spectra, n, rng, "synthetic image", again)
    return pl.concat([*parts, spectra, *([hard] if real_hard else [])])


def real(
    rows: pl.DataFrame, mixture: Mixture | None, n: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Real rows for one pass: n drawn without replacement, or all when there are no more.

    With a mixture: int(keep * N) of the N non-tail rows and as many tail rows as there are, drawn
    with replacement (the released code's uniform set).
    """
    import polars as pl

    if mixture is None:
        return rows[rng.permutation(rows.height)[:n]]
    other, tail = rows.filter(~rows["hard"]), rows.filter(rows["hard"])
    drawn = other[rng.permutation(other.height)[: int(mixture.keep * other.height)]]
    return pl.concat([drawn, _draw(tail, tail.height, rng, "real hard image", again=True)])


# Help of `control` and `scale`: of objectives, and of terms that read synthetic images.
SCALE = (
    "of a control: hard images drawn again per epoch, times those there are; None: the mixture's"
)
CONTROL = "onward from this run, with epochs as for spectra but of real images only"
CONTROL_OF_IMAGES = "the same epochs and steps, but the source image in each synthetic one's place"


class Control(Augment):
    """Epochs of the same make-up as with spectra, from real images only: the fair comparison.

    scale: that of the run with spectra that it is compared with; both then draw as many tail rows.
    """

    def __init__(self, scale: float | None = None) -> None:
        self.scale = scale

    def start(self, model: Any, tools: Any) -> None:
        if self.scale is not None and tools.recipe.mixture is None:
            raise UsageError(f"control with scale {self.scale}: its recipe has no mixture to scale")

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        if progress.recipe.mixture is None:
            return rows
        return mix(rows, None, progress.recipe.mixture, progress.rng, scale=self.scale)


def control_of(control: bool, scale: float | None) -> Control | None:
    """The augmentation of a term with these arguments; UsageError for a scale without control."""
    if scale is not None and not control:
        raise UsageError(f"scale={scale} is an argument of the control: write control=True, too")
    return Control(scale) if control else None


def sources(rows: pl.DataFrame) -> pl.DataFrame:
    """The real image that each row was made from, or is, in its place."""
    import polars as pl

    return rows.with_columns(
        pl.col("parent").alias("image"),
        pl.lit(REAL, pl.Int16).alias("guidance"),
        pl.lit(None, pl.Float32).alias("score"),
    )


def hundredths(levels: Any, where: str = "levels") -> tuple[int, ...]:
    """Guidance in hundredths, ascending, REAL last, of numbers in [0, 1] (1 itself is REAL).

    Raises UsageError for what is not a tuple of different numbers in [0, 1], in whole hundredths.
    """
    if not isinstance(levels, Sequence) or isinstance(levels, str):
        raise UsageError(f"{where}: {levels!r} is not a tuple; write one level as ({levels},)")
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level <= 1:
            raise UsageError(f"{where}: {level!r} is not allowed; guidance is in [0, 1]")
        if not guidance.is_exact(level):
            raise UsageError(f"{where}: {level!r} is not allowed; guidance has two decimals")
    codes = sorted(map(guidance.hundredths, levels))
    if not codes or len(set(codes)) < len(codes):
        raise UsageError(f"{where}: {levels!r} is empty or names a level twice")
    return (*(code for code in codes if code != REAL), REAL)


def _tail_target(rows: pl.DataFrame, easy: int, mixture: Mixture) -> int:
    """K such that K / (K + kept) is the tail fraction, rounded down."""
    fraction = mixture.tail_fraction
    if fraction is None:
        tail_classes = rows.filter(rows["hard"])["label"].n_unique()
        fraction = tail_classes / rows["label"].n_unique()
    if not 0 <= fraction < 1:
        raise UsageError(f"tail fraction {fraction} of an epoch; expected one in [0, 1)")
    return int(fraction / (1 - fraction) * easy)


def _room(target: int, tail: int) -> int:
    if target < tail:
        raise UsageError(
            f"the mixture gives tail images {target} places an epoch, {tail - target} fewer than "
            f"the {tail} real ones: raise its `keep` or `tail_fraction`"
        )
    return target - tail


def _draw(
    rows: pl.DataFrame, n: int, rng: np.random.Generator, what: str, again: bool
) -> pl.DataFrame:
    if n and not rows.height:
        raise DataError(f"an epoch needs {n} rows, but there is no {what} to draw from")
    return rows[rng.choice(rows.height, n, replace=again)] if n else rows.clear()
