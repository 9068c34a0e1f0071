"""Dangerous acts of people need two of them: the desk's own rule, whatever screen or interface asks.

The console keeps an act until a second person confirms it; the desk takes it only with both names.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tieline.resource.claim import Refusal
from tieline.resource.level import Level

GROUP_DEVICES, FLEET_SHARE, LEAST_DEVICES = 1_000, 0.1, 250
RULE = "two people"


class TwoPeople(Struct, frozen=True, forbid_unknown_fields=True):
    """From which size on an act of a person needs a second one.

    It does from `devices` on, and from `fleet_frac` of the fleet on where that is `least_devices` or more.
    """

    devices: int = GROUP_DEVICES
    fleet_frac: float = FLEET_SHARE
    least_devices: int = LEAST_DEVICES

    def why(self, devices: int, fleet: int) -> str:
        """Return why an act on so many of a fleet's devices needs a second person; empty: it needs none."""
        if devices >= self.devices:
            return f"it touches {devices} devices; from {self.devices} on two people decide"
        if devices >= self.least_devices and devices >= self.fleet_frac * fleet:
            share = f"{self.fleet_frac:.0%} of the fleet"
            return f"it touches {devices} of {fleet} devices; from {share} on two people decide"
        return ""


BY_SIZE = TwoPeople()
SCREENS = ("console",)
"""Sources behind which people sit, whatever principal they act as."""


def lacks_second(
    people: Sequence[str], level: Level, devices: int, fleet: int, by_size: TwoPeople = BY_SIZE
) -> Refusal | None:
    """Return the refusal of a person's ask that needs two and has one, else None: by size, or at levels 1 and 2."""
    why = "" if level > Level.GRID_EMERGENCY else f"a claim of level {int(level)} by a person needs two"
    why = why or by_size.why(devices, fleet)
    return missing(people, why) if why else None


def missing(people: Sequence[str], why: str) -> Refusal | None:
    """Return a refusal for the reason given unless two different people are named."""
    named = {name.strip() for name in people if name.strip()}
    if len(named) >= 2:
        return None
    return Refusal(why, "people", ", ".join(sorted(named)) or "nobody", "two different people", rule=RULE)


def names_in(by: str) -> tuple[str, ...]:
    """Return the people that a signature names.

    >>> names_in("ada with bo")
    ('ada', 'bo')
    """
    return tuple(by.split(" with "))
