"""Which index shows or sets what: the outstation's point map and its peers, read from TOML.

Every group has the same layout, moved by its `at`. Naming follows IEEE 1815.2 (AN2018-001) where it has a word for a
point: the limits are its AO87/AO88 (% of WMax, 0.1 % a count) and AO509/AO510 (W), the enable switch is its BO17.
Only this binding of ours is kept here; the workbook of the profile is its publisher's.
"""

from __future__ import annotations

import tomllib
from typing import Literal

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.resource.level import Level
from tieline.resource.selects import MOST_SELECT_S, SELECT_S

Function = Literal["target", "limit"]
MAX_INDEX = 0xFFFF
MAX_ADDRESS = 65519
"""From 0xFFF0 on stand the reserved, self and broadcast addresses of the data link layer (IEEE 1815)."""


class Input(Struct, frozen=True, forbid_unknown_fields=True):
    """One AI or BI of the layout: the point `shows` is a key of the snapshot, or `@revision`, `@pending`, `@lapsed`."""

    offset: int
    shows: str
    resolution: float = 1.0
    event_class: int = 2
    deadband: float = 0.0


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """One AO of the layout: what it sets of the group's function, and the AI that mirrors it."""

    offset: int
    function: Function
    sets: Literal["target_w", "low_w", "high_w", "low_frac", "high_frac"]
    mirror: int
    resolution: float = 1.0


class Switch(Struct, frozen=True, forbid_unknown_fields=True):
    """One BO of the layout: enables a function, or cancels all of them; and the BI that mirrors it."""

    offset: int
    does: Literal["enable_target", "enable_limit", "cancel"]
    mirror: int


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """One published pool or feeder group: where its points begin, and its size (W)."""

    resource: str
    at: int
    max_inject_w: float
    max_absorb_w: float
    level_target: str = "UTILITY"
    level_limit: str = "ENVELOPE"

    def level(self, function: Function) -> Level:
        """Return the authority level at which this function's operates are asked."""
        return Level[self.level_target if function == "target" else self.level_limit]


class Peer(Struct, frozen=True, forbid_unknown_fields=True):
    """One master: how it is known, what it may read and operate, how far, and at which level at most.

    `hosts` are the addresses it may call from (empty: any); `certificate` is `sha256:<hex>` of its client
    certificate (empty: none wanted, and refused on a TLS listener).
    """

    name: str
    address: int
    hosts: tuple[str, ...] = ()
    certificate: str = ""
    may_read: tuple[str, ...] = ()
    may_operate: tuple[str, ...] = ()
    ceiling: str = "UTILITY"
    low_w: float = float("-inf")
    high_w: float = float("inf")
    primacy: int = 0


class Binding(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of an outstation's settings."""

    address: int
    groups: tuple[Group, ...]
    peers: tuple[Peer, ...]
    host: str = "127.0.0.1"
    port: int = 20000
    keep_alive_s: float = 60.0
    select_s: float = SELECT_S
    events: int = 1000
    clock_synchronised: bool = True
    analog: tuple[Input, ...] = (
        Input(0, "power_w", deadband=1000.0),
        Input(1, "available_up_w", deadband=1000.0),
        Input(2, "available_down_w", deadband=1000.0),
        Input(3, "limit_low_w", event_class=1),
        Input(4, "limit_high_w", event_class=1),
        Input(5, "target_w", event_class=1),
        Input(6, "resources_reporting", event_class=3),
        Input(7, "soc_frac", resolution=0.001, event_class=3, deadband=0.005),
        Input(8, "@revision", event_class=0),
        Input(9, "unlimited_w", deadband=1000.0),
        Input(15, "resources_total", event_class=3),
    )
    binary: tuple[Input, ...] = (
        Input(0, "is_connected", event_class=1),
        Input(1, "is_local", event_class=1),
        Input(3, "@pending", event_class=1),
        Input(4, "@lapsed", event_class=1),
    )
    outputs: tuple[Output, ...] = (
        Output(0, "target", "target_w", 10),
        Output(1, "limit", "low_w", 11),  # 1815.2 AO510: minimum active power, W
        Output(2, "limit", "high_w", 12),  # 1815.2 AO509: maximum active power, W
        Output(3, "limit", "low_frac", 13, 0.001),  # 1815.2 AO88: minimum, % of WMax, 0.1 % a count
        Output(4, "limit", "high_frac", 14, 0.001),  # 1815.2 AO87: maximum, % of WMax, 0.1 % a count
    )
    switches: tuple[Switch, ...] = (
        Switch(0, "enable_target", 10),
        Switch(1, "enable_limit", 11),  # 1815.2 BO17: enable the limit-active-power function
        Switch(2, "cancel", 12),
    )

    @property
    def lease_s(self) -> float:
        """How long an operate outlives the last sign of its master: 2 x keep-alive, at most 15 min (rule R3)."""
        return min(2 * self.keep_alive_s, 900.0)


def load_binding(text: str) -> Binding:
    """Return the binding in a TOML text.

    Raises:
        ConfigError: Not TOML, an unknown or missing key, a clash of indices, an unknown group or level.
    """
    try:
        binding = msgspec.convert(tomllib.loads(text), Binding)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"dnp3 binding: {error}") from None
    check_binding(binding)
    return binding


