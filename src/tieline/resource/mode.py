"""Modes in one-hot groups, and active against reactive power within the apparent power (rule R10).

Of each group exactly one mode is in force. Groups don't touch each other: a limit on active power never conflicts with
a reactive power mode. The groups are those of IEEE 1547-2018: the reactive power modes of 5.3 exclude each other, while
voltage-active power (5.4.2) and frequency-droop (6.5.2.7) stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct

from tieline.resource.claim import Claim, ClaimKind
from tieline.resource.level import Level


class ModeGroup(StrEnum):
    """Modes of one group exclude each other."""

    REACTIVE = "reactive"
    VOLT_WATT = "volt_watt"
    FREQUENCY_DROOP = "frequency_droop"
    CHARGING = "charging"


class Mode(IntEnum):
    """What a resource can be told to do by itself; the number is a MODE claim's value. The tens name the group."""

    CONSTANT_POWER_FACTOR = 10
    CONSTANT_VAR = 11
    VOLT_VAR = 12
    WATT_VAR = 13
    VOLT_WATT_OFF = 20
    VOLT_WATT_ON = 21
    DROOP_OFF = 30
    DROOP_ON = 31
    FOLLOW_TARGET = 40
    SELF_CONSUMPTION = 41
    TIME_OF_USE = 42
    BACKUP_ONLY = 43


GROUP_OF: dict[int, ModeGroup] = {
    1: ModeGroup.REACTIVE,
    2: ModeGroup.VOLT_WATT,
    3: ModeGroup.FREQUENCY_DROOP,
    4: ModeGroup.CHARGING,
}
DEFAULT_MODE: dict[ModeGroup, Mode] = {
    ModeGroup.REACTIVE: Mode.CONSTANT_POWER_FACTOR,  # IEEE 1547-2018, 5.3.2: the default, at unity
    ModeGroup.VOLT_WATT: Mode.VOLT_WATT_OFF,
    ModeGroup.FREQUENCY_DROOP: Mode.DROOP_ON,  # IEEE 1547-2018, 6.5.2.7.1: required of all categories
    ModeGroup.CHARGING: Mode.FOLLOW_TARGET,
}


def group_of(mode: Mode) -> ModeGroup:
    """Return the group of a mode."""
    return GROUP_OF[mode // 10]


def mode_of(value: float) -> Mode | None:
    """Return the mode that a claim's value names, or None."""
    return Mode(int(value)) if value in set(Mode) else None


def modes_told() -> str:
    """Return all modes with their numbers, for a refusal."""
    return ", ".join(f"{int(mode)} {mode.name.lower()}" for mode in Mode)


class ModeSettled(Struct, frozen=True):
    """The mode in force of one group, the claim that named it (None: the default), and who lost with what reason."""

    mode: Mode
    by: str | None
    losers: tuple[tuple[str, str], ...] = ()


def settle_modes(
    live: Iterable[Claim], default: Mapping[ModeGroup, Mode] = DEFAULT_MODE
) -> dict[ModeGroup, ModeSettled]:
    """Return the one mode in force of each group: the claim wins that would win as a target (R7).

    Args:
        live: Claims in force now, of which the MODE ones count.
        default: The mode of each group that nobody claims.
    """
    found: dict[ModeGroup, ModeSettled] = {}
    named = [claim for claim in live if claim.kind is ClaimKind.MODE and mode_of(claim.value) is not None]
    for group in ModeGroup:
        ranked = sorted((c for c in named if group_of(Mode(int(c.value))) is group), key=_rank)
        if not ranked:
            found[group] = ModeSettled(default[group], None)
            continue
        lost = tuple((claim.id, f"superseded by {ranked[0].id}") for claim in ranked[1:])
        found[group] = ModeSettled(Mode(int(ranked[0].value)), ranked[0].id, lost)
    return found


def _rank(claim: Claim) -> tuple[Level, int, int, str, str]:
    return (claim.level, claim.primacy, -claim.created_ns, claim.source, claim.id)


class Fitted(Struct, frozen=True):
    """Active and reactive power that fit together, and which of the two gave way: "P", "Q" or neither ("")."""

    active_w: float
    reactive_var: float
    loser: str = ""


def fit_apparent(active_w: float, reactive_var: float, max_va: float, q_first: bool) -> Fitted:
    """Return both powers within the apparent power: the one with priority first, the other cut to what is left.

    >>> fit_apparent(4_000.0, 4_000.0, 5_000.0, q_first=False)
    Fitted(active_w=4000.0, reactive_var=3000.0, loser='Q')
    >>> fit_apparent(4_000.0, 4_000.0, 5_000.0, q_first=True)
    Fitted(active_w=3000.0, reactive_var=4000.0, loser='P')
    """
    if math.hypot(active_w, reactive_var) <= max_va:
        return Fitted(active_w, reactive_var)
    first, second = (reactive_var, active_w) if q_first else (active_w, reactive_var)
    first = math.copysign(min(abs(first), max_va), first)
    room = math.sqrt(max(max_va * max_va - first * first, 0.0))
    second = math.copysign(min(abs(second), room), second)
    return Fitted(second, first, "P") if q_first else Fitted(first, second, "Q")
