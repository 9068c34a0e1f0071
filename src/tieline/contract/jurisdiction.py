"""Jurisdictions: what each code of a place means, and who goes by which standard."""

from __future__ import annotations

from functools import cache

from msgspec import Struct

from tieline.contract.strict import Name, shipped_rules


class Jurisdiction(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that rules and locations name; `standard` is ISO 3166-1 or -2, or `ours` for an area across states."""

    code: Name
    name: str
    standard: str
    says: str = ""


@cache
def jurisdictions() -> dict[str, Jurisdiction]:
    """Return those that are known, by code; one that is not here lets nobody serve."""
    return {one.code: one for one in shipped_rules("jurisdictions.toml", Jurisdiction)}
