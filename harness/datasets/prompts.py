"""Scene descriptions for the generator: ten sentences of at least 15 words per class.

They come from an offline grammar here, or from a language model
(harness.datasets.prompts_endpoint) as in the paper (arXiv 2410.13674, section 3.1). One JSON file
per data set holds them.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.core.errors import DataError, UsageError, brief
from harness.core.files import write_atomic
from harness.core.registry import one_of

VERSION = 1  # of the file
GRAMMAR = 1  # of the sentences: another word anywhere below is another version
PER_CLASS = 10
FEWEST = 9  # sentences of a class that are enough: an answer of eight lines is asked for again
MIN_WORDS = 15
PREFIX = "a 8k real photo: "


@dataclass(frozen=True)
class Prompts:
    """The sentences of a data set's classes and where they come from (`source`, with a "kind")."""

    dataset: str
    source: Mapping[str, Any]
    of: Mapping[str, tuple[str, ...]]  # by class name, 9 or 10 each


# ---------------------------------------------------------------- what the generator is asked for


def choose(sentences: Sequence[str], classname: str, seed: int) -> str:
    """One of a class's sentences, fixed by (class, seed) on every machine and in every run."""
    if not sentences:
        raise UsageError(f"class {classname!r} has no sentences to choose from")
    return sentences[_number(classname, str(seed)) % len(sentences)]


def real_photo(sentence: str) -> str:
    """The generator's text for ImageNet-LT and iNaturalist (section 3.1)."""
    return PREFIX + sentence


def in_the_wild(common_name: str) -> str:
    """The generator's text for iWildCam (section 3.1)."""
    return f"a photo of {common_name} in the wild"


def _number(*words: str) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(words).encode()).digest()[:8], "big")


# ---------------------------------------------------------------- the grammar's phrases


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


# Where, by the kind of the class, outdoors, indoors or in water. Without a kind the place is a
# background only, which suits a fish, a cup and a castle alike.
_PLACES: dict[str | None, dict[str, tuple[str, ...]]] = {
    None: {
        "outdoors": _phrases("""against a wide open sky | with distant hills fading into haze |
        with calm water stretching out behind | against a softly blurred green background |
        with a low, empty horizon far behind | in front of weathered grey stone |
        with pale sand and smooth rocks behind | in front of dense dark foliage |
        with a faint line of trees far behind | with a rugged coastline in the distance |
        against a background of warm earth tones | with ripples of light and shade behind |
        with snowy peaks on the far horizon | against a deep blue, hazy backdrop""")
    },
    "animal": {
        "outdoors": _phrases("""in a quiet forest clearing | on a dry grassy plain |
        at the edge of a dense forest | beside a shallow stream | on a rocky hillside |
        in tall grass | on a dirt track between bushes | among ferns in damp woodland |
        on a sandy riverbank | near a muddy water hole | beside a fallen log |
        on open moorland | in a wide meadow | in low thorny scrub""")
    },
    "bird": {
        "outdoors": _phrases("""on a weathered fallen log | at the edge of a reed bed |
        on a rocky ledge above the sea | in short meadow grass | on a wet sandy beach |
        at the edge of a quiet pond | in an open stubble field | on a boulder beside a stream |
        on a grassy hillside | on a muddy lakeshore | on a gravel bank by a river |
        in a clearing among old trees | on a low stone wall | against a wide open sky""")
    },
    "aquatic": {
        "in water": _phrases("""in open blue water | over pale sand in clear water |
        near a rocky shore | just below a calm surface | in deep green water |
        beside a steep underwater rock face | among drifting seaweed | in a sheltered bay |
        over smooth stones in clear water | in a gentle current with rising bubbles |
        close to the bottom in clear water | in slightly cloudy water with drifting specks |
        in a wide, quiet lagoon | beneath gently breaking waves""")
    },
    "insect": {
        "outdoors": _phrases("""on a broad green leaf | on rough tree bark | on a bed of damp moss |
        on a slender plant stem | on a smooth grey pebble | on dry fallen leaves |
        on bare sandy soil | on an old wooden fence post | on a dew-covered blade of grass |
        on a lichen-covered rock | on crumbling dead wood | at the base of a stone wall |
        on a thin bare twig | on the dark soil of a garden bed""")
    },
    "plant": {
        "outdoors": _phrases("""in a quiet garden | in a forest clearing | on a grassy hillside |
        beside a stone path | at the edge of a meadow | near a slow stream |
        in a botanical garden | on a rocky slope | beside a country lane |
        in front of an old brick wall | along a wooden fence | on the bank of a pond |
        in damp, shady woodland | in an overgrown field""")
    },
    "food": {
        "indoors": _phrases("""on a plain white plate | on a rustic wooden table |
        on a dark slate board | on a marble kitchen counter | on a folded linen cloth |
        on a sheet of brown paper | on a small café table | on a woven bamboo mat |
        on a tiled worktop | on a simple metal tray | on a wooden chopping board |
        on a pale stone surface"""),
        "outdoors": _phrases("""on a checked picnic blanket | on a weathered garden table |
        on an open-air market stall"""),
    },
    "object": {
        "indoors": _phrases("""in a bright, empty room | against a plain white wall |
        on a smooth concrete floor | on a polished wooden floor | beside a tall window |
        in a tidy living room | against a plain grey studio backdrop | in a small workshop |
        in a quiet hallway | in a corner with bare plaster walls"""),
        "outdoors": _phrases("""on a stone terrace | on short mown grass | on a wooden porch |
        in a paved courtyard | beside a red brick wall"""),
    },
    "vehicle": {
        "outdoors": _phrases("""on wide open ground | at the edge of a large field |
        at a quiet waterfront | on an empty paved square | beside an old brick warehouse |
        with green hills in the background | in front of a city skyline | in a flat, dry desert |
        under a wide open sky | near a windswept headland | in a fenced industrial yard |
        on wet ground full of reflections | with a row of tall trees behind |
        in a remote mountain valley""")
    },
    "place": {
        "outdoors": _phrases("""under a wide open sky | beyond a field of tall grass |
        beyond a still lake | with low hills on the horizon | with a patch of mist in front |
        framed by dark foliage | with a line of distant trees behind | beyond wet, dark rocks |
        with wildflowers in the foreground | in a remote, empty landscape |
        on the far side of a valley | with a winding footpath in the foreground |
        behind a low stone wall | with bare branches in the foreground""")
    },
}
KINDS = tuple(kind for kind in _PLACES if kind)

