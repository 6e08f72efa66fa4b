"""The generator's text of an image, made of a class's sentences (paper, section 3.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from harness.core.errors import UsageError

PREFIX = "a 8k real photo: "


def choose(sentences: Sequence[str], classname: str, seed: int) -> str:
    """One of a class's sentences, fixed by (class, seed) on every machine and in every run."""
    if not sentences:
        raise UsageError(f"class {classname!r} has no sentences to choose from")
    return sentences[number(classname, str(seed)) % len(sentences)]


def real_photo(sentence: str) -> str:
    """The generator's text for ImageNet-LT and iNaturalist (section 3.1)."""
    return PREFIX + sentence


def in_the_wild(common_name: str) -> str:
    """The generator's text for iWildCam (section 3.1)."""
    return f"a photo of {common_name} in the wild"


def number(*words: str) -> int:
    """A number of 64 bits that the words fix."""
    return int.from_bytes(hashlib.sha256("\n".join(words).encode()).digest()[:8], "big")
