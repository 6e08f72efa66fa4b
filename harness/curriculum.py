"""Curricula: each public function chooses the guidance levels (hundredths) of an epoch.

A curriculum's name is its function's, '-' for '_'. It is a pure function of what `Progress` holds;
what must last longer than an epoch goes to `progress.state`. () means real images only.
`progress.levels` are the candidates in ascending order, the real images (REAL) last.
"""

from __future__ import annotations

from harness.types import Progress, UsageError


def diverse_to_specific(progress: Progress) -> tuple[int, ...]:
    """One level per stage, from text only to real; then real images only."""
    stage = _stage(progress)
    return () if stage is None else (progress.levels[stage],)


def specific_to_diverse(progress: Progress) -> tuple[int, ...]:
    """One level per stage, from real to text only; then real images only."""
    stage = _stage(progress)
    return () if stage is None else (progress.levels[-1 - stage],)


def easy_to_hard(progress: Progress) -> tuple[int, ...]:
    """Ascending, floor(curriculum_epochs / levels) epochs per level, left-over ones at the last."""
    if progress.epoch >= progress.curriculum_epochs:
        return ()
    length = max(1, progress.curriculum_epochs // len(progress.levels))
    return (progress.levels[min(progress.epoch // length, len(progress.levels) - 1)],)


def random(progress: Progress) -> tuple[int, ...]:
    """One level per stage, drawn uniformly from all candidates when the stage begins."""
    stage = _stage(progress)
    if stage is None:
        return ()
    if progress.state.get("random_stage") != stage:
        progress.state["random_stage"] = stage
        progress.state["random_level"] = int(progress.rng.choice(progress.levels))
    return (progress.state["random_level"],)


def all_level(progress: Progress) -> tuple[int, ...]:
    """All levels together in every epoch: no curriculum."""
    return progress.levels


def text_only(progress: Progress) -> tuple[int, ...]:
    """Level 0 in every epoch."""
    return (0,)


def fixed(progress: Progress) -> tuple[int, ...]:
    """The only candidate below REAL, in every epoch."""
    if len(progress.levels) != 2:
        below = ", ".join(f"{level / 100:g}" for level in progress.levels[:-1])
        raise UsageError(f"curriculum fixed takes one level below 1, not {below or 'none'}")
    return progress.levels[:1]


def none(progress: Progress) -> tuple[int, ...]:
    """Real images only."""
    return ()


def _stage(progress: Progress) -> int | None:
    """Stage of this epoch: as many stages as levels, the first ones longer if there is a rest.

    None after the last curriculum epoch. Source: paper, 12 epochs for each of 5 levels of 60.
    """
    length, rest = divmod(progress.curriculum_epochs, len(progress.levels))
    left = progress.epoch
    for stage in range(len(progress.levels)):
        epochs = length + (stage < rest)
        if left < epochs:
            return stage
        left -= epochs
    return None
