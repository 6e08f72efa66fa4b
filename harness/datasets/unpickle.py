"""Reads the pickles of CIFAR without running anything that is in them.

A pickle is a program. The official files need four of its words: the reconstruction of a numpy
array (under its old and its new module name), numpy's dtype, `_codecs.encode` (how Python 3 says
bytes in protocol 2) and plain containers. Each is answered by a stand-in below, so that the file
never reaches numpy's or Python's own constructors; every other name is refused.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from harness.core import regular_files
from harness.core.errors import LIBRARY_ERRORS, DataError, brief, quoted

LARGEST_MIB = 1024
# What a damaged pickle raises, besides UnpicklingError (documentation of `pickle`, and trials).
_DAMAGED = (pickle.UnpicklingError, MemoryError, *LIBRARY_ERRORS)


class _Refused(Exception):
    """The pickle names or holds something that a CIFAR file does not."""


class _Dtype:
    """Stands for numpy.dtype; only unsigned bytes occur in the files."""

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("latin1") if isinstance(name, bytes) else name
        if text not in ("u1", "|u1", "uint8"):
            raise _Refused(f"an array of type {quoted(text)}, expected uint8 ('u1')")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: nothing to keep for single bytes."""


class _Array:
    """Stands for a numpy array until its state has been checked."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise _Refused("an array without the usual five parts of state")
        _, shape, dtype, fortran, raw = state
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes) and _is_shape(shape)):
            raise _Refused("an array whose shape, type or bytes are not what numpy writes")
        if math.prod(shape) != len(raw):
            raise _Refused(f"an array of shape {quoted(shape)} with {len(raw)} bytes")
        order = np.frombuffer(raw, dtype=np.uint8)
        self.value = order.reshape(shape, order="F" if fortran else "C")


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)


def _reconstruct(kind: object, shape: object, _code: object) -> _Array:
    if kind is not _Array:
        raise _Refused("an array of a class other than numpy.ndarray")
    return _Array()


def _encode(text: object, codec: object = "latin1") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", b"latin1"):
        raise _Refused(f"bytes in the encoding {quoted(codec)}, expected 'latin1'")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,  # how protocol 2 says b""
    ("builtins", "bytes"): _empty_bytes,
}


def _set_items(table: dict[Any, Any], items: list[Any]) -> None:
    """Hashing other keys than these can take for ever: a tuple of tuples of tuples, each twice."""
    for name in items[::2]:
        if type(name) not in (bytes, str, int):
            raise _Refused(f"a {type(name).__name__} as a name, expected bytes")
    table.update(zip(items[::2], items[1::2], strict=True))


def _begin_table(reader: Any) -> None:
    items = reader.pop_mark()
    table: dict[Any, Any] = {}
    _set_items(table, items)
    reader.append(table)


def _extend_table(reader: Any) -> None:
    items = reader.pop_mark()
    _set_items(reader.stack[-1], items)


def _add_to_table(reader: Any) -> None:
    items = [reader.stack.pop(-2), reader.stack.pop()]
    _set_items(reader.stack[-1], items)


def _find_global(reader: Any) -> None:
    lines = reader.readline(), reader.readline()
    if not all(line.endswith(b"\n") for line in lines):
        raise EOFError("ends within a name")
    reader.append(reader.find_class(*(line[:-1].decode("utf-8") for line in lines)))


def _refuse_sets(reader: Any) -> None:
    raise _Refused("a set, expected plain lists and dictionaries")


class _Reader(pickle._Unpickler):
    """Python's reader that is written in Python: no number in a file makes it take memory."""

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.GLOBAL[0]: _find_global,
        pickle.DICT[0]: _begin_table,
        pickle.SETITEM[0]: _add_to_table,
        pickle.SETITEMS[0]: _extend_table,
        pickle.EMPTY_SET[0]: _refuse_sets,
        pickle.FROZENSET[0]: _refuse_sets,
        pickle.ADDITEMS[0]: _refuse_sets,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(
                f"the name {quoted(f'{module}.{name}')}, expected numpy arrays and plain containers"
            )
        return _ADMITTED[module, name]


def load(path: Path) -> dict[bytes, Any]:
    """The dictionary in the pickle at `path`, keys as bytes, arrays as read-only uint8.

    DataError for a file that is missing, truncated, no dictionary, or holds any other name.
    """
    regular_files.refuse_other_kinds(path, "a CIFAR pickle", LARGEST_MIB)
    try:
        with path.open("rb") as file:
            content = _read(path, file)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected a CIFAR pickle there") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(f"{path}: holds a {kind}, expected a dictionary with bytes keys")
    return {name: v.value if isinstance(v, _Array) else v for name, v in content.items()}


def _read(path: Path, file: IO[bytes]) -> Any:
    try:
        # Files written by Python 2 hold byte strings where Python 3 would read text.
        return _Reader(file, encoding="bytes").load()
    except _Refused as refused:
        raise DataError(f"{path}: refused, the pickle holds {refused}") from None
    except _DAMAGED as error:
        size = path.stat().st_size
        raise DataError(
            f"{path}: damaged or truncated ({size} bytes, {type(error).__name__}: "
            f"{brief(error, 60)}), expected a complete CIFAR pickle"
        ) from error