def check_binding(binding: Binding) -> None:
    """Refuse a binding that names one index, address or resource twice, or an unknown word.

    Raises:
        ConfigError: Naming the path, the value and what would do.
    """
    _check_layout(binding)
    known = {group.resource for group in binding.groups}
    if len(known) != len(binding.groups):
        raise ConfigError("$.groups: a resource stands there twice: give each group once")
    for at, group in enumerate(binding.groups):
        for field in (group.level_target, group.level_limit):
            _check_level(field, f"$.groups[{at}]")
        if group.max_inject_w < 0 or group.max_absorb_w < 0:
            raise ConfigError(f"$.groups[{at}]: max_inject_w and max_absorb_w are sizes: give 0 W or more")
    addresses = [binding.address]
    for at, peer in enumerate(binding.peers):
        path = f"$.peers[{at}]"
        _check_level(peer.ceiling, path)
        if not 0 <= peer.address <= MAX_ADDRESS or peer.address in addresses:
            raise ConfigError(f"{path}.address = {peer.address}: give a link address 0 to {MAX_ADDRESS} of its own")
        addresses.append(peer.address)
        for resource in (*peer.may_read, *peer.may_operate):
            if resource not in known:
                raise ConfigError(f"{path}: {resource!r} is no group: give one of {', '.join(sorted(known))}")
    if not binding.keep_alive_s > 0 or not 0 < binding.select_s <= MOST_SELECT_S:
        raise ConfigError(f"$: keep_alive_s must be over 0 s, and select_s over 0 s and at most {MOST_SELECT_S:g} s")


def _check_level(word: str, path: str) -> None:
    if word not in Level.__members__ or Level[word] < Level.GRID_EMERGENCY:
        words = ", ".join(level.name for level in Level if level >= Level.GRID_EMERGENCY)
        raise ConfigError(f"{path}: level {word!r}: give one of {words}")


def _check_layout(binding: Binding) -> None:
    layouts = {
        "AI": [p.offset for p in binding.analog] + [p.mirror for p in binding.outputs],
        "BI": [p.offset for p in binding.binary] + [p.mirror for p in binding.switches],
        "AO": [p.offset for p in binding.outputs],
        "BO": [p.offset for p in binding.switches],
    }
    for kind, offsets in layouts.items():
        taken = [group.at + offset for group in binding.groups for offset in offsets]
        if len(set(taken)) != len(taken):
            raise ConfigError(f"$: two points of kind {kind} share an index: move `at` of a group or an offset")
        for number, group in enumerate(binding.groups):
            outside = [group.at + offset for offset in offsets if not 0 <= group.at + offset <= MAX_INDEX]
            if outside:
                raise ConfigError(
                    f"$.groups[{number}].at = {group.at}: {group.resource} would have an {kind} at index {outside[0]}, "
                    f"outside 0 to {MAX_INDEX}: give {-min(offsets)} to {MAX_INDEX - max(offsets)}, or spread the "
                    "groups over several outstations"
                )
    for point in (*binding.analog, *binding.binary):
        if point.event_class not in (0, 1, 2, 3):
            raise ConfigError(f"$: {point.shows} event_class = {point.event_class}: give 0 (no events) to 3")
    inputs: tuple[Input | Output, ...] = (*binding.analog, *binding.binary, *binding.outputs)
    for scaled in inputs:
        if not scaled.resolution > 0:
            raise ConfigError(f"$: resolution = {scaled.resolution} at offset {scaled.offset}: give one above 0")
