"""Damage to files, by a generator of random numbers: bytes, values, and what is no file at all."""

import json
import os
import re
import socket
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

DEEP, LONG, WIDE = "@deep@", "@long@", "@wide@"
VALUES = (
    None, True, -1, 0, 1, 2, 10**9, 2**63, 10**309, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "\x1b[31m\r\n", "x" * 100_000, "\ud800", "../../../etc/passwd", "/dev/zero", "no\0name",
    [], [[]], {}, {"a": {}}, [1, "a", None], list(range(1000)), DEEP, LONG, WIDE, "2024-01-01",
)  # fmt: skip
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)
YAML = (
    BOMB, "[" * 20_000, "- " * 20_000, "{a: " * 5000, "&a [*a]", "a: *b", "a: !!python/name:os.x",
    "? [a]\n: 1", "a: 1\n---\nb: 1", "a: " + "9" * 5000, "\t", "a: 2001-99-99", "!!binary x",
    "<<: [*a]", "a: &a {<<: *a}", "%YAML 9.9\n---\na", "!!omap [a]", "!!set {a, b}", "0: 0o8",
    "a: .nan", "a: 0x" + "f" * 5000, "!!timestamp x", "!!int x", "!!float x", "!!pairs [a]",
)  # fmt: skip
TOML = (
    "a = " + "[" * 20_000, "a" + ".a" * 20_000 + " = 1", "a = " + "{b = " * 5000, "a = nan",
    "a = " + "9" * 5000, "a = 0x" + "f" * 5000, "[[a]]\n[a]", "a = 1979-99-99", 'a = "\\ud800"',
    "a = 1\na = 2", "a = '\x1b'", "a = " + "1" * 310, 'a = "' + "x" * 100_000 + '"', "[" * 1000,
)  # fmt: skip
CELLS = (
    "", '"', "9" * 310, "-1", "nan", "1e9", "\x00", "\x1b[31m", "x" * 200_000, "é" * 100, "\ufeff",
    "../../../etc/passwd", "/dev/zero", "=1+1", "a\nb", '"a\nb"', "\r", ",", " ", "０", "1_000",
)  # fmt: skip
PARTS = (
    "CE", "BS", "DisCL", "FLYP", "LP-FT", "WE", "LDMLR", "CUDA", "ALIA", "ce", "Zero-Shot", "x",
    "+", "++", "(", ")", "=", ",", "-" * 400, "9" * 310, "None", "step=None", "scale=", "levels=",
    "True", "1e400", "0x" + "f" * 300, "'", '"', "[" * 90, "]" * 90, "(" * 90, "{1}", "lambda: 0",
    "\\", "\x00", "\n", "\x1b", "\ud800", "**{}", "a" * 300, "print(1)", "1j", "b'x'", "f'{1}'",
    "CE+" * 300, "control=True", "curriculum='fixed'", "levels=(0.5,)", "...", ":=", "#", "é",
)  # fmt: skip


def damage(form: str, content: bytes, rng: Random) -> bytes:
    """The content, damaged as its form allows."""
    ways: dict[str, list[Callable[[bytes, Random], bytes]]] = {
        "json": [values], "jsonl": [lines_of_values], "yaml": [snippets(YAML)], "csv": [cells],
        "toml": [snippets(TOML)], "lines": [cells], "picture": [sizes], "expression": [expression],
    }  # fmt: skip
    special = ways.get(form, [])
    if form == "expression":
        return special[0](content, rng)
    return rng.choice([octets, *special, *special])(content, rng)


def octets(content: bytes, rng: Random) -> bytes:
    """Bits flipped, blocks zeroed, cut, repeated or put in."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not data:
            break
        at, length = rng.randrange(len(data)), rng.choice((1, 2, 8, 64, 1000))
        match rng.randrange(7):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at : at + length] = bytes(min(length, len(data) - at))
            case 3:
                del data[at:]
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                data[at:at] = rng.randbytes(length)
    return bytes(data)


def values(content: bytes, rng: Random) -> bytes:
    """A JSON text with one or two values replaced, taken away, or given other names."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        value = _changed(value, rng)
    return _spelt(value)


