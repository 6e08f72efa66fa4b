"""The stage of a curriculum that an epoch belongs to: what most curricula begin with."""

from __future__ import annotations

from harness.methods.terms import Progress


def stage_of(progress: Progress) -> int | None:
    """The stage of this epoch, from 0: there are as many stages as candidate levels.

    The curriculum epochs are shared out equally; if they do not divide, the first stages are one
    epoch longer. None after the last curriculum epoch, when an epoch has real images only.
    Source: paper, 12 epochs for each of 5 levels of 60.
    """
    length, rest = divmod(progress.curriculum_epochs, len(progress.levels))
    left = progress.epoch
    for stage in range(len(progress.levels)):
        epochs = length + (stage < rest)
        if left < epochs:
            return stage
        left -= epochs
    return None
