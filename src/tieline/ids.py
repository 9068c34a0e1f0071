"""Ids. One that replay needs is derived from its inputs, so that the same message makes the same id twice."""

from __future__ import annotations

import re
from hashlib import blake2b

MOST_NAME = 128
NAME = f"1 to {MOST_NAME} of A-Z a-z 0-9 . _ : @ + -, a letter or digit first"
"""What a name may be that people give and that stands in addresses, topics and files; 128 is OpenADR 3's own limit."""
_SIZE = 15  # bytes: 24 letters, none of them padding
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)
_SHIFTS = tuple(range(8 * _SIZE - 10, -1, -10))
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@+-]{{0,{MOST_NAME - 1}}}", re.ASCII)


def is_name(text: str) -> bool:
    """Return whether a text can name a resource, a client or a peer.

    >>> is_name("battery-1"), is_name("b 1/../x"), is_name("")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def derive(kind: str, *parts: str | int | float | bytes) -> str:
    """Return the id of a `kind` made from `parts`: the same parts, the same id.

    Every part is framed by its type and length, so that ("ab", "c") and ("a", "bc") differ.

    >>> derive("claim", "award:7", 3) == derive("claim", "award:7", 3)
    True
    """
    framed = list[bytes]()
    for part in (kind, *parts):
        raw = (
            part
            if isinstance(part, bytes)
            else repr(part).encode()
            if isinstance(part, float)
            else str(part).encode(errors="surrogatepass")  # anybody's words have an id, also those no record holds
        )
        framed += (f"{type(part).__name__}:{len(raw)}:".encode(), raw)
    return f"{kind}:{_base32(blake2b(b''.join(framed), digest_size=_SIZE).digest())}"


def _base32(digest: bytes) -> str:
    """Return a digest of `_SIZE` bytes in the small letters of RFC 4648, 6: two at a time, as each beat makes hundreds.

    >>> _base32(bytes(15)), _base32(bytes([255] * 15))
    ('aaaaaaaaaaaaaaaaaaaaaaaa', '777777777777777777777777')
    """
    number = int.from_bytes(digest, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