def lines_of_values(content: bytes, rng: Random) -> bytes:
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = values(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def _spelt(value: Any) -> bytes:
    text = json.dumps(value)
    text = text.replace(f'"{DEEP}"', "[" * 20_000 + "]" * 20_000)
    text = text.replace(f'"{LONG}"', "9" * 5000).replace(f'"{WIDE}"', f"[{'0,' * 99_999}0]")
    return text.encode()


def _changed(value: Any, rng: Random) -> Any:
    """One value within, or all of it, replaced."""
    inner: list[Any] = []
    if isinstance(value, dict | list):
        inner = list(value if isinstance(value, dict) else range(len(value)))
    if not inner or rng.random() < 0.15:
        return rng.choice(VALUES)
    key = rng.choice(inner)
    match rng.randrange(12):
        case 0:
            del value[key]
        case 1 if isinstance(value, dict):
            value[rng.choice(("", "x", "\x1b", "auto_map", "class", "x" * 1000))] = value.pop(key)
        case 2 if isinstance(value, list):
            value.append(value[key])
        case _:
            value[key] = _changed(value[key], rng)
    return value


def snippets(all_of: tuple[str, ...]) -> Callable[[bytes, Random], bytes]:
    """A line replaced by one of these texts, a value by one, or all of it."""

    def change(content: bytes, rng: Random) -> bytes:
        lines = content.decode().split("\n")
        at, snippet = rng.randrange(len(lines)), rng.choice(all_of)
        name, mark, _ = (
            re.split(r"([:=] ?)", lines[at], maxsplit=1)
            if re.search("[:=]", lines[at])
            else (lines[at], "", "")
        )
        match rng.randrange(5):
            case 0:
                return snippet.encode(errors="surrogatepass")
            case 1:
                lines[at] = snippet
            case 2:
                del lines[at]
            case _:
                value = rng.choice(VALUES)
                lines[at] = f"{name}{mark}{_spelt(value).decode()}"
        return "\n".join(lines).encode(errors="surrogatepass")

    return change


def cells(content: bytes, rng: Random) -> bytes:
    """A cell or word replaced, a line taken away or repeated."""
    lines = content.decode().split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[at]] * rng.choice((1, 3, 1000))
        case _:
            parts = re.split("([, ])", lines[at])
            parts[rng.randrange(len(parts))] = rng.choice(CELLS)
            lines[at] = "".join(parts)
    return "\n".join(lines).encode()


def sizes(content: bytes, rng: Random) -> bytes:
    """A picture that says it is of another size."""
    data = bytearray(content)
    width, height = (rng.choice((0, 1, 7, 300, 2800, 5000, 16_383, 20_000, 65_500)) for _ in "wh")
    if data[:3] == b"\xff\xd8\xff":
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif data[:4] == b"\x89PNG":
        import zlib

        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif data[:3] == b"GIF":
        place = rng.choice((6, data.find(b",") + 5))
        data[place : place + 4] = struct.pack("<HH", width, height)
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<ii", width, rng.choice((1, -1)) * height)
    elif data[12:16] == b"VP8L":
        bits = (max(width, 1) - 1 & 0x3FFF) | (max(height, 1) - 1 & 0x3FFF) << 14
        data[21:25] = struct.pack("<I", bits | (data[24] >> 4) << 28)
    elif data[12:16] == b"VP8 ":
        data[26:30] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
    return bytes(data)


def expression(content: bytes, rng: Random) -> bytes:
    """Words in any order, or terms with values for arguments that they have."""
    if rng.random() < 0.4:
        words = [rng.choice(PARTS) for _ in range(rng.choice((1, 3, 6, 10)))]
        return "".join(words).encode(errors="ignore")
    terms = ["CE"] if rng.random() < 0.7 else []
    for _ in range(rng.choice((1, 1, 2))):
        name, names = rng.choice(_terms())
        some = rng.sample(names, min(len(names), rng.choice((1, 1, 2, 3))))
        inside = ", ".join(f"{argument}={rng.choice((*PARTS, *NUMBERS))}" for argument in some)
        terms.append(f"{name}({inside})")
    return "+".join(terms).encode(errors="ignore")


NUMBERS = (
    "0 1 2 -1 3.5 1e-300 1e30 -1e30 10000000 1000000000000000000 0.1 (0.5,) (1,2,3) () (((1,),),) "
    "(0.5,0.25) [1] 'a' 'released' 'fixed' 'none' 'adaptive' True False None (None,) ('a',)"
).split()


@cache
def _terms() -> list[tuple[str, list[str]]]:
    """Names of terms, and of the arguments that each of them has."""
    from harness.core import registry
    from harness.methods.arguments import declared

    modules = [registry.find("baselines", name) for name in registry.names("baselines")]
    return [(m.NAME, [a.name for a in declared(m.term, m.NAME)]) for m in modules]


# ---------------------------------------------------------------- what is no file


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as some:
            some.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


KINDS: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "empty": Path.touch,
    "folder": Path.mkdir,
    "pipe": _pipe,
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "2 GiB of zeros": _sparse,
}
