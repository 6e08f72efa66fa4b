"""What a language model is asked for a class, and what of its answer can be used."""

from __future__ import annotations

import re

from harness.datasets import prompts

LONGEST = 1000  # characters of a sentence
LONGEST_ANSWER = 100_000
_NUMBERING = re.compile(r"(?:prompt\s*)?\d+\s*[.):]\s+", re.IGNORECASE)


def question(classname: str, dataset: str) -> str:
    """What the model is asked: the paper's requirements and the format of the answer."""
    name = prompts.spoken(classname)
    return (
        f"Write {prompts.PER_CLASS} descriptions of random scenes that contain only the class "
        f'"{name}" of the data set {dataset}. All of them must differ from each other, each must '
        f"have at least {prompts.MIN_WORDS} words, and they are intended as prompts that guide "
        "Stable Diffusion. Answer with the descriptions alone, one per line, in this format:\n"
        "prompt1\nprompt2"
    )


def sentences(answer: str) -> tuple[list[str], str]:
    """The usable lines of an answer, at most ten, and in words what was wrong with the others.

    Numbering "n. " is removed; lines of fewer than 15 words or more than LONGEST characters and
    repeated ones are not usable. What does not print becomes a space.
    """
    lines = [_printable(line) for line in answer[:LONGEST_ANSWER].splitlines()]
    lines = [
        _NUMBERING.sub("", line, count=1) if _NUMBERING.match(line) else line for line in lines
    ]
    lines = [line for line in lines if line]
    short = [line for line in lines if len(line) <= LONGEST]
    long = [line for line in short if len(line.split()) >= prompts.MIN_WORDS]
    first: dict[str, str] = {}
    for line in long:
        first.setdefault(line.casefold(), line)
    usable = list(first.values())
    longer = len(lines) - len(short)
    why = (
        f"{len(usable)} usable lines of {len(lines)} ({len(short) - len(long)} shorter than "
        f"{prompts.MIN_WORDS} words, {len(long) - len(usable)} repeated"
        f"{f', {longer} longer than {LONGEST} characters' if longer else ''})"
    )
    return usable[: prompts.PER_CLASS], why


def _printable(line: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in line).split())
