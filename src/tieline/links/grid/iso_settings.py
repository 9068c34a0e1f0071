"""Settings of the link to an ISO's dispatch web service."""

from __future__ import annotations

from msgspec import Struct

from tieline.errors import ConfigError
from tieline.links.grid.ews_settings import check_address


class IsoSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the ISO is reached, and what it calls our pools (pool -> its resource)."""

    url: str
    zone: str
    pools: dict[str, str]
    poll_s: float = 5.0
    awards_s: float = 60.0
    overlap: int = 16
    read_tries: int = 3
    most_skew_s: float = 2.0


def check_iso(settings: IsoSettings) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    check_address(settings.url, "$.iso.url")
    if not settings.pools or len(set(settings.pools.values())) != len(settings.pools):
        raise ConfigError("$.iso.pools: give each pool the ISO's name of it, no name twice")
    for name in ("poll_s", "awards_s"):
        if not 0 < getattr(settings, name) <= 86_400:
            raise ConfigError(f"$.iso.{name} = {getattr(settings, name):g}: give above 0 to 86400 s")
    if settings.overlap < 0:
        raise ConfigError(f"$.iso.overlap = {settings.overlap}: give 0 or more")
