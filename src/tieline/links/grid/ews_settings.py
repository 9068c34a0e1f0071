"""How a market's web service in the manner of ERCOT's is reached, and what it calls our pools."""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from msgspec import Struct

from tieline.errors import ConfigError


class EwsPool(Struct, frozen=True, forbid_unknown_fields=True):
    """What the market calls a pool: its resource, the settlement point that its energy is paid at, and how it is sold.

    `energy-only`: energy of the day ahead at the settlement point, from no resource in particular. `three-part`: an
    offer of the resource itself, whose start and least output cost nothing.
    """

    resource: str
    settlement_point: str
    energy: Literal["energy-only", "three-part"] = "energy-only"


class EwsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the market is reached, who we are to it, and whom we believe.

    `market`: the common name that its signing certificate bears. `declined`: whether an instruction that we don't
    follow is left unacknowledged, so that the market's operator asks, or answered with our reason. `answers`: whether
    what it answers must be signed, or is believed as it comes over TLS; a notice must always be.
    """

    url: str
    zone: str
    qse: str
    pools: dict[str, EwsPool]
    market: str = "ERCOT"
    user_id: str = ""
    poll_s: float = 10.0
    awards_s: float = 60.0
    accept_s: float = 20.0
    most_skew_s: float = 5.0
    read_tries: int = 3
    plan_lead_s: float = 3600.0
    declined: Literal["unacknowledged", "answered"] = "unacknowledged"
    answers: Literal["signed", "tls"] = "signed"


def check_ews(settings: EwsSettings) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    check_address(settings.url, "$.ews.url")
    zone_of(settings.zone, "$.ews.zone")
    for name in ("qse", "market"):
        if not getattr(settings, name).strip():
            raise ConfigError(f"$.ews.{name}: give the name that the market knows")
    for part in ("resource", "settlement_point"):
        given = [getattr(pool, part) for pool in settings.pools.values()]
        if not given or not all(given) or (part == "resource" and len(set(given)) != len(given)):
            raise ConfigError(f"$.ews.pools: give each pool the market's {part} of it, no resource twice")
    for name in ("poll_s", "awards_s", "accept_s", "plan_lead_s"):
        if not 0 < getattr(settings, name) <= 86_400:
            raise ConfigError(f"$.ews.{name} = {getattr(settings, name):g}: give above 0 to 86400 s")
    if settings.read_tries < 1:
        raise ConfigError(f"$.ews.read_tries = {settings.read_tries}: give 1 or more")


def check_address(url: str, path: str) -> None:
    """Refuse a URL that is neither https nor this machine's own. Raises ConfigError naming the path."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{path}: names a user or password, which would stand in every log: use `tls`")
    if not _has_port(parts):
        raise ConfigError(f"{path} = {url!r}: give a port of 1 to 65535 after the colon, or no colon")
    is_here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
        raise ConfigError(f"{path} = {url!r}: give https, or http to this machine alone")


def _has_port(parts: SplitResult) -> bool:
    """Return whether what stands behind a host's colon is a port; RFC 3986 lets it be nothing, which nobody means."""
    try:
        return parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:  # no number, or beyond 65535
        return False


def zone_of(name: str, path: str) -> ZoneInfo:
    """Return a time zone. Raises ConfigError naming the path."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{path} = {name!r}: give an IANA zone such as America/Chicago") from None
