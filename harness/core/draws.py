"""Random numbers of pictures: a function of a seed and of a picture's position, and nothing else.

What a picture gets does not depend on the batch that it is in, on those drawn before it, or on the
process that draws. Philox is counter-based (Salmon et al. 2011): the count that a position begins
at is known, so the numbers of a whole batch are made at once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

WORDS = 4  # that Philox makes at each count


@dataclass(frozen=True)
class Draws:
    """Of the `n` pictures from position `first` on, in the order of a pass, whichever these are.

    seed: whole numbers from 0.
    """

    seed: tuple[int, ...]
    first: int = 0
    n: int = 0

    def at(self, part: slice) -> Draws:
        """Of the pictures at these positions."""
        return replace(self, first=part.start, n=part.stop - part.start)

    def of(self, purpose: str) -> Draws:
        """Other numbers of the same pictures: what is to be independent has its own purpose."""
        return replace(self, seed=(*self.seed, int.from_bytes(purpose.encode(), "little")))

    @property
    def positions(self) -> slice:
        return slice(self.first, self.first + self.n)

    def uniform(self, count: int) -> np.ndarray:
        """(n, count) float64 in [0, 1), the same ones at each call with this count."""
        blocks = -(-count // WORDS)
        bits = np.random.Philox(key=_key(self.seed), counter=[self.first * blocks, 0, 0, 0])
        return np.random.Generator(bits).random((self.n, WORDS * blocks))[:, :count]


@functools.lru_cache(maxsize=64)
def _key(seed: tuple[int, ...]) -> np.ndarray:
    return np.random.SeedSequence(seed).generate_state(2, np.uint64)
