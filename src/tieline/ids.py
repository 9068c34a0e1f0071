"""Ids. One that replay needs is derived from its inputs, so that the same message makes the same id twice."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b


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
