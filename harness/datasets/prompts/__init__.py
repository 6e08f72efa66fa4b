"""Scene descriptions for the generator: ten sentences of at least 15 words per class.

They come from an offline grammar (scene_grammar), or from a language model (endpoint) as in the
paper (arXiv 2410.13674, section 3.1). One JSON file per data set holds them (prompt_file).
"""

from harness.datasets.prompts.generator_text import choose, in_the_wild, real_photo
from harness.datasets.prompts.nouns import noun_phrase, spoken
from harness.datasets.prompts.phrases import GRAMMAR, KINDS
from harness.datasets.prompts.prompt_file import (
    FEWEST,
    MIN_WORDS,
    PER_CLASS,
    VERSION,
    Prompts,
    check,
    read,
    write,
)
from harness.datasets.prompts.scene_grammar import grammar, scenes

__all__ = [
    "FEWEST",
    "GRAMMAR",
    "KINDS",
    "MIN_WORDS",
    "PER_CLASS",
    "VERSION",
    "Prompts",
    "check",
    "choose",
    "grammar",
    "in_the_wild",
    "noun_phrase",
    "read",
    "real_photo",
    "scenes",
    "spoken",
    "write",
]
