"""The facts of inverter settings: a set was taken or taken back, how devices stand, and what their owners had."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from tieline.desk.fact import Fact
from tieline.grid.inverter_settings import SettingsSet

Words = tuple[int, ...]


class Stands(StrEnum):
    """How far a device has come with a curve."""

    ASKED = "asked"
    ADOPTED = "adopted"
    REFUSED = "refused"
    DISPLACED = "displaced"
    """Somebody else set another since; it is left to people."""
    GIVEN_BACK = "given back"


class RefusedFor(StrEnum):
    """Why a device does not follow a curve."""

    NOTHING = ""
    NO_LINK = "no link that tells curves has it"
    NO_MODEL = "model not implemented"
    NO_ROOM = "more points than it stores"
    NO_SLOT = "no curve that may be written"
    RANGE = "its registers can't hold it"
    READ_ONLY = "it refused a write"
    FAILED = "adoption failed"
    TIMEOUT = "adoption timed out"
    OTHER = "it adopted something else"
    TIMER = "somebody's reversion timer runs"


class Stood(Struct, frozen=True):
    """How a function of a device stands: `function` as in a document, and why where there is something to say."""

    function: str
    stands: Stands
    word: RefusedFor = RefusedFor.NOTHING
    why: str = ""


class Kept(Struct, frozen=True):
    """What a function of a device was before us, and what we made of it.

    `enabled` is its switch, `active` what was in force, `slot` the curve that is written over with what it held, and
    `told` what stood in force once ours was adopted (empty: not known to have been); points by name, in registers.
    """

    enabled: int
    active: dict[str, Words]
    slot: int
    stored: dict[str, Words]
    told: dict[str, Words] = {}


class SettingsTaken(Fact, frozen=True):
    """Settings of a feeder's inverters were taken, in place of those of the version before."""

    made: SettingsSet
    by: str


class SettingsWithdrawn(Fact, frozen=True):
    """Settings of a feeder's inverters were taken back: their owners' hold again."""

    feeder: str
    version: int
    by: str


class SettingsStood(Fact, frozen=True):
    """How devices stand with the settings of a feeder, by row: what has changed."""

    feeder: str
    stood: dict[int, tuple[Stood, ...]]


class CurvesKept(Fact, frozen=True):
    """What owners had set of curves, by row and SunSpec model, kept before a link wrote over it; empty: given back."""

    link: str
    curves: dict[int, dict[int, Kept]]