# Season, hour and light, which must fit each other.
_TIMES: dict[str, tuple[str, ...]] = {
    "outdoors": _phrases("""on a clear spring morning in soft, low sunlight |
    at noon on a hot summer day under a hard, bright sun |
    late on an autumn afternoon in warm golden light |
    on a grey winter day beneath an even layer of cloud |
    at dusk in late summer in a pink and violet glow | just after a spring shower in clear light |
    at sunrise on a misty autumn day | on a cold winter morning in pale, frosty light |
    on a windy spring day beneath fast white clouds | on a summer evening with low sun behind |
    on a still autumn day in soft, shadowless light |
    on a bright winter afternoon in crisp, slanting sunlight |
    in the blue half-light before a summer sunrise | on a rainy autumn day in dull, even light"""),
    "indoors": _phrases("""on a spring morning with soft daylight from the left |
    at noon in summer with bright light falling from above |
    on an autumn afternoon with warm, low sun coming in | on a winter day in cool, even daylight |
    on a summer evening in fading golden light | late on a winter night in warm lamplight |
    on a rainy spring day in dim, grey light | early on an autumn morning in pale, hazy light |
    on a bright summer day with strong light from behind |
    on a dark winter afternoon in a single beam of light"""),
    "in water": _phrases("""in shafts of summer sunlight falling from above |
    in dim green light on a winter day | in bright turquoise light at noon in midsummer |
    in soft blue light early on a spring morning | in the golden glow of an autumn evening |
    in rippling patches of sunlight in late spring | in cold blue-grey winter light |
    in clear, even light on an overcast autumn day | in warm, low light near a summer sunset |
    in the last faint light of a winter afternoon"""),
}
_VIEWS = _phrases("""from the side | from slightly above | from a low angle | from straight ahead |
    from an oblique angle | from a high viewpoint | from eye level""")
