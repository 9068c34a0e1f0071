"""Device profiles: what a kind of device measures, what it can be told, within which limits, and who keeps its timer.

A profile is a TOML file. Unknown settings and values that clash are refused with their path and the limit.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.point import points


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What no command may cross: shares of the nameplate, temperatures (degC), state of charge (0 to 1)."""

    inject_frac: float = 1.0
    absorb_frac: float = 1.0
    soc_low_frac: float = 0.0
    soc_high_frac: float = 1.0
    setpoint_low_c: float = -math.inf
    setpoint_high_c: float = math.inf


class Hold(Struct, frozen=True, forbid_unknown_fields=True):
    """Times of a device (s). They outrank every claim but the safety ones (design 3, R12).

    `timer` says who falls back when a command runs out: the device by itself, or our link for it. `settle_s` is how
    long the power may take to follow.
    """

    timer: Literal["device", "link"]
    settle_s: float
    min_on_s: float = 0.0
    min_off_s: float = 0.0


class Near(Struct, frozen=True, forbid_unknown_fields=True):
    """How near an observed power must be to count as what was asked: the larger of the two."""

    power_w: float
    frac: float


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of device.

    `told_by`: an active power, a switch, or an offset of its temperature. `offset_c` and `mode` are the temperature's.
    `also` are the kinds beside its own that a device of this profile may be registered as.
    `retries` is how often we write again when somebody else changed what we set: never more than once, and never
    against an occupant.
    """

    name: str
    says: str
    kind: Kind
    told_by: Literal["power", "switch", "temperature"]
    measures: tuple[str, ...]
    hold: Hold
    near: Near
    limits: Limits = Limits()
    mode: Literal["", "cool", "heat"] = ""
    offset_c: float = 0.0
    retries: int = 0
    over: tuple[Literal["sunspec", "mqtt"], ...] = ()
    also: tuple[Kind, ...] = ()

    @property
    def serves(self) -> frozenset[Kind]:
        """The kinds of resource that a device of this profile can be."""
        return frozenset((self.kind, *self.also))

    @property
    def draws_up_to_set(self) -> bool:
        """Whether what it is told is the most that it draws: a car takes what it needs, and no more than that."""
        return self.kind is Kind.EV_CHARGER

    @property
    def is_switched(self) -> bool:
        """Whether it can be told no more than on or off: an offset of a temperature stops it too."""
        return self.told_by != "power"


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile in a TOML text.

    Raises:
        ConfigError: Not TOML, an unknown setting, or values that clash; the path is named.
    """
    where = f"profile {name}"
    try:
        profile = msgspec.convert({"name": name, **tomllib.loads(text)}, Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{where}: {error}") from error
    for path, value, limit in _clashes(profile):
        raise ConfigError(f"{where}: {path} = {value}: {limit}")
    return profile


def _clashes(profile: Profile) -> list[tuple[str, object, str]]:
    """Return (path, value, what to give instead) of each value that can't be."""
    limits, hold, near = profile.limits, profile.hold, profile.near
    found: list[tuple[str, object, str]] = []
    if profile.kind in GROUP_KINDS:
        found.append(("$.kind", profile.kind.value, "give a kind of device, not of group"))
    for at, kind in enumerate(profile.also):
        if kind in GROUP_KINDS:
            found.append((f"$.also[{at}]", kind.value, "give kinds of device, not of group"))
    for key in profile.measures:
        if key not in points():
            found.append(("$.measures", key, "give points of points.toml"))
    for path, share in (("inject_frac", limits.inject_frac), ("absorb_frac", limits.absorb_frac)):
        if not 0 <= share <= 1:
            found.append((f"$.limits.{path}", share, "give 0 to 1"))
    if not 0 <= limits.soc_low_frac < limits.soc_high_frac <= 1:
        found.append(("$.limits.soc_low_frac", limits.soc_low_frac, f"give 0 to {limits.soc_high_frac:g}"))
    if not limits.setpoint_low_c < limits.setpoint_high_c:
        found.append(("$.limits.setpoint_low_c", limits.setpoint_low_c, f"give below {limits.setpoint_high_c:g}"))
    times = (("settle_s", hold.settle_s), ("min_on_s", hold.min_on_s), ("min_off_s", hold.min_off_s))
    for path, seconds in times:
        if not 0 <= seconds <= 86_400:
            found.append((f"$.hold.{path}", seconds, "give 0 to 86400"))
    if not 0 <= near.power_w < math.inf or not 0 <= near.frac <= 1:
        found.append(("$.near", f"{near.power_w:g} W, {near.frac:g}", "give 0 W or more, and a share of 0 to 1"))
    if profile.retries not in (0, 1):
        found.append(("$.retries", profile.retries, "give 0 or 1"))
    if profile.told_by == "temperature" and (not profile.mode or not 0 < profile.offset_c <= 10):
        found.append(("$.offset_c", profile.offset_c, "give above 0 to 10, and mode cool or heat"))
    if profile.told_by != "temperature" and (profile.mode or profile.offset_c):
        found.append(("$.mode", profile.mode, 'leave it out unless told_by = "temperature"'))
    return found


@cache
def profiles() -> dict[str, Profile]:
    """Return the profiles that come with the package, by name. Raises ConfigError for a crooked one."""
    folder = files("tieline.device") / "profiles"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith("toml")}
    return {(name := file.removesuffix(".toml")): parse_profile(name, texts[file]) for file in sorted(texts)}


def profile_of(name: str) -> Profile:
    """Return one profile. Raises ConfigError naming those that exist."""
    if name not in profiles():
        raise ConfigError(f"device profile {name!r} is unknown: give one of {', '.join(profiles())}")
    return profiles()[name]


def profile_over(name: str, wire: Literal["sunspec", "mqtt"]) -> Profile:
    """Return a profile whose devices can be told over a wire. Raises ConfigError naming those that can."""
    profile = profile_of(name)
    if wire not in profile.over:
        known = ", ".join(known for known, one in profiles().items() if wire in one.over)
        raise ConfigError(f"device profile {name!r} is not told over {wire}: give one of {known}")
    return profile
