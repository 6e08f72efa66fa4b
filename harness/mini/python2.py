"""Pickles as Python 2 wrote them, in which CIFAR is distributed.

A string of Python 2 is bytes or text, as the reader asks for (`encoding="bytes"` or "latin1");
bytes that Python 3 pickles are always bytes, and readers of the official files fail on them.
"""

from __future__ import annotations

import struct

import numpy as np

# Opcodes of protocol 2: see the standard library's pickletools.
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
_UINT8 = (
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def dumps(value: object) -> bytes:
    """Pickle of nested dictionaries, lists, bytes, integers of 32 bits and arrays of uint8.

    Raises TypeError for anything else. Equal values give equal bytes under every version of
    Python and numpy.
    """
    return b"\x80\x02" + _dump(value) + b"."


def _dump(value: object) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_dump(k) + _dump(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_dump, value)) + b"e"
    if isinstance(value, bytes):
        short = len(value) < 256
        return (b"U" if short else b"T") + struct.pack("B" if short else "<i", len(value)) + value
    if type(value) is int:
        return b"J" + struct.pack("<i", value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        shape = b"(" + b"".join(map(_dump, value.shape)) + b"t"
        return _ARRAY + b"(K\x01" + shape + _UINT8 + b"\x89" + _dump(value.tobytes()) + b"tb"
    raise TypeError(f"no pickle of a {type(value).__name__}")