# How a photographer calls the picture, and how far away that is.
_SHOTS = _phrases("a close-up | a detailed photo | a medium shot | a wide shot | a full view")
_DISTANCES = _phrases("""close up and filling the frame | near enough to show fine texture |
    at a medium distance with some space on every side |
    farther off with much of the surroundings in view | in full view from edge to edge""")
_ALONE = _phrases("all alone | alone in the scene | entirely alone")
_FORMS = (
    "{subject} {place}, pictured {alone} {time}, seen {view}, {distance}.",
    "{shot} of {subject} {place}, {alone} {time}, seen {view}.",
    "{time}, {subject} {place}, {alone}, seen {view}, {distance}.",
    "{subject} {place}, photographed {view} {time}, {alone}, {distance}.",
)


# ---------------------------------------------------------------- a class's noun phrase

_SPELT = frozenset("suv ufo usb uv".split())  # words without a vowel are spelt too
_LETTERS_WITH_AN = frozenset("aefhilmnorsx")  # said as "ay", "ef", "aitch", ...
_SAID_AS_YOU = re.compile(r"eu|ew|uni(?![dmn])|uk|ur[aeio]|us[ae]|ut[ei]|u\b|one\b|once\b|ouija")
_SILENT_H = re.compile(r"hour|honest|honou?r|heir")
_SINGULAR_S = re.compile(r"(us|ss|is|ceros|'s|’s)$|^(lens|canvas|gas|atlas|pampas|christmas|mars)$")
# Last words of names that take no article: masses, and plurals without an s.
_NO_ARTICLE = frozenset(
    "cattle people children men women mice geese teeth feet broccoli guacamole corn spaghetti "
    "cream dough bread rice water wine milk coffee sugar honey butter cheese meat beef pork "
    "tissue paper mail wool velvet seaweed plankton hay lumber wood sand snow ice grass moss algae "
    "furniture clothing jewelry jewellery cauliflower asparagus".split()
)
_ARTICLES = frozenset("a an the".split())
_LINKS = frozenset("of in on with from for".split())


def spoken(classname: str) -> str:
    """A class name as it is said: spaces for underscores, one at a time, nothing unprintable.

    Raises UsageError when nothing is left, or when it is no Unicode text.
    """
    printable = "".join(c if c.isprintable() else " " for c in classname.replace("_", " "))
    text = " ".join(printable.split())
    if not any(c.isalnum() for c in text) or any("\ud800" <= c <= "\udfff" for c in classname):
        raise UsageError(f"class name {classname!r} has no word in it, or is no Unicode text")
    return text


def noun_phrase(classname: str) -> str:
    """The name with "a" or "an"; as it is when it looks plural, or is a mass, or has an article."""
    name = spoken(classname)
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", _plain(name).lower()) or [name]
    links = [i for i, word in enumerate(words) if i and word in _LINKS]
    last = words[links[0] - 1 if links else -1]  # of "ear of corn" it is the ear
    plural = last.endswith("s") and len(last) > 3 and not _SINGULAR_S.search(last)
    if (words[0] in _ARTICLES and len(words) > 1) or plural or last in _NO_ARTICLE:
        return name
    return f"{'an' if _takes_an(name) else 'a'} {name}"


def _takes_an(name: str) -> bool:
    match = re.search(r"[^\W_]+", _plain(name))
    word = match[0] if match else ""
    low = word.lower()
    if low[:1].isdigit():
        return low.startswith("8") or low in ("11", "18")
    if len(word) == 1 or (word.isupper() and (low in _SPELT or not set(low) & set("aeiouy"))):
        return low[:1] in _LETTERS_WITH_AN
    if _SILENT_H.match(low):
        return True
    return low[:1] in set("aeiou") and not _SAID_AS_YOU.match(low)


def _plain(text: str) -> str:
    """Without accents, so that é counts as e."""
    parts = unicodedata.normalize("NFD", text)
    return "".join(c for c in parts if not unicodedata.combining(c))


# ---------------------------------------------------------------- the grammar


