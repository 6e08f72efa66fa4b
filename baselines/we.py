"""WE: weights between the start's and the end's (WiSE-FT, Wortsman et al. 2022, equation 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from harness.core.errors import DataError, UsageError
from harness.methods.arguments import Range
from harness.methods.terms import TermParts

if TYPE_CHECKING:
    import torch

NAME = "WE"
ROWS = ("LP-FT+WE", "FLYP+WE", "FLYP+WE(alpha=0.5)")
ELEVEN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Between:
    """(1 - alpha) * start + alpha * end, of every weight; alpha in [0, 1].

    alpha None: the share of `grid` that is best on the validation split.
    """

    def __init__(self, alpha: float | None, grid: tuple[float, ...]) -> None:
        self.alpha, self.grid = alpha, grid

    def merge(
        self, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], alpha: float
    ) -> dict[str, torch.Tensor]:
        """Counters and other whole numbers are the end's.

        DataError for state dicts whose names or shapes differ.
        """
        _check(start, end)
        return {name: _between(start[name], w, alpha) for name, w in end.items()}


def _between(start: torch.Tensor, end: torch.Tensor, alpha: float) -> torch.Tensor:
    import torch

    if not end.is_floating_point():
        return end.clone()
    exact = torch.promote_types(end.dtype, torch.float32)
    mixed = (1 - alpha) * start.to(exact) + alpha * end.to(exact)
    return mixed.to(end.dtype)


def _check(start: dict[str, torch.Tensor], end: dict[str, torch.Tensor]) -> None:
    lone = sorted(start.keys() ^ end.keys())
    if lone:
        where = "start" if lone[0] in start else "end"
        raise DataError(
            f"weights of the start and of the end do not match: {len(lone)} are in one only, "
            f"{lone[0]} in the {where}'s"
        )
    for name, w in end.items():
        if w.shape != start[name].shape:
            raise DataError(
                f"weights of the start and of the end do not match: {name} is "
                f"{tuple(start[name].shape)} in the start's, {tuple(w.shape)} in the end's"
            )


Share = Annotated[float, Range(0, 1)]


def term(
    *,
    alpha: Annotated[
        Share | None, "share of the fine-tuned weights; None: the best on the validation split"
    ] = None,
    grid: Annotated[tuple[Share, ...], "shares that validation tries, ascending"] = ELEVEN,
) -> TermParts:
    """The paper that has these rows names no alpha.

    Without a validation split None is 0.5, as WiSE-FT recommends (section 4).
    """
    if list(grid) != sorted(set(grid)):
        raise UsageError(f"WE(grid=...): {grid!r} is not ascending")
    return TermParts(ensemble=Between(alpha, grid))
