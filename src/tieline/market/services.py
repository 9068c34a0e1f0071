"""Which services may be paid beside each other for the same kWh of the same meter, as data."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sold, and beside which others it may be paid for the same kWh."""

    says: str
    source: str
    certainty: str
    beside: tuple[str, ...]


@cache
def services() -> dict[str, Service]:
    """Return all services by name. Raises ConfigError naming a row that is none, or that goes one way only."""
    text = (files("tieline.market") / "rules" / "services.toml").read_text(encoding="utf-8")
    try:
        found = msgspec.convert(tomllib.loads(text), dict[str, Service])
    except msgspec.ValidationError as error:
        raise ConfigError(f"services.toml: {error}") from error
    for name, one in found.items():
        for other in one.beside:
            if other == name or other not in found or name not in found[other].beside:
                raise ConfigError(f"services.toml: {name}.beside: {other!r}: give another service that names it, too")
    return found


def require_service(name: str) -> None:
    """Do nothing for a service of the table. Raises ConfigError naming those that there are."""
    if name not in services():
        raise ConfigError(f"--service {name!r}: give one of {', '.join(services())}")


def may_be_paid_beside(one: str, other: str) -> bool:
    """Return whether two services may both be paid for the same kWh; a service never beside itself.

    >>> may_be_paid_beside("energy", "capacity"), may_be_paid_beside("energy", "energy")
    (True, False)
    """
    return one in services() and other in services()[one].beside
