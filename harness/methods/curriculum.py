"""Curricula: each public function chooses the guidance levels (hundredths) of an epoch.

A curriculum's name is its function's, '-' for '_'. It is a pure function of what `Progress` holds;
what must last longer than an epoch goes to `progress.state`. () means real images only.
`progress.levels` are the candidates in ascending order, the real images (REAL) last;
`stage_of(progress)` is the stage of the epoch, with one stage for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.core.guidance import level_text
from harness.methods.curriculum_stage import stage_of
from harness.methods.terms import Progress

if TYPE_CHECKING:
    import numpy as np


def diverse_to_specific(progress: Progress) -> tuple[int, ...]:
    """One level per stage, from text only to real; then real images only."""
    stage = stage_of(progress)
    return () if stage is None else (progress.levels[stage],)


def specific_to_diverse(progress: Progress) -> tuple[int, ...]:
    """One level per stage, from real to text only; then real images only."""
    stage = stage_of(progress)
    return () if stage is None else (progress.levels[-1 - stage],)


def easy_to_hard(progress: Progress) -> tuple[int, ...]:
    """Ascending, floor(curriculum_epochs / levels) epochs per level, left-over ones at the last."""
    if progress.epoch >= progress.curriculum_epochs:
        return ()
    length = max(1, progress.curriculum_epochs // len(progress.levels))
    return (progress.levels[min(progress.epoch // length, len(progress.levels) - 1)],)


def random(progress: Progress) -> tuple[int, ...]:
    """One level per stage, drawn uniformly from all candidates when the stage begins."""
    stage = stage_of(progress)
    if stage is None:
        return ()
    if progress.state.get("random_stage") != stage:
        progress.state["random_stage"] = stage
        progress.state["random_level"] = int(progress.rng.choice(progress.levels))
    return (progress.state["random_level"],)


def adaptive(progress: Progress) -> tuple[int, ...]:
    """The level whose validation images gained most from a pass over real images (Algorithm 2).

    Gain: mean rise of the true class's probability between a look before the pass and one after
    it. Equal gains go to the lower level. The gains stay in `progress.state["gains"]`, by level.
    A trial that knows the choice makes the same passes and looks at nothing.
    """
    if progress.epoch >= progress.curriculum_epochs:
        return ()
    if progress.trial is None or progress.tools is None:
        raise UsageError("the curriculum adaptive needs validation images: it is for spectra only")
    trial, tools = progress.trial(), progress.tools
    begun = 2 * tools.batch if trial.late else 0
    if begun:
        tools.train(trial.training[:begun])
    before = 0.0 if trial.choice is not None else tools.probe(trial.validation)[1]
    if trial.training.height > begun:
        tools.train(trial.training[begun:])
    if trial.choice is not None:
        return trial.choice
    rise = tools.probe(trial.validation)[1].astype("float64") - before
    guidance = trial.validation["guidance"].to_numpy()
    gains = {
        level: float(_trimmed(rise[guidance == level], trial.trim).mean())
        for level in progress.levels
    }
    progress.state["gains"] = gains
    return (max(gains, key=lambda level: gains[level]),)


def _trimmed(values: np.ndarray, trim: bool) -> np.ndarray:
    """Without values more than 1.5 interquartile ranges outside the quartiles, if asked."""
    import numpy as np

    if not trim:
        return values
    low, high = np.quantile(values, (0.25, 0.75))
    reach = 1.5 * (high - low)
    return values[(values >= low - reach) & (values <= high + reach)]


def all_level(progress: Progress) -> tuple[int, ...]:
    """All levels together in every epoch: no curriculum."""
    return progress.levels


def text_only(progress: Progress) -> tuple[int, ...]:
    """Level 0 in every epoch."""
    return (0,)


def fixed(progress: Progress) -> tuple[int, ...]:
    """The only candidate below REAL, in every epoch."""
    if len(progress.levels) != 2:
        below = ", ".join(map(level_text, progress.levels[:-1]))
        raise UsageError(f"curriculum fixed takes one level below 1, not {below or 'none'}")
    return progress.levels[:1]


def none(progress: Progress) -> tuple[int, ...]:
    """Real images only."""
    return ()
