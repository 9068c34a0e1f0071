"""Ids. One that replay needs is derived from its inputs, so that the same message makes the same id twice."""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import blake2b

MOST_NAME = 128
NAME = f"1 to {MOST_NAME} of A-Z a-z 0-9 . _ : @ + -, a letter or digit first"
"""What a name may be that people give and that stands in addresses, topics and files; 128 is OpenADR 3's own limit."""
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
    digest = blake2b(digest_size=15)
    for part in (kind, *parts):
        raw = (
            part if isinstance(part, bytes) else repr(part).encode() if isinstance(part, float) else str(part).encode()
        )
        digest.update(f"{type(part).__name__}:{len(raw)}:".encode())
        digest.update(raw)
    return f"{kind}:{b32encode(digest.digest()).decode().lower()}"
