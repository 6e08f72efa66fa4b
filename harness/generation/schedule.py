"""How much of the noise schedule is left at a guidance level."""

from __future__ import annotations

from harness.core.errors import UsageError
from harness.core.guidance import REAL, level_text


def denoising_steps(guidance: int, steps: int) -> int:
    """Steps left of the schedule at a guidance level: steps * strength, halves rounded up.

    The one place where strength = 1 - guidance. In integers, because 1 - 0.9 in floats loses a
    step; rounded (ours: diffusers and the released code round down), because with few steps levels
    that lie close would otherwise share a number.
    None are left close to the real image, which is then only encoded and decoded. Raises
    UsageError for a guidance outside 0..99.
    """
    if not 0 <= guidance < REAL:
        raise UsageError(f"guidance {level_text(guidance)} of a synthetic image; it is in [0, 1)")
    strength = REAL - guidance
    return (steps * strength + 50) // 100
