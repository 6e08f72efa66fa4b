"""Class names in English sentences: as they are spoken, and with their article."""

from __future__ import annotations

import re
import unicodedata

from harness.core.errors import UsageError, quoted

_SPELT = frozenset("suv ufo usb uv".split())  # words without a vowel are spelt too
_LETTERS_WITH_AN = frozenset("aefhilmnorsx")  # spoken as "ay", "ef", "aitch", ...
_SOUNDS_AS_YOU = re.compile(r"eu|ew|uni(?![dmn])|uk|ur[aeio]|us[ae]|ut[ei]|u\b|one\b|once\b|ouija")
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
        raise UsageError(f"class name {quoted(classname)} has no word in it, or is no Unicode text")
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
    return low[:1] in set("aeiou") and not _SOUNDS_AS_YOU.match(low)


def _plain(text: str) -> str:
    """Without accents, so that é counts as e."""
    parts = unicodedata.normalize("NFD", text)
    return "".join(c for c in parts if not unicodedata.combining(c))
