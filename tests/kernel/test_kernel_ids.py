"""Ids are blake2b digests in base32, and stay what they were in journals that are there."""

from base64 import b32encode
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from tieline.ids import derive

PART = st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.binary(max_size=30))


@given(st.text(max_size=10), st.lists(PART, max_size=5))
def test_an_id_is_the_base32_of_a_digest_of_its_framed_parts(kind: str, parts: list[str | int | float | bytes]) -> None:
    """RFC 4648, 6, in small letters; each part is framed by its type and length."""
    digest = blake2b(digest_size=15)
    for part in (kind, *parts):
        if isinstance(part, bytes):
            raw = part
        else:
            raw = (repr(part) if isinstance(part, float) else str(part)).encode()
        digest.update(f"{type(part).__name__}:{len(raw)}:".encode() + raw)
    assert derive(kind, *parts) == f"{kind}:{b32encode(digest.digest()).decode().lower()}"


def test_an_id_of_a_journal_that_is_there_is_made_again() -> None:
    assert derive("claim", "award:7", 3) == "claim:rnlbsj6wmhj526numode6cuy"
