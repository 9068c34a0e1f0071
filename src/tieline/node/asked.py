"""What a demonstration may be asked for, checked at once and before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

from tieline.errors import ConfigError
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

MOST_SPEED, MOST_SPEED_ON_WIRE = 600.0, 60.0
LEAST_DEVICES, MANY_DEVICES, MOST_DEVICES = 40, 200_000, 1_000_000
MOST_ON_WIRE = 5_000
"""The most that kept every promise over real sockets at 60 times the wall's speed, on two cores: there everything
shares one loop with the wall's clock. With 10,000 one promise broke: no change of the pool's position was recorded."""
LEAST_NS, WHOLE_NS = HOUR_NS, 70 * MINUTE_NS
SCENARIO_NAMES = ("heatwave", "cloud", "comms-loss")
IsoKind = Literal["prices", "clearing"]
"""Who clears what a demonstration offers: real prices, or a case with others' offers, whose prices react."""
ISO_KINDS: tuple[IsoKind, ...] = get_args(IsoKind)
_UNITS = {"s": SECOND_NS, "m": MINUTE_NS, "min": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS}


class Unplayable(ConfigError):
    """What was asked for has faults; `faults` holds each."""

    def __init__(self, faults: list[str]) -> None:
        """Join the faults to one line."""
        super().__init__("; ".join(faults))
        self.faults = faults


def parse_duration(text: str, option: str = "--for") -> int:
    """Return a duration such as `1d`, `36h` or `90m` in ns.

    Raises:
        ConfigError: Not a duration, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"{option} {text!r}: give a number and s, m, h or d, such as 1d")
    return int(float(match[1]) * _UNITS[match[2]])


def require_length(length_ns: int) -> None:
    """Do nothing where a story can be so long (ns). Raises ConfigError where it is too short or too long."""
    if length_ns < LEAST_NS:
        raise ConfigError(
            f"--for {length_ns / MINUTE_NS:g}m: give {LEAST_NS // MINUTE_NS}m or more ({WHOLE_NS // MINUTE_NS}m for a "
            "settled hour): the story needs an auction, dispatch, and a limit that lasts"
        )
    if length_ns > DAY_NS:
        raise ConfigError(f"--for {length_ns / HOUR_NS:g}h: give 1d at most: a story is one market day")


def require_devices(devices: int, on_wire: bool = False) -> None:
    """Do nothing where a territory can have so many. Raises ConfigError for too few, or more than can be played."""
    if devices < LEAST_DEVICES:
        raise ConfigError(f"--devices {devices}: give {LEAST_DEVICES} or more, so that every kind has its place")
    if devices > MOST_DEVICES:
        raise ConfigError(f"--devices {devices}: give {MOST_DEVICES} at most: of more nothing was ever measured")
    if on_wire and devices > MOST_ON_WIRE:
        raise ConfigError(
            f"--devices {devices}: give {MOST_ON_WIRE} at most with --wire: on wall time one loop is too slow for "
            "more; without --wire the clock waits for it"
        )


def require_scenario(name: str) -> None:
    """Do nothing where there is a scenario of that name. Raises ConfigError naming those that exist."""
    if name not in SCENARIO_NAMES:
        raise ConfigError(f"scenario {name!r} is unknown: give one of {', '.join(SCENARIO_NAMES)}")


def require_iso(name: str) -> None:
    """Do nothing where there is an ISO of that name. Raises ConfigError naming those that exist."""
    iso_kind(name)


def iso_kind(name: str) -> IsoKind:
    """Return the ISO of a name. Raises ConfigError naming those that exist."""
    for kind in ISO_KINDS:
        if kind == name:
            return kind
    raise ConfigError(f"--iso {name!r}: give one of {', '.join(ISO_KINDS)}")


def speed_of(devices: int) -> float:
    """Return how many times as fast as the clock so many devices live where nobody says it: as two cores keep up."""
    return 60.0 if devices <= MANY_DEVICES else 20.0


def require_speed(speed: float, most: float) -> None:
    """Do nothing where the clock may run so many times as fast. Raises ConfigError naming the bounds."""
    if not 0.1 <= speed <= most:
        raise ConfigError(f"--speed {speed:g}: give 0.1 to {most:g}: faster than that answers can't keep up")


def require_playable(
    devices: int,
    scenario: str,
    duration: str | None,
    speed: float | None,
    most_speed: float,
    on_wire: bool = False,
    iso: str = "prices",
) -> None:
    """Do nothing where such a demonstration can be played.

    Args:
        devices: How many.
        scenario: Its name.
        duration: Its length, such as `90m`; None: for as long as it is watched.
        speed: How many times as fast as the wall clock; None: on virtual time.
        most_speed: The highest that there is.
        on_wire: Whether the story is played over real sockets on wall time.
        iso: Who clears.

    Raises:
        Unplayable: Naming all that is wrong with it.
    """
    checks: list[Callable[[], None]] = [lambda: require_devices(devices, on_wire), lambda: require_scenario(scenario)]
    checks.append(lambda: require_iso(iso))
    if duration is not None:
        checks.append(lambda: require_length(parse_duration(duration)))
    if speed is not None:
        checks.append(lambda: require_speed(speed, most_speed))
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise Unplayable(faults)
