"""An offline grammar of scenes: ten sentences of at least 15 words for a class name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from harness.core.registry import one_of
from harness.datasets.prompts import phrases
from harness.datasets.prompts.generator_text import number as hashed_number
from harness.datasets.prompts.nouns import noun_phrase, spoken
from harness.datasets.prompts.prompt_file import PER_CLASS, Prompts


def scenes(classname: str, kind: str | None = None) -> tuple[str, ...]:
    """Ten different descriptions of scenes with this class as the only subject, >= 15 words each.

    They depend on the class and the kind alone. kind: one of KINDS, or None for what suits any.
    Raises UsageError for another kind, or a name without a word.
    """
    if kind is not None:
        one_of("scenes(kind=...)", kind, phrases.KINDS)
    return tuple(_scene(classname, number, kind) for number in range(PER_CLASS))


def grammar(
    dataset: str, classes: Iterable[str], kinds: Mapping[str, str] | None = None
) -> Prompts:
    """The grammar's sentences of every class; `kinds`: the kind of those classes where known."""
    known = kinds or {}
    of = {name: scenes(name, known.get(name)) for name in classes}
    return Prompts(dataset, {"kind": "grammar", "grammar": phrases.GRAMMAR}, of)


def _scene(classname: str, number: int, kind: str | None) -> str:
    """The place differs between all numbers of a class, the rest as often as there are choices."""
    name = spoken(classname)

    def pick(slot: str, options: tuple[str, ...]) -> str:
        return _order(name, slot, options)[number % len(options)]

    places = {place: air for air, some in phrases.PLACES[kind].items() for place in some}
    place = pick("place", tuple(places))
    distance = pick("distance", phrases.DISTANCES)
    words = {
        "subject": noun_phrase(classname),
        "place": place,
        "time": pick("time", phrases.TIMES[places[place]]),
        "view": pick("view", phrases.VIEWS),
        "distance": distance,
        "shot": phrases.SHOTS[phrases.DISTANCES.index(distance)],
        "alone": pick("alone", phrases.ALONE),
    }
    text = pick("form", phrases.FORMS).format(**words)
    return text[0].upper() + text[1:]


@lru_cache(maxsize=64)  # the ten sentences of a class share their orders
def _order(name: str, slot: str, options: tuple[str, ...]) -> list[str]:
    """Options in an order of the class's own; last those with a word of its name ("a sea" by the
    sea).
    """
    stems = [w.removesuffix("s") for w in name.lower().split() if len(w) > 2]

    def rank(option: str) -> tuple[bool, int]:
        echo = any(word.startswith(stem) for word in option.split() for stem in stems)
        return echo, hashed_number(name, slot, option)

    return sorted(options, key=rank)