def scenes(classname: str, kind: str | None = None) -> tuple[str, ...]:
    """Ten different descriptions of scenes with this class as the only subject, >= 15 words each.

    They depend on the class and the kind alone. kind: one of KINDS, or None for what suits any.
    Raises UsageError for another kind, or a name without a word.
    """
    if kind is not None:
        one_of("scenes(kind=...)", kind, KINDS)
    return tuple(_scene(classname, number, kind) for number in range(PER_CLASS))


def grammar(
    dataset: str, classes: Iterable[str], kinds: Mapping[str, str] | None = None
) -> Prompts:
    """The grammar's sentences of every class; `kinds`: the kind of those classes where known."""
    known = kinds or {}
    of = {name: scenes(name, known.get(name)) for name in classes}
    return Prompts(dataset, {"kind": "grammar", "grammar": GRAMMAR}, of)


def _scene(classname: str, number: int, kind: str | None) -> str:
    """The place differs between all numbers of a class, the rest as often as there are choices."""
    name = spoken(classname)

    def pick(slot: str, options: tuple[str, ...]) -> str:
        return _order(name, slot, options)[number % len(options)]

    places = {place: air for air, some in _PLACES[kind].items() for place in some}
    place = pick("place", tuple(places))
    distance = pick("distance", _DISTANCES)
    words = {
        "subject": noun_phrase(classname),
        "place": place,
        "time": pick("time", _TIMES[places[place]]),
        "view": pick("view", _VIEWS),
        "distance": distance,
        "shot": _SHOTS[_DISTANCES.index(distance)],
        "alone": pick("alone", _ALONE),
    }
    text = pick("form", _FORMS).format(**words)
    return text[0].upper() + text[1:]


@lru_cache(maxsize=64)  # the ten sentences of a class share their orders
def _order(name: str, slot: str, options: tuple[str, ...]) -> list[str]:
    """Options in an order of the class's own; last those with a word of its name ("a sea" by the
    sea).
    """
    stems = [w.removesuffix("s") for w in name.lower().split() if len(w) > 2]

    def rank(option: str) -> tuple[bool, int]:
        echo = any(word.startswith(stem) for word in option.split() for stem in stems)
        return echo, _number(name, slot, option)

    return sorted(options, key=rank)


# ---------------------------------------------------------------- the file


def write(path: Path, prompts: Prompts) -> None:
    """Write the file of a data set, whole or not at all; DataError when it cannot be written."""
    value = {
        "version": VERSION,
        "dataset": prompts.dataset,
        "source": dict(prompts.source),
        "prompts": {name: list(texts) for name, texts in prompts.of.items()},
    }
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path, classes: Iterable[str] = (), dataset: str | None = None) -> Prompts:
    """The file of a data set, checked; all of `classes` must be in it.

    Raises DataError: no such file, damaged, another version or data set, a class that is missing
    or has not nine or ten texts.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the prompts {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the prompts {path} are damaged: {brief(error)}") from error
    if not isinstance(value, dict) or value.get("version") != VERSION:
        found = value.get("version") if isinstance(value, dict) else None
        raise DataError(f"the prompts {path} have version {found!r}; this reads {VERSION}")
    of, source, name = (value.get(field) for field in ("prompts", "source", "dataset"))
    if not (isinstance(of, dict) and isinstance(source, dict) and isinstance(name, str)):
        raise DataError(f"the prompts {path} are damaged: no dataset, source or prompts")
    if dataset is not None and name != dataset:
        raise DataError(f"the prompts {path} are those of {name!r}, not of {dataset!r}")
    for classname, texts in of.items():
        check(texts, f"the prompts {path}, class {classname!r}")
    missing = [c for c in classes if c not in of]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"the prompts {path} lack class {missing[0]!r}{more}")
    return Prompts(name, source, {c: tuple(texts) for c, texts in of.items()})


def check(texts: Any, where: str) -> None:
    """Raise DataError unless these are nine or ten texts with something in them."""
    if not isinstance(texts, list):
        raise DataError(f"{where}: not a list of texts but {type(texts).__name__}")
    if not FEWEST <= len(texts) <= PER_CLASS:
        raise DataError(f"{where}: {len(texts)} texts; there must be {FEWEST} or {PER_CLASS}")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: {text!r} is no text")
