"""What all facts of the desk are: frozen structs, by whose name a journal knows them."""

from __future__ import annotations

from msgspec import Struct


class Fact(Struct, frozen=True, tag=True):
    """Anything that the desk records; the struct's name is its kind in the journal."""
